"""Products of a matrix and a tile, for matrices that lie in memory either way around.

`y = W x` with `W` read by two steps, one from unit to unit and one from input to input: a layer's outputs, what comes
back to its inputs (the same weight transposed) and the slopes of its weight are all this one product; for the last
one, samples have to lie side by side with their features, which `transpose` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from gfopt.compiled import compiled
from gfopt.kernels import vectors as v
from gfopt.kernels.emit import each, each_vector, load, same, store, typed, variable
from gfopt.kernels.vectors import INDEX, INTEGERS, LANES, Builder, Value

BYTES = 4
PLAIN, BIASED, ADDED = 0, 1, 2  # what a product begins with: 0, a bias, what is there


def _product(
    units: int, across: int, b: Builder, weight: Value, unit_step: Value, input_step: Value, bias: Value, x: Value,
    y: Value, inputs: Value, rows: Value, mode: Value,
) -> None:  # fmt: skip
    """`units` features by `across` vectors of `y`, all sums in registers."""
    places = [[b.add(b.mul(INDEX(i), rows), INDEX(j * LANES)) for j in range(across)] for i in range(units)]
    sums = [[variable(b, v.constant(0.0)) for _ in range(across)] for _ in range(units)]
    with b.if_then(b.icmp_signed("==", mode, INDEX(BIASED))):
        for i in range(units):
            first = same(b, bias, INDEX(i))
            for j in range(across):
                b.store(first, sums[i][j])
    with b.if_then(b.icmp_signed("==", mode, INDEX(ADDED))):
        for i in range(units):
            for j in range(across):
                b.store(load(b, y, places[i][j]), sums[i][j])
    starts = [b.mul(INDEX(i), unit_step) for i in range(units)]
    with each(b, inputs) as k:
        place, step = b.mul(k, rows), b.mul(k, input_step)
        samples = [load(b, x, b.add(place, INDEX(j * LANES))) for j in range(across)]
        for i in range(units):
            w = same(b, weight, b.add(starts[i], step))
            for j in range(across):
                b.store(v.fma(b, w, samples[j], b.load(sums[i][j])), sums[i][j])
    for i in range(units):
        for j in range(across):
            store(b, b.load(sums[i][j]), y, places[i][j])


def _make_product(units: int, across: int) -> Any:
    @intrinsic
    def product(_typing, weight, unit_step, input_step, bias, x, y, inputs, rows, mode):  # type: ignore[no-untyped-def]
        """`y = W x + start`, `start` being 0, the bias (mode 1) or what `y` holds (mode 2)."""
        return typed(9, partial(_product, units, across))

    return product


_4x3, _4x2, _4x1 = (_make_product(4, n) for n in (3, 2, 1))
_2x3, _2x2, _2x1 = (_make_product(2, n) for n in (3, 2, 1))
_1x3, _1x2, _1x1 = (_make_product(1, n) for n in (3, 2, 1))


# Shuffles of two vectors: every second number of both, every second pair, the halves (as in an 8 x 8 transposition
# by unpacking).
_SINGLES = [[0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]]
_PAIRS = [[0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]]
_HALVES = [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]


def _mixed(b: Builder, x: Value, y: Value, patterns: Sequence[Sequence[int]]) -> list[Value]:
    return [b.shuffle_vector(x, y, ir.Constant(INTEGERS, list(pattern))) for pattern in patterns]


def _transposed(b: Builder, r: Sequence[Value]) -> list[Value]:
    """Eight vectors whose `i`-th numbers were the `i`-th of these."""
    s = [w for i in range(0, LANES, 2) for w in _mixed(b, r[i], r[i + 1], _SINGLES)]
    p = [w for half in (0, 4) for i in (0, 1) for w in _mixed(b, s[half + i], s[half + i + 2], _PAIRS)]
    pairs = [_mixed(b, p[i], p[i + 4], _HALVES) for i in range(4)]
    return [low for low, _ in pairs] + [high for _, high in pairs]


def _transpose(b: Builder, to: Value, x: Value, features: Value, rows: Value, width: Value) -> None:
    last = b.sub(features, INDEX(1))
    with each_vector(b, features) as feature, each_vector(b, rows) as row:
        numbers = [b.add(feature, INDEX(i)) for i in range(LANES)]
        # Behind the last feature it is taken again: what fills up the width is never used.
        there = [b.select(b.icmp_signed("<", n, last), n, last) for n in numbers]
        block = [load(b, x, b.add(b.mul(n, rows), row)) for n in there]
        for i, vector in enumerate(_transposed(b, block)):
            store(b, vector, to, b.add(b.mul(b.add(row, INDEX(i)), width), feature))


@intrinsic
def transpose(_typing, to, x, features, rows, width):  # type: ignore[no-untyped-def]
    """`(features, rows)` as `(rows, width)`, the width being the features rounded up to a multiple of eight."""
    return typed(5, _transpose)


@compiled
def strided(weight, unit_step, input_step, bias, x, y, inputs, units, rows, mode):  # type: ignore[no-untyped-def]
    """`y = W x + start`, block by block of what the registers hold.

    Args:
        weight: address of `W`.
        unit_step: numbers from one unit's weight to the next unit's.
        input_step: numbers from the weight of one input to that of the next.
        bias: address of the bias, one number for each unit; read in the mode `BIASED` only.
        x: address of `(inputs, rows)`.
        y: address of `(units, rows)`.
        inputs: terms of each sum.
        units: features of `y`.
        rows: a multiple of eight.
        mode: `PLAIN`, `BIASED` or `ADDED`.
    """
    unit = 0
    while unit < units:
        count = 4 if unit + 4 <= units else (2 if unit + 2 <= units else 1)
        w, b, to = weight + BYTES * unit * unit_step, bias + BYTES * unit, y + BYTES * unit * rows
        place = 0
        while place < rows:
            left = (rows - place) // LANES
            source, target = x + BYTES * place, to + BYTES * place
            if left >= 3:
                if count == 4:
                    _4x3(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                elif count == 2:
                    _2x3(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                else:
                    _1x3(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                place += 3 * LANES
            elif left == 2:
                if count == 4:
                    _4x2(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                elif count == 2:
                    _2x2(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                else:
                    _1x2(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                place += 2 * LANES
            else:
                if count == 4:
                    _4x1(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                elif count == 2:
                    _2x1(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                else:
                    _1x1(w, unit_step, input_step, b, source, target, inputs, rows, mode)
                place += LANES
        unit += count


@compiled
def dense(weight, bias, x, y, inputs, units, rows, mode):  # type: ignore[no-untyped-def]
    """`y = W x + start` for `(units, inputs)` weights as a layer has them; see `strided`."""
    strided(weight, inputs, 1, bias, x, y, inputs, units, rows, mode)
