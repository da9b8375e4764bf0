"""Arithmetic on vectors of eight float32 numbers, as LLVM instructions.

Numba hands a loop to LLVM and hopes that it comes out vectorized. Here the vectors are written down, in the way of a
shader: a function takes values of the program under construction and returns the value of its result. What the
processor has no instructions for (eight numbers at once, a fused multiply and add) LLVM builds from those that it has.

Functions keep NaN: comparisons are ordered and their other branch is the argument itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

LANES = 8

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
INDEX = ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
INTEGERS = ir.VectorType(INT32, LANES)

# llvmlite ships no types: a builder, and a value of the program.
Builder = Any
Value = Any

# tanh(x) / x as a ratio of two polynomials in x^2 on [0, 9], least relative error 2.1e-8: fitted by Lawson's weighted
# least squares to numpy's double-precision tanh, tests/engine/fused/test_fused_vectors.py holds the accuracy.
_TANH_ABOVE = (0.9999999794843593, 0.13381026989994693, 3.4955894393241143e-3, 2.0609092834772112e-5,
               1.3354656622031435e-8)  # fmt: skip
_TANH_BELOW = (1.0, 0.4671434259461564, 2.5876987943323552e-2, 3.2856364760448396e-4, 7.776560358739292e-7)
# Float32 has no number between tanh and 1 from 9.011 on. There the ratio is a little above 1, and held at it: a unit
# that is saturated has the slope 0, as in torch, where the smallest slope would be enough for Adam to move it.
_TANH_END = 9.4

# erf(x) / x in the same way on [0, 3.92], least relative error 1.9e-8, to scipy's erf.
_ERF_ABOVE = (1.1283791461297983, 0.19040740797647704, 5.2748852909067306e-2, 3.7656587536143973e-3,
              2.848839042907681e-4, 2.0500831475640346e-6)  # fmt: skip
_ERF_BELOW = (1.0, 0.5020769124494223, 0.1141095056385036, 1.4969300100589767e-2, 1.1625460922321392e-3,
              3.809173393461496e-5)  # fmt: skip
_ERF_END = 3.92

_EXP_TERMS = 7  # of e^r for |r| <= ln 2 / 2: the first one left out is 5e-9
_LOG_TERMS = 4  # of the odd series in (m - 1) / (m + 1) for m in [sqrt 1/2, sqrt 2]: the first left out is 4e-9
_LOG1P_TERMS = 7  # of the odd series in t / (2 + t) for t in [0, 1]: the first left out is 2e-9
_LN2_HIGH, _LN2_LOW = 0.693359375, math.log(2) - 0.693359375  # the first has few bits: its small multiples are exact


def constant(number: float) -> Value:
    """The same number in every lane."""
    return ir.Constant(VECTOR, [number] * LANES)


def integer(number: int) -> Value:
    """The same 32-bit integer in every lane."""
    return ir.Constant(INTEGERS, [number] * LANES)


def splat(b: Builder, scalar: Value) -> Value:
    """A scalar in every lane."""
    kind = ir.VectorType(scalar.type, LANES)
    nothing = ir.Constant(kind, ir.Undefined)
    return b.shuffle_vector(b.insert_element(nothing, scalar, INT32(0)), nothing, integer(0))


def fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """`x y + z`, in one rounding where the processor can."""
    return b.fadd(b.fmul(x, y, flags=("contract",)), z, flags=("contract",))


def polynomial(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """`c_0 + c_1 x + ...` by Horner's rule."""
    value = constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = fma(b, value, x, constant(coefficient))
    return value


def maximum(b: Builder, x: Value, least: Value) -> Value:
    """The larger one; NaN if `x` is."""
    return b.select(b.fcmp_ordered("<", x, least), least, x)


def minimum(b: Builder, x: Value, most: Value) -> Value:
    """The smaller one; NaN if `x` is."""
    return b.select(b.fcmp_ordered(">", x, most), most, x)


def absolute(b: Builder, x: Value) -> Value:
    """`|x|`."""
    return b.bitcast(b.and_(b.bitcast(x, INTEGERS), integer(0x7FFFFFFF)), VECTOR)


def square_root(b: Builder, x: Value) -> Value:
    """`sqrt(x)`."""
    kind = ir.FunctionType(VECTOR, [VECTOR])
    return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.sqrt.v{LANES}f32"), [x])


def _unless_nan(b: Builder, x: Value, value: Value) -> Value:
    """The value, or NaN where `x` is, whose bits the integer arithmetic on the way does not respect."""
    return b.select(b.fcmp_unordered("uno", x, x), x, value)


def _squashing(b: Builder, x: Value, end: float, above: Sequence[float], below: Sequence[float]) -> Value:
    """`x above(x^2) / below(x^2)` on `[-end, end]`, and beyond it what stands there, never more than 1."""
    x = maximum(b, minimum(b, x, constant(end)), constant(-end))
    square = b.fmul(x, x)
    ratio = b.fdiv(b.fmul(x, polynomial(b, square, above)), polynomial(b, square, below))
    return maximum(b, minimum(b, ratio, constant(1.0)), constant(-1.0))


def tanh(b: Builder, x: Value) -> Value:
    """`tanh(x)`, relative error at most 4e-7 however small `x` is."""
    return _squashing(b, x, _TANH_END, _TANH_ABOVE, _TANH_BELOW)


def exp(b: Builder, x: Value) -> Value:
    """`e^x`, relative error at most 2e-7; clamped to what float32 holds, so that it is never infinite or 0."""
    x = maximum(b, minimum(b, x, constant(88.0)), constant(-87.0))
    # The nearest whole number of powers of two: adding 1.5 * 2^23 leaves no bits for a fraction.
    magic = constant(1.5 * 2.0**23)
    shifted = fma(b, x, constant(1 / math.log(2)), magic)
    powers = b.fsub(shifted, magic)
    rest = fma(b, powers, constant(-_LN2_LOW), fma(b, powers, constant(-_LN2_HIGH), x))
    value = polynomial(b, rest, [1 / math.factorial(i) for i in range(_EXP_TERMS + 1)])
    exponent = b.shl(b.bitcast(shifted, INTEGERS), integer(23))
    return _unless_nan(b, x, b.bitcast(b.add(b.bitcast(value, INTEGERS), exponent), VECTOR))


def log(b: Builder, x: Value) -> Value:
    """`ln x` for normal positive `x`, absolute error at most 1e-7 times `max(1, |ln x|)`."""
    bits = b.bitcast(x, INTEGERS)
    # Such that the mantissa lies between sqrt(1/2) and sqrt(2).
    offset = b.sub(bits, integer(0x3F3504F3))
    power = b.ashr(offset, integer(23))
    mantissa = b.bitcast(b.sub(bits, b.shl(power, integer(23))), VECTOR)
    one = constant(1.0)
    s = b.fdiv(b.fsub(mantissa, one), b.fadd(mantissa, one))
    series = polynomial(b, b.fmul(s, s), [2 / (2 * i + 1) for i in range(_LOG_TERMS + 1)])
    powers = b.sitofp(power, VECTOR)
    value = fma(b, powers, constant(_LN2_HIGH), fma(b, powers, constant(_LN2_LOW), b.fmul(s, series)))
    return _unless_nan(b, x, value)


def sigmoid(b: Builder, x: Value) -> Value:
    """`1 / (1 + e^-x)`."""
    one = constant(1.0)
    return b.fdiv(one, b.fadd(one, exp(b, b.fneg(x))))


def expm1(b: Builder, x: Value) -> Value:
    """`e^x - 1` for `x <= 0` with a small relative error near 0 too: `2 t / (1 - t)` with `t = tanh(x / 2)`."""
    t = tanh(b, b.fmul(x, constant(0.5)))
    return b.fdiv(b.fadd(t, t), b.fsub(constant(1.0), t))


def softplus(b: Builder, x: Value) -> Value:
    """`ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)`, with a small relative error for large negative `x` too."""
    t = exp(b, b.fneg(absolute(b, x)))
    # ln(1 + t) = 2 artanh(t / (2 + t)): the 1 is never added, which would round t away.
    s = b.fdiv(t, b.fadd(t, constant(2.0)))
    series = polynomial(b, b.fmul(s, s), [2 / (2 * i + 1) for i in range(_LOG1P_TERMS + 1)])
    return fma(b, s, series, maximum(b, x, constant(0.0)))


def erf(b: Builder, x: Value) -> Value:
    """The error function, relative error at most 4e-7 however small `x` is."""
    return _squashing(b, x, _ERF_END, _ERF_ABOVE, _ERF_BELOW)


def sin(b: Builder, x: Value) -> Value:
    """`sin(x)`, absolute error at most 4e-7 for `|x|` up to ten thousand; bounded by 1 beyond."""
    magic = constant(1.5 * 2.0**23)
    shifted = fma(b, x, constant(1 / math.pi), magic)
    turns = b.fsub(shifted, magic)
    # pi in three parts: multiples of the first two are exact.
    rest = fma(b, turns, constant(-3.140625), x)
    rest = fma(b, turns, constant(-9.67502593994140625e-4), rest)
    rest = fma(b, turns, constant(-1.509957990978376e-7), rest)
    # Where the number's own spacing is above a turn, nothing is left of the angle; the series would be anything.
    rest = maximum(b, minimum(b, rest, constant(math.pi / 2)), constant(-math.pi / 2))
    series = [(-1.0) ** i / math.factorial(2 * i + 1) for i in range(6)]
    value = b.fmul(rest, polynomial(b, b.fmul(rest, rest), series))
    odd = b.shl(b.bitcast(shifted, INTEGERS), integer(31))  # every half turn changes the sign
    return b.bitcast(b.xor(b.bitcast(value, INTEGERS), odd), VECTOR)
