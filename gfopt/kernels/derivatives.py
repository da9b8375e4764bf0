"""What the kernel of the gradients does to a tile: slopes of activations, statistics and losses.

A slope is the derivative of the loss with respect to a number of the forward pass, and lies where that number would:
tiles are those of `instructions`, feature by feature, each with all its samples side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir
from numba.extending import intrinsic

from gfopt.kernels import vectors as v
from gfopt.kernels.emit import (
    add_to_sums,
    each,
    each_vector,
    load,
    same,
    store,
    there,
    typed,
    variable,
)
from gfopt.kernels.instructions import add_shares
from gfopt.kernels.tape import SLOPES
from gfopt.kernels.vectors import FLOAT, INDEX, INT32, INTEGERS, LANES, Builder, Value


def _where(b: Builder, relation: str, x: Value, bound: float, there: Value, elsewhere: Value) -> Value:
    """One of two values, by how `x` compares."""
    return b.select(b.fcmp_ordered(relation, x, v.constant(bound)), there, elsewhere)


def _cos(b: Builder, x: Value) -> Value:
    """`cos(x)`, absolute error at most 4e-7 for `|x|` up to a thousand: `-+ sin(x - (n + 1/2) pi)`."""
    magic = v.constant(1.5 * 2.0**23)
    shifted = b.fadd(v.fma(b, x, v.constant(1 / math.pi), v.constant(-0.5)), magic)
    turns = b.fadd(b.fsub(shifted, magic), v.constant(0.5))
    # pi in three parts, as in `vectors.sin`.
    rest = v.fma(b, turns, v.constant(-3.140625), x)
    rest = v.fma(b, turns, v.constant(-9.67502593994140625e-4), rest)
    rest = v.fma(b, turns, v.constant(-1.509957990978376e-7), rest)
    series = [-((-1.0) ** i) / math.factorial(2 * i + 1) for i in range(6)]
    value = b.fmul(rest, v.polynomial(b, b.fmul(rest, rest), series))
    odd = b.shl(b.bitcast(shifted, INTEGERS), v.integer(31))  # every half turn changes the sign
    return b.bitcast(b.xor(b.bitcast(value, INTEGERS), odd), v.VECTOR)


def _gelu(b: Builder, x: Value, _: Value) -> Value:
    """`Phi(x) + x phi(x)`."""
    below = b.fmul(v.constant(0.5), b.fadd(v.constant(1.0), v.erf(b, b.fmul(x, v.constant(0.5**0.5)))))
    density = b.fmul(v.constant((2 * math.pi) ** -0.5), v.exp(b, b.fmul(b.fmul(x, x), v.constant(-0.5))))
    return v.fma(b, x, density, below)


def _silu(b: Builder, x: Value, _: Value) -> Value:
    """`s (1 + x (1 - s))` with `s` the sigmoid."""
    s, one = v.sigmoid(b, x), v.constant(1.0)
    return b.fmul(s, v.fma(b, x, b.fsub(one, s), one))


def _elu(b: Builder, x: Value, alpha: Value) -> Value:
    return _where(b, "<=", x, 0.0, b.fmul(alpha, v.exp(b, v.minimum(b, x, v.constant(0.0)))), v.constant(1.0))


def _selu(b: Builder, x: Value, _: Value) -> Value:
    return b.fmul(_elu(b, x, v.constant(1.6732632423543772)), v.constant(1.0507009873554805))


def _tanh(b: Builder, y: Value, _: Value) -> Value:
    return b.fsub(v.constant(1.0), b.fmul(y, y))


def _hardtanh(b: Builder, y: Value, _: Value) -> Value:
    return _where(b, "<", v.absolute(b, y), 1.0, v.constant(1.0), v.constant(0.0))


# From a number (the activation's output or its input, see `tape.BY_OUTPUT`) and the option to the derivative. At a
# kink it is torch's.
_DERIVATIVES: dict[str, Callable[[Builder, Value, Value], Value]] = {
    "tanh": _tanh,
    "sigmoid": lambda b, y, _: b.fmul(y, b.fsub(v.constant(1.0), y)),
    "relu": lambda b, y, _: _where(b, ">", y, 0.0, v.constant(1.0), v.constant(0.0)),
    "leaky_relu": lambda b, x, slope: _where(b, ">", x, 0.0, v.constant(1.0), slope),
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": lambda b, x, _: v.sigmoid(b, x),
    "hardtanh": _hardtanh,
    "sin": lambda b, x, _: _cos(b, x),
    "step": lambda b, _x, _: v.constant(0.0),
    "leaky_relu_one_at_zero": lambda b, x, slope: _where(b, ">=", x, 0.0, v.constant(1.0), slope),
}


def _activation_slopes(b: Builder, code: Value, slopes: Value, values: Value, count: Value, number: Value) -> None:
    after = b.append_basic_block("derived")
    choice = b.switch(code, after)
    for i, name in enumerate(SLOPES):
        case = b.append_basic_block("derivative")
        choice.add_case(INDEX(i), case)
        b.position_at_end(case)
        option = v.splat(b, number)
        with each_vector(b, count) as place:
            derivative = _DERIVATIVES[name](b, load(b, values, place), option)
            store(b, b.fmul(load(b, slopes, place), derivative), slopes, place)
        b.branch(after)
    b.position_at_end(after)


@intrinsic
def activation_slopes(_typing, code, slopes, values, count, number):  # type: ignore[no-untyped-def]
    """Slopes behind activation `code` of `count` numbers to those ahead of it, in place; `number` is its option."""
    return typed(4, _activation_slopes, number=True)


def _standardize_slopes(
    b: Builder, slopes: Value, x: Value, y: Value, units: Value, rows: Value, centred: Value, of_length: Value,
    eps: Value,
) -> None:  # fmt: skip
    zero, one = v.constant(0.0), v.constant(1.0)
    count, floor = v.splat(b, b.sitofp(units, FLOAT)), v.splat(b, eps)
    centre, lengthwise = (v.splat(b, b.icmp_signed("!=", flag, INDEX(0))) for flag in (centred, of_length))
    with each_vector(b, rows) as place:
        total, squares, inner, slope_sum = (variable(b, zero) for _ in range(4))
        with there(b, centred), each(b, units) as unit:
            b.store(b.fadd(b.load(total), load(b, x, b.add(b.mul(unit, rows), place))), total)
        mean = b.fdiv(b.load(total), count)
        with each(b, units) as unit:
            here = b.add(b.mul(unit, rows), place)
            z, slope = b.fsub(load(b, x, here), mean), load(b, slopes, here)
            b.store(v.fma(b, z, z, b.load(squares)), squares)
            b.store(v.fma(b, slope, load(b, y, here), b.load(inner)), inner)
            b.store(b.fadd(slope, b.load(slope_sum)), slope_sum)
        root = v.square_root(b, b.fadd(b.fdiv(b.load(squares), count), floor))
        length = v.square_root(b, b.load(squares))
        factor = b.fdiv(one, b.select(lengthwise, v.maximum(b, length, floor), root))
        # A length below its floor is a constant.
        free = b.select(b.fcmp_ordered(">=", length, floor), b.load(inner), zero)
        along = b.select(lengthwise, free, b.fdiv(b.load(inner), count))
        shift = b.select(centre, b.fdiv(b.load(slope_sum), count), zero)
        with each(b, units) as unit:
            here = b.add(b.mul(unit, rows), place)
            rest = b.fsub(b.fsub(load(b, slopes, here), shift), b.fmul(load(b, y, here), along))
            store(b, b.fmul(rest, factor), slopes, here)


@intrinsic
def standardize_slopes(_typing, slopes, x, y, units, rows, centred, of_length, eps):  # type: ignore[no-untyped-def]
    """Slopes behind `instructions.standardize` to those ahead of it, in place; `x` went in and `y` came out.

    `(dy - mean dy - y mean(dy y)) / sigma`, with a sum for the second mean where sigma is a length.
    """
    return typed(7, _standardize_slopes, number=True)


def _sum_slopes(
    b: Builder, slopes: Value, x: Value, units: Value, rows: Value, minus: Value, times: Value, gains: Value,
    shifts: Value,
) -> None:  # fmt: skip
    with each(b, units) as unit:
        start, lanes = b.mul(unit, rows), b.mul(unit, INDEX(LANES))
        with there(b, shifts):
            total = variable(b, v.constant(0.0))
            with each_vector(b, rows) as place:
                b.store(b.fadd(b.load(total), load(b, slopes, b.add(start, place))), total)
            add_to_sums(b, shifts, lanes, b.load(total))
        with there(b, gains):
            mean, factor = variable(b, v.constant(0.0)), variable(b, v.constant(1.0))
            for address, part in ((minus, mean), (times, factor)):
                with there(b, address):
                    b.store(same(b, address, unit), part)
            of_gain = variable(b, v.constant(0.0))
            with each_vector(b, rows) as place:
                here = b.add(start, place)
                value = b.fmul(b.fsub(load(b, x, here), b.load(mean)), b.load(factor))
                b.store(v.fma(b, value, load(b, slopes, here), b.load(of_gain)), of_gain)
            add_to_sums(b, gains, lanes, b.load(of_gain))


@intrinsic
def sum_slopes(_typing, slopes, x, units, rows, minus, times, gains, shifts):  # type: ignore[no-untyped-def]
    """Add the slopes of `g (x - minus) times + b` with respect to `g` and `b` to eight float64 sums for each feature.

    An address of 0 leaves a part out.
    """
    return typed(8, _sum_slopes)


def _batch_slopes(
    b: Builder, to: Value, slopes: Value, z: Value, units: Value, rows: Value, count: Value, statistics: Value,
    step: Value,
) -> None:  # fmt: skip
    lanes = ir.Constant(INTEGERS, list(range(LANES)))
    end = v.splat(b, b.trunc(count, INT32))
    with each(b, units) as unit:
        mean, inverse, factor, shift, along = (
            same(b, statistics, b.add(b.mul(INDEX(i), step), unit)) for i in range(5)
        )
        start = b.mul(unit, rows)
        with each_vector(b, rows) as place:
            here = b.add(start, place)
            standardized = b.fmul(b.fsub(load(b, z, here), mean), inverse)
            inside = b.icmp_signed("<", b.add(v.splat(b, b.trunc(place, INT32)), lanes), end)
            away = b.select(inside, v.fma(b, standardized, along, shift), v.constant(0.0))
            store(b, b.fmul(b.fsub(load(b, slopes, here), away), factor), to, here)


@intrinsic
def batch_slopes(_typing, to, slopes, z, units, rows, count, statistics, step):  # type: ignore[no-untyped-def]
    """Slopes behind batch statistics to those ahead of them, whose first `count` samples gave the statistics.

    `factor (dy - shift - along (z - mean) inverse)`, without the last two terms for all other samples; `statistics`
    holds mean, inverse, factor, shift and along, `step` numbers from one to the next.
    """
    return typed(8, _batch_slopes)


def _cross_entropy_slopes(
    b: Builder, total: Value, slopes: Value, z: Value, classes: Value, rows: Value, target: Value, share: Value
) -> None:
    with each_vector(b, rows) as place:
        top = variable(b, load(b, z, place))
        with each(b, classes) as label:
            logit, best = load(b, z, b.add(b.mul(label, rows), place)), b.load(top)
            # A NaN among the logits has to win, whichever comes first.
            b.store(b.select(b.fcmp_unordered(">", logit, best), logit, best), top)
        wanted, highest = load(b, target, place, INTEGERS), b.load(top)
        of_target, partition = variable(b, v.constant(0.0)), variable(b, v.constant(0.0))
        with each(b, classes) as label:
            here = b.add(b.mul(label, rows), place)
            logit = b.fsub(load(b, z, here), highest)
            power = v.exp(b, logit)
            store(b, power, slopes, here)
            b.store(b.fadd(b.load(partition), power), partition)
            mine = b.icmp_signed("==", v.splat(b, b.trunc(label, INT32)), wanted)
            b.store(b.select(mine, logit, b.load(of_target)), of_target)
        add_shares(b, total, b.fsub(v.log(b, b.load(partition)), b.load(of_target)), share, place)
        weight = load(b, share, place)
        factor = b.fdiv(weight, b.load(partition))
        with each(b, classes) as label:
            here = b.add(b.mul(label, rows), place)
            mine = b.icmp_signed("==", v.splat(b, b.trunc(label, INT32)), wanted)
            less = b.select(mine, weight, v.constant(0.0))
            slope = b.fsub(b.fmul(load(b, slopes, here), factor), less)
            store(b, _if_counted(b, weight, slope), slopes, here)


def _if_counted(b: Builder, weight: Value, slope: Value) -> Value:
    """The slope, or 0 for a sample without weight, whatever its output."""
    return b.select(b.fcmp_unordered("!=", weight, v.constant(0.0)), slope, v.constant(0.0))


@intrinsic
def cross_entropy_slopes(_typing, total, slopes, z, classes, rows, target, share):  # type: ignore[no-untyped-def]
    """`instructions.cross_entropy`, and its slopes `share (softmax(z) - onehot)`."""
    return typed(7, _cross_entropy_slopes)


def _squared_error_slopes(
    b: Builder, total: Value, slopes: Value, z: Value, columns: Value, rows: Value, target: Value, share: Value
) -> None:
    count = v.splat(b, b.sitofp(columns, FLOAT))
    with each_vector(b, rows) as place:
        squares = variable(b, v.constant(0.0))
        weight = load(b, share, place)
        factor = b.fdiv(b.fadd(weight, weight), count)
        with each(b, columns) as column:
            here = b.add(b.mul(column, rows), place)
            error = b.fsub(load(b, z, here), load(b, target, here))
            b.store(v.fma(b, error, error, b.load(squares)), squares)
            store(b, _if_counted(b, weight, b.fmul(error, factor)), slopes, here)
        add_shares(b, total, b.fdiv(b.load(squares), count), share, place)


@intrinsic
def squared_error_slopes(_typing, total, slopes, z, columns, rows, target, share):  # type: ignore[no-untyped-def]
    """`instructions.squared_error`, and its slopes `2 share (z - target) / columns`."""
    return typed(7, _squared_error_slopes)
