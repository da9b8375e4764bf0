"""The compiled loop of the gradients: members, tiles of samples, the operations of a program forwards and backwards.

A tile goes forwards through a stage, then backwards while its values are still in a cache. Statistics over the batch
make it wait twice: forwards for the statistics of all tiles, backwards for the sums of all slopes; there every tile
has a tape of its own.
"""

from __future__ import annotations

import numpy as np

from gfopt.compiled import compiled
from gfopt.kernels import derivatives as derive
from gfopt.kernels import instructions as do
from gfopt.kernels.evaluate import CROSS_ENTROPY, directions, place_of
from gfopt.kernels.gather import gather
from gfopt.kernels.products import ADDED, BIASED, BYTES, PLAIN, strided, transpose
from gfopt.kernels.program import ACTIVATE, ADD, AFFINE, KEEP, LINEAR, STANDARDIZE
from gfopt.kernels.sums import moments, total_of
from gfopt.kernels.tape import CODE, EXTRA, SOURCE, SUMS, TARGET
from gfopt.kernels.vectors import LANES

MEAN, INVERSE, FACTOR, SHIFT, ALONG = range(5)  # of a feature in the batch: see `derivatives.batch_slopes`
SUM = 8 * LANES  # bytes of the eight float64 sums of a feature


@compiled
def _value(samples, tape, place, rows):  # type: ignore[no-untyped-def]
    """The address of a value of a tile."""
    return samples if place < 0 else tape + BYTES * rows * place


@compiled
def _forwards(ops, numbers, places, first, last, genome, scratch, samples, tape, rows):  # type: ignore[no-untyped-def]
    """Operations `first` to `last` on a tile, all values onto its tape."""
    for i in range(first, last):
        code, units = ops[i, 0], ops[i, 1]
        source, target = _value(samples, tape, places[i, SOURCE], rows), _value(samples, tape, places[i, TARGET], rows)
        if code == LINEAR:
            weight = (scratch if ops[i, 5] else genome) + BYTES * ops[i, 3]
            bias, inputs = place_of(genome, ops[i, 4]), ops[i, 2]
            strided(weight, inputs, 1, bias, source, target, inputs, units, rows, BIASED if bias else PLAIN)
            continue
        if code == AFFINE:
            do.affine(target, source, units, rows, 0, place_of(genome, ops[i, 2]), place_of(genome, ops[i, 3]))
            continue
        if source != target:
            do.affine(target, source, units, rows, 0, 0, 0)
        if code == ACTIVATE:
            do.activate(ops[i, 2], target, units * rows, numbers[i])
        elif code == STANDARDIZE:
            size = units // ops[i, 2]
            for group in range(ops[i, 2]):
                at = target + BYTES * group * size * rows
                do.standardize(at, size, rows, ops[i, 3], ops[i, 4], numbers[i])
        elif code == ADD:
            do.add(target, _value(samples, tape, places[i, EXTRA], rows), units * rows)


@compiled
def _backwards(  # type: ignore[no-untyped-def]
    ops, numbers, places, first, last, bottom, genome, scratch, samples, across, tape, rows, mode, buffers, aside,
    turned, weights, sums,
):  # fmt: skip
    """Operations `last` to `first`, from the slopes in the first buffer; the address of the slopes ahead of them.

    The slopes of the parameters are written (mode `PLAIN`) or added to `weights` and added to `sums`.
    """
    even, odd = buffers[0].ctypes.data, buffers[1].ctypes.data
    slopes = even
    for i in range(last - 1, max(first, bottom) - 1, -1):
        code, units = ops[i, 0], ops[i, 1]
        source, target = _value(samples, tape, places[i, SOURCE], rows), _value(samples, tape, places[i, TARGET], rows)
        mine = sums + SUM * places[i, SUMS]
        if code == LINEAR:
            inputs = ops[i, 2]
            width = (inputs + LANES - 1) // LANES * LANES
            x = across
            if places[i, SOURCE] >= 0:
                x = turned
                transpose(turned, source, inputs, rows, width)
            strided(slopes, rows, 1, 0, x, weights + BYTES * places[i, EXTRA], rows, units, width, mode)
            if ops[i, 4] >= 0:
                derive.sum_slopes(slopes, 0, units, rows, 0, 0, 0, mine)
            if i > bottom:
                weight = (scratch if ops[i, 5] else genome) + BYTES * ops[i, 3]
                to = odd if slopes == even else even
                strided(weight, 1, inputs, 0, slopes, to, units, inputs, rows, PLAIN)
                slopes = to
        elif code == ACTIVATE:
            values = _value(samples, tape, places[i, EXTRA], rows)
            derive.activation_slopes(places[i, CODE], slopes, values, units * rows, numbers[i])
        elif code == STANDARDIZE:
            size = units // ops[i, 2]
            for group in range(ops[i, 2]):
                at = BYTES * group * size * rows
                derive.standardize_slopes(
                    slopes + at, source + at, target + at, size, rows, ops[i, 3], ops[i, 4], numbers[i]
                )
        elif code == AFFINE:
            gains = mine if ops[i, 2] >= 0 else 0
            derive.sum_slopes(slopes, source, units, rows, 0, 0, gains, mine + SUM * units)
            do.affine(slopes, slopes, units, rows, 0, place_of(genome, ops[i, 2]), 0)
        elif code == ADD:
            do.affine(aside, slopes, units, rows, 0, 0, 0)
        elif code == KEEP:
            do.add(slopes, aside, units * rows)
    return slopes


@compiled
def _statistics(op, eps, tapes, place, rows, counted, sums, genome, statistics):  # type: ignore[no-untyped-def]
    """Mean, `1 / sigma` and `gain / sigma` of every feature over the first `counted` samples of all tapes."""
    moments(op, eps, tapes, BYTES * rows * place, rows, counted, sums, statistics[MEAN], statistics[INVERSE])
    for unit in range(op[1]):
        gain = genome[op[3] + unit] if op[3] >= 0 else np.float32(1)
        statistics[FACTOR, unit] = gain * statistics[INVERSE, unit]


@compiled
def _mean_slopes(op, sums, place, counted, statistics):  # type: ignore[no-untyped-def]
    """What batch statistics take away from every slope."""
    units = op[1]
    for unit in range(units):
        statistics[SHIFT, unit] = total_of(sums, place + units + unit) / counted
        statistics[ALONG, unit] = total_of(sums, place + unit) / counted if op[2] else 0.0


@compiled
def _rise(  # type: ignore[no-untyped-def]
    ops, numbers, places, begin, end, known, genome, scratch, samples, tape, rows
):
    """A tile forwards through a stage, of which all but the first begin with batch statistics."""
    if begin:
        source, target = places[begin, SOURCE], places[begin, TARGET]
        do.affine(
            tape + BYTES * rows * target, tape + BYTES * rows * source, ops[begin, 1], rows, known[MEAN].ctypes.data,
            known[FACTOR].ctypes.data, place_of(genome, ops[begin, 4]),
        )  # fmt: skip
    _forwards(ops, numbers, places, begin + (begin > 0), end, genome, scratch, samples, tape, rows)


@compiled
def _loss(  # type: ignore[no-untyped-def]
    kind, total, slopes, outputs, classes, rows, targets, values, shares, stream, tile
):
    """Add the losses of a tile to the eight sums, and write the slopes of the outputs."""
    share = shares[stream, tile].ctypes.data
    if kind == CROSS_ENTROPY:
        target = targets[stream, tile].ctypes.data
        derive.cross_entropy_slopes(total.ctypes.data, slopes, outputs, classes, rows, target, share)
    else:
        target = values[stream, tile].ctypes.data
        derive.squared_error_slopes(total.ctypes.data, slopes, outputs, classes, rows, target, share)


@compiled
def _gather_batch(op, sums, slopes, z, rows, known, waiting):  # type: ignore[no-untyped-def]
    """Keep the slopes behind batch statistics until those of all tiles are in the sums."""
    units = op[1]
    mean, inverse = known[MEAN].ctypes.data, known[INVERSE].ctypes.data
    derive.sum_slopes(slopes, z, units, rows, mean, inverse, sums, sums + SUM * units)
    do.affine(waiting, slopes, units, rows, 0, 0, 0)


@compiled
def _workspace(sizes, tiles, rows, stop):  # type: ignore[no-untyped-def]
    """Memory for one member after the other."""
    width, own = sizes[0], tiles if stop else 1  # tiles whose values are kept until the way back
    scratch, tapes = np.empty(sizes[2], np.float32), np.empty((own, sizes[3] * rows), np.float32)
    weights, sums = np.empty(sizes[4], np.float32), np.empty(sizes[5] * LANES, np.float64)
    turned, statistics = np.empty(sizes[6] * rows, np.float32), np.empty((stop + 1, 5, width), np.float32)
    buffers, aside = np.empty((2, width * rows), np.float32), np.empty((own, width * rows), np.float32)
    waiting = np.empty((tiles if stop else 0, width * rows), np.float32)
    moment_sums, total = np.empty(width * LANES, np.float64), np.empty(LANES, np.float64)
    return scratch, tapes, weights, sums, turned, statistics, buffers, aside, waiting, moment_sums, total


@compiled
def lay_out(samples, columns, lines):  # type: ignore[no-untyped-def]
    """Samples `(S, N, F)` as `(S, T, width, rows)` and as `(S, T, rows, width)`; the last one fills up its tile."""
    tiles, rows, width = lines.shape[1:]
    for stream in range(len(samples)):
        for tile in range(tiles):
            for row in range(rows):
                sample = min(tile * rows + row, samples.shape[1] - 1)
                for feature in range(samples.shape[2]):
                    lines[stream, tile, row, feature] = samples[stream, sample, feature]
            here = columns[stream, tile].ctypes.data
            transpose(here, lines[stream, tile].ctypes.data, rows, width, rows)


@compiled
def differentiate(  # type: ignore[no-untyped-def]
    genomes, first, last, ops, numbers, stages, table, lengths, sizes, places, tiles, across, streams, counted, loss,
    targets, values, shares, losses, gradients,
):  # fmt: skip
    """Losses and gradients of members `first` to `last` of `(P, D)` genomes.

    Args:
        genomes: `(P, D)`.
        first: number of the first member.
        last: of the first behind them.
        ops: `(n, 6)` operations, see `gfopt.kernels.program`.
        numbers: `(n,)` an option of each.
        stages: `(s + 1,)` where each stage begins, and the end; all but the first begin with batch statistics.
        table: `(d, 6)` weights to normalize.
        lengths: `(d, 2)` length of each one's rows without a gain, and the least that they are taken to have.
        sizes: features of the widest layer, outputs, numbers of all normalized weights, then of the tape: features,
            numbers of weights, sums, inputs, and the bottom.
        places: `(n, 5)`, see `gfopt.kernels.tape`.
        tiles: `(S, T, width, rows)` samples of every stream, see `lay_out`.
        across: `(S, T, rows, width)` the same, sample by sample.
        streams: `(P,)` which samples each member sees.
        counted: leading samples that batch statistics are taken of.
        loss: `CROSS_ENTROPY` or `SQUARED_ERROR`.
        targets: `(S, T, rows)` classes, 32-bit.
        values: `(S, T, C, rows)` target values.
        shares: `(S, T, rows)` of each sample in the loss, 0 for padding.
        losses: `(P,)` receives them.
        gradients: `(P, D)` receives them.
    """
    count, rows, stop = tiles.shape[1], tiles.shape[3], len(stages) - 2
    bottom = sizes[7]
    work = _workspace(sizes, count, rows, stop)
    scratch, tapes, weights, sums, turned, statistics, buffers, aside, waiting, moment_sums, total = work
    slopes = buffers[0].ctypes.data
    for member in range(first, last):
        genome, stream, normalized = genomes[member].ctypes.data, streams[member], scratch.ctypes.data
        directions(genomes[member], table, lengths, scratch)
        total[:] = 0
        sums[:] = 0
        for step in range(2 * stop + 1):
            stage = stop - abs(stop - step)  # up to the last one, and down again
            begin, end = stages[stage], stages[stage + 1]
            known = statistics[stage]
            if step > stop:
                if end <= bottom:
                    break
                behind = statistics[stage + 1]
                _mean_slopes(ops[end], sums, places[end, SUMS], counted, behind)
            elif stage:
                place = places[begin, SOURCE]
                _statistics(
                    ops[begin], numbers[begin], tapes, place, rows, counted, moment_sums, genomes[member], known
                )
            for tile in range(count):
                here = tile if stop else 0
                samples, tape = tiles[stream, tile].ctypes.data, tapes[here].ctypes.data
                if step <= stop:
                    _rise(ops, numbers, places, begin, end, known, genome, normalized, samples, tape, rows)
                if step < stop:
                    continue
                if step == stop:
                    outputs = _value(samples, tape, places[end - 1, TARGET], rows)
                    _loss(loss, total, slopes, outputs, sizes[1], rows, targets, values, shares, stream, tile)
                else:
                    z, inside = tape + BYTES * rows * places[end, SOURCE], min(max(counted - tile * rows, 0), rows)
                    come, about = waiting[tile].ctypes.data, behind.ctypes.data
                    derive.batch_slopes(slopes, come, z, ops[end, 1], rows, inside, about, sizes[0])
                found = _backwards(
                    ops, numbers, places, begin + (stage > 0), end, bottom, genome, normalized, samples,
                    across[stream, tile].ctypes.data, tape, rows, ADDED if tile else PLAIN, buffers,
                    aside[here].ctypes.data, turned.ctypes.data, weights.ctypes.data, sums.ctypes.data,
                )  # fmt: skip
                if stage and begin >= bottom:
                    mine = sums.ctypes.data + SUM * places[begin, SUMS]
                    z = tape + BYTES * rows * places[begin, SOURCE]
                    _gather_batch(ops[begin], mine, found, z, rows, known, waiting[tile].ctypes.data)
        losses[member] = total_of(total, 0)
        gather(ops, places, table, lengths, genomes[member], weights, sums, gradients[member])
