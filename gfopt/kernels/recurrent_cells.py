"""One step of a recurrent cell on a tile, as functions that compiled code calls: products, gates and state in one go.

A function computes a few units for a few vectors of samples. The sums of all gates of a unit stand side by side in
registers and become its next state there, so that no gate ever lies in memory and the arithmetic of one unit's
activations runs between the products of the next. Tiles are those of `instructions`: feature by feature, each with
all its samples side by side. Gates are blocks of rows in torch's order: LSTM `i, f, g, o`; GRU `r, z, n`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from numba.extending import intrinsic

from gfopt.kernels import vectors as v
from gfopt.kernels.emit import at, each, each_vector, load, same, store, typed, variable
from gfopt.kernels.vectors import INDEX, LANES, Builder, Value

Sums = list[list[Value]]  # of some rows of weights, for some vectors of samples: places on the stack

_END = 9.0  # where the ratio is just below 1, as a gate has to be


def _biased(b: Builder, bias: Value, rows: Sequence[Value], across: int) -> Sums:
    """Sums that begin with the bias of each row."""
    return [[variable(b, same(b, bias, row)) for _ in range(across)] for row in rows]


def _multiply(
    b: Builder, weight: Value, rows: Sequence[Value], x: Value, inputs: Value, size: Value, sums: Sums
) -> None:
    """Add `W x` to the sums, of some rows of `W`; `size` samples lie in a tile."""
    starts = [b.mul(row, inputs) for row in rows]
    with each(b, inputs) as k:
        place = b.mul(k, size)
        samples = [load(b, x, b.add(place, INDEX(j * LANES))) for j in range(len(sums[0]))]
        for start, row in zip(starts, sums, strict=True):
            w = same(b, weight, b.add(start, k))
            for sample, total in zip(samples, row, strict=True):
                b.store(v.fma(b, w, sample, b.load(total)), total)


def _move(b: Builder, to: Value, step: Value, source: Value, other: Value, features: Value, count: Value) -> None:
    whole = b.and_(count, INDEX(-LANES))
    with each(b, features) as feature:
        here, there = b.mul(feature, step), b.mul(feature, other)
        with each_vector(b, whole) as place:
            store(b, load(b, source, b.add(there, place)), to, b.add(here, place))
        with each(b, b.sub(count, whole)) as rest:
            place = b.add(whole, rest)
            b.store(b.load(at(b, source, b.add(there, place))), at(b, to, b.add(here, place)))


@intrinsic
def move(_typing, to, step, source, other, features, count):  # type: ignore[no-untyped-def]
    """Copy `count` numbers of each feature; features lie `step` numbers apart here, `other` there."""
    return typed(6, _move)


def _ratio(b: Builder, x: Value, factor: float = 1.0) -> tuple[Value, Value]:
    """Numerator and denominator of `tanh(factor x)`; the denominator is at least 1."""
    end = v.constant(_END / factor)
    x = v.maximum(b, v.minimum(b, x, end), b.fneg(end))
    square = b.fmul(x, x)
    above = v.polynomial(b, square, [c * factor ** (2 * i + 1) for i, c in enumerate(v._TANH_ABOVE)])
    below = v.polynomial(b, square, [c * factor ** (2 * i) for i, c in enumerate(v._TANH_BELOW)])
    return b.fmul(x, above), below


def _tanh(b: Builder, x: Value) -> Value:
    """`tanh(x)`, not clamped to 1, which it exceeds by its last bit at most: nobody sees that in a state."""
    return b.fdiv(*_ratio(b, x))


def _gate(b: Builder, x: Value) -> Value:
    """`sigmoid(x) = (1 + tanh(x / 2)) / 2`: half of the time of one through an exponential.

    Its absolute error is 1e-7. A gate that is all but shut has a larger relative one; what it lets through is no part
    of a sum of about 1 that float32 could tell.
    """
    half = v.constant(0.5)
    return v.fma(b, b.fdiv(*_ratio(b, x, 0.5)), half, half)


def _gated(b: Builder, gate: Value, x: Value) -> Value:
    """`sigmoid(gate) tanh(x)` with one division in place of two."""
    p, q = _ratio(b, gate, 0.5)
    above, below = _ratio(b, x)
    return b.fdiv(b.fmul(b.fmul(b.fadd(p, q), v.constant(0.5)), above), b.fmul(q, below))


def _lstm(
    units: int, across: int, b: Builder, w_ih: Value, w_hh: Value, bias: Value, x: Value, h: Value, c: Value,
    to: Value, inputs: Value, hidden: Value, size: Value,
) -> None:  # fmt: skip
    rows = [b.add(b.mul(INDEX(gate), hidden), INDEX(unit)) for gate in range(4) for unit in range(units)]
    sums = _biased(b, bias, rows, across)
    _multiply(b, w_ih, rows, x, inputs, size, sums)
    _multiply(b, w_hh, rows, h, hidden, size, sums)
    for unit in range(units):
        for j in range(across):
            i, f, g, o = (b.load(sums[gate * units + unit][j]) for gate in range(4))
            here = b.add(b.mul(INDEX(unit), size), INDEX(j * LANES))
            cell = v.fma(b, _gate(b, f), load(b, c, here), _gated(b, i, g))
            store(b, cell, c, here)
            store(b, _gated(b, o, cell), to, here)


def _gru(
    units: int, across: int, b: Builder, w_ih: Value, w_hh: Value, bias: Value, x: Value, h: Value, old: Value,
    to: Value, inputs: Value, hidden: Value, size: Value,
) -> None:  # fmt: skip
    blocks = [[b.add(b.mul(INDEX(gate), hidden), INDEX(unit)) for unit in range(units)] for gate in range(4)]
    r, z, n, u = (_biased(b, bias, rows, across) for rows in blocks)
    rows = [row for block in blocks[:3] for row in block]
    _multiply(b, w_ih, rows, x, inputs, size, r + z + n)
    _multiply(b, w_hh, rows, h, hidden, size, r + z + u)
    for unit in range(units):
        for j in range(across):
            reset, mix, new, recurrent = (b.load(sums[unit][j]) for sums in (r, z, n, u))
            here = b.add(b.mul(INDEX(unit), size), INDEX(j * LANES))
            candidate = _tanh(b, v.fma(b, _gate(b, reset), recurrent, new))
            change = b.fsub(load(b, old, here), candidate)
            store(b, v.fma(b, _gate(b, mix), change, candidate), to, here)


def _make_lstm(units: int, across: int) -> Any:
    @intrinsic
    def step(_typing, w_ih, w_hh, bias, x, h, c, to, inputs, hidden, size):  # type: ignore[no-untyped-def]
        """`c' = f c + i g` in place, and `h' = o tanh c'` to `to`."""
        return typed(10, partial(_lstm, units, across))

    return step


def _make_gru(units: int, across: int) -> Any:
    @intrinsic
    def step(_typing, w_ih, w_hh, bias, x, h, old, to, inputs, hidden, size):  # type: ignore[no-untyped-def]
        """`h' = n + z (h - n)` to `to`, with `n = tanh(W x + b + r (U h + b_u))`; `old` is `h` of these units."""
        return typed(10, partial(_gru, units, across))

    return step


lstm_1x3, lstm_1x2, lstm_1x1 = (_make_lstm(1, across) for across in (3, 2, 1))
gru_1x3, gru_2x2, gru_1x2, gru_1x1 = (_make_gru(*tile) for tile in ((1, 3), (2, 2), (1, 2), (1, 1)))
