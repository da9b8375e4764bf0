"""Sums over samples: they are kept in eight parts, one a lane of a vector, and put together in float64."""

from __future__ import annotations

import numpy as np

from gfopt.compiled import compiled
from gfopt.kernels import instructions as do
from gfopt.kernels.vectors import LANES


@compiled
def total_of(sums, place):  # type: ignore[no-untyped-def]
    """The eight sums of a feature as one."""
    total = 0.0
    for lane in range(LANES):
        total += sums[place * LANES + lane]
    return total


@compiled
def moments(op, eps, tapes, offset, rows, counted, sums, mean, inverse):  # type: ignore[no-untyped-def]
    """Mean and `1 / sqrt(var + eps)` of every feature over the first `counted` samples of all tapes.

    In two passes: the squares of what is left when the mean is gone, as no difference of large numbers. Where the
    normalization `op` takes the mean alone, the second is 1.

    Args:
        op: its row of the program: units in place 1, whether it divides by the deviation in place 2.
        eps: inside the root.
        tapes: `(T, ...)` values of each tile of samples.
        offset: bytes from the beginning of a tape to the values `(units, rows)` that are meant.
        rows: samples of a tile.
        counted: samples that count; they come first.
        sums: `(units * lanes,)` float64, overwritten.
        mean: `(units,)` float32, overwritten.
        inverse: the same.
    """
    units = op[1]
    for around in range(2 if op[2] else 1):
        sums[:] = 0
        for tile in range(len(tapes)):
            inside = min(rows, counted - tile * rows)
            if inside > 0:
                center = mean.ctypes.data if around else 0
                do.accumulate(sums.ctypes.data, tapes[tile].ctypes.data + offset, units, rows, inside, center)
        for unit in range(units):
            if around:
                inverse[unit] = 1 / np.sqrt(total_of(sums, unit) / counted + eps)
            else:
                mean[unit] = total_of(sums, unit) / counted
                inverse[unit] = 1
