"""From the slopes that a backward pass leaves behind to the gradient: every parameter's where it lies in the genome."""

from __future__ import annotations

from functools import partial

import numpy as np

from gfopt.compiled import compiled
from gfopt.kernels.program import AFFINE, BATCH, LINEAR
from gfopt.kernels.sums import total_of
from gfopt.kernels.tape import CODE, EXTRA, LANES, SUMS

# Sums whose terms may come in any order, so that they fill vectors; NaN and infinity stay what they are.
reassociated = partial(compiled, reassociates=True)


@reassociated
def _through_length(row, wanted, least, genome, slopes, width, gradient):  # type: ignore[no-untyped-def]
    """Slopes of normalized rows as those of the weight and the gain: `(G - u (G u) / |u|^2) g / |u|`.

    A length below the least one is a constant.
    """
    source, units, inputs, gain, centred = row[0], row[1], row[2], row[3], row[4]
    for unit in range(units):
        w, slope = genome[source + unit * inputs :][:inputs], slopes[unit * width :][:inputs]
        mean, average = np.float32(0), np.float32(0)
        if centred:
            for k in range(inputs):
                mean += w[k]
                average += slope[k]
            mean /= np.float32(inputs)
            average /= np.float32(inputs)
        square, inner = np.float32(0), np.float32(0)
        for k in range(inputs):
            z = w[k] - mean
            square += z * z
            inner += z * slope[k]
        length = np.sqrt(square)
        along = inner / square if length >= least else np.float32(0)
        factor = wanted / (length if length >= least or length != length else least)
        if gain >= 0:
            gradient[gain + unit] += factor * inner
            factor *= genome[gain + unit]
        to = gradient[source + unit * inputs :][:inputs]
        for k in range(inputs):
            to[k] += factor * (slope[k] - average - (w[k] - mean) * along)


@compiled
def _add_sums(gradient, start, units, sums, place):  # type: ignore[no-untyped-def]
    if start >= 0:
        for unit in range(units):
            gradient[start + unit] += total_of(sums, place + unit)


@compiled
def gather(ops, places, table, lengths, genome, weights, sums, gradient):  # type: ignore[no-untyped-def]
    """The slopes of all parameters, each where it lies in the genome; those of a tied one add up."""
    gradient[:] = np.float32(0)
    for i in range(len(ops)):
        code, units, place = ops[i, 0], ops[i, 1], places[i, SUMS]
        if code == LINEAR:
            inputs, start = ops[i, 2], ops[i, 3]
            width = (inputs + LANES - 1) // LANES * LANES
            mine = weights[places[i, EXTRA] :]
            d = places[i, CODE]
            if d >= 0:
                _through_length(table[d], lengths[d, 0], lengths[d, 1], genome, mine, width, gradient)
            else:
                for unit in range(units):
                    to, slope = gradient[start + unit * inputs :][:inputs], mine[unit * width :][:inputs]
                    for k in range(inputs):
                        to[k] += slope[k]
            _add_sums(gradient, ops[i, 4], units, sums, place)
        elif code == AFFINE:
            _add_sums(gradient, ops[i, 2], units, sums, place)
            _add_sums(gradient, ops[i, 3], units, sums, place + units)
        elif code == BATCH:
            _add_sums(gradient, ops[i, 3], units, sums, place)
            _add_sums(gradient, ops[i, 4], units, sums, place + units)
