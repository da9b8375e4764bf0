"""The compiled loop: members, tiles of samples, and the operations of a program on each.

A tile of samples goes through all layers while it is in the first-level cache; only statistics over the whole batch
make it wait, because they need every tile first. There the program is cut into stages, and what a stage leaves behind
lies in a store of the thread's own, one place for each tile.

Threads are the caller's: the code holds no lock.
"""

from __future__ import annotations

import numpy as np

from gfopt.compiled import compiled
from gfopt.kernels import instructions as do
from gfopt.kernels.products import BIASED, BYTES, PLAIN, dense
from gfopt.kernels.program import ACTIVATE, ADD, AFFINE, COPY, KEEP, LINEAR, STANDARDIZE
from gfopt.kernels.sums import moments, total_of
from gfopt.kernels.vectors import LANES

CROSS_ENTROPY, SQUARED_ERROR = 1, 2  # losses; 0 is none


@compiled
def directions(genome, table, numbers, scratch):  # type: ignore[no-untyped-def]
    """Weights over their length, with the gain, into `scratch`; see `Program.directions`."""
    for i in range(len(table)):
        source, units, inputs, gain, centred, target = table[i]
        wanted, least = numbers[i]
        for unit in range(units):
            start, to = source + unit * inputs, target + unit * inputs
            mean = np.float32(0)
            if centred:
                for k in range(inputs):
                    mean += genome[start + k]
                mean /= np.float32(inputs)
            # Sums over a row run one after the other unless they are split: eight of them fill a vector.
            sums = np.zeros(LANES, np.float32)
            whole = inputs // LANES * LANES
            for k in range(0, whole, LANES):
                for lane in range(LANES):
                    z = genome[start + k + lane] - mean
                    sums[lane] += z * z
            total = np.float32(0)
            for lane in range(LANES):
                total += sums[lane]
            for k in range(whole, inputs):
                z = genome[start + k] - mean
                total += z * z
            length = np.sqrt(total)
            if length < least:
                length = least
            factor = wanted / length
            if gain >= 0:
                factor *= genome[gain + unit]
            for k in range(inputs):
                scratch[to + k] = (genome[start + k] - mean) * factor


@compiled
def place_of(address, offset):  # type: ignore[no-untyped-def]
    """The address of a parameter; 0 for one that is not there."""
    return address + BYTES * offset if offset >= 0 else 0


@compiled
def _run(ops, numbers, first, last, genome, scratch, current, buffers, kept, rows):  # type: ignore[no-untyped-def]
    """Operations `first` to `last` on the tile at `current`; the address of the result, which is one of two `buffers`.

    Products alternate between the buffers, all else works in place; so a tile of samples that a product reads first is
    never written to.
    """
    even, odd = buffers[0].ctypes.data, buffers[1].ctypes.data
    for i in range(first, last):
        code, units = ops[i, 0], ops[i, 1]
        if code == LINEAR:
            weight = (scratch if ops[i, 5] else genome) + BYTES * ops[i, 3]
            bias = place_of(genome, ops[i, 4])
            to = odd if current == even else even
            dense(weight, bias, current, to, ops[i, 2], units, rows, BIASED if bias else PLAIN)
            current = to
        elif code == ACTIVATE:
            do.activate(ops[i, 2], current, units * rows, numbers[i])
        elif code == STANDARDIZE:
            size = units // ops[i, 2]
            for group in range(ops[i, 2]):
                at = current + BYTES * group * size * rows
                do.standardize(at, size, rows, ops[i, 3], ops[i, 4], numbers[i])
        elif code == AFFINE:
            do.affine(current, current, units, rows, 0, place_of(genome, ops[i, 2]), place_of(genome, ops[i, 3]))
        elif code == COPY:
            do.affine(even, current, units, rows, 0, 0, 0)
            current = even
        elif code == KEEP:
            do.affine(kept, current, units, rows, 0, 0, 0)
        elif code == ADD:
            do.add(current, kept, units * rows)
    return current


@compiled
def _factors(op, eps, genome, store, rows, counted, sums, mean, factor):  # type: ignore[no-untyped-def]
    """Mean of every feature over the first `counted` samples of `(T, width * rows)`, and `gain / sqrt(var + eps)`."""
    moments(op, eps, store, 0, rows, counted, sums, mean, factor)
    if op[3] >= 0:
        for unit in range(op[1]):
            factor[unit] *= genome[op[3] + unit]


@compiled
def _spread(buffer, outputs, rows, start):  # type: ignore[no-untyped-def]
    """Outputs of the samples of one tile, the first of number `start`, as rows of `(N, C)`."""
    for row in range(min(rows, len(outputs) - start)):
        for column in range(outputs.shape[1]):
            outputs[start + row, column] = buffer[column * rows + row]


@compiled
def evaluate(  # type: ignore[no-untyped-def]
    genomes, first, last, ops, numbers, stages, table, lengths, sizes, tiles, streams, counted, loss, targets, values,
    shares, losses, outputs,
):  # fmt: skip
    """Losses of members `first` to `last` of `(P, D)` genomes, or their outputs where `loss` is 0.

    Args:
        genomes: `(P, D)`.
        first: number of the first member.
        last: of the first behind them.
        ops: `(n, 6)` operations, see `gfopt.kernels.program`.
        numbers: `(n,)` an option of each.
        stages: `(s + 1,)` where each stage begins, and the end; all but the first begin with batch statistics.
        table: `(d, 6)` weights to normalize.
        lengths: `(d, 2)` length of each one's rows without a gain, and the least that they are taken to have.
        sizes: features of the widest layer, outputs, numbers of all normalized weights.
        tiles: `(S, T, in, rows)` samples of every stream, the last tile padded.
        streams: `(P,)` which samples each member sees.
        counted: leading samples that batch statistics are taken of.
        loss: `CROSS_ENTROPY`, `SQUARED_ERROR` or 0.
        targets: `(S, T, rows)` classes, 32-bit.
        values: `(S, T, C, rows)` target values.
        shares: `(S, T, rows)` of each sample in the loss, 0 for padding.
        losses: `(P,)` receives them.
        outputs: `(P, N, C)` receives the network's outputs.
    """
    count, rows = tiles.shape[1], tiles.shape[3]
    width, classes = sizes[0], sizes[1]
    waits = len(stages) > 2
    buffers = np.empty((2, width * rows), np.float32)
    store = np.empty((count if waits else 1, width * rows), np.float32)
    kept = np.empty((count if waits else 1, width * rows), np.float32)
    scratch = np.empty(sizes[2], np.float32)
    sums, mean, factor = np.empty(width * LANES, np.float64), np.empty(width, np.float32), np.empty(width, np.float32)
    total = np.empty(LANES, np.float64)
    for member in range(first, last):
        genome, stream = genomes[member].ctypes.data, streams[member]
        directions(genomes[member], table, lengths, scratch)
        total[:] = 0
        for stage in range(len(stages) - 1):
            begin, end = stages[stage], stages[stage + 1]
            for tile in range(count):
                here = tile if waits else 0
                current = tiles[stream, tile].ctypes.data
                if stage:
                    op = ops[begin]
                    current = buffers[0].ctypes.data
                    scale = factor.ctypes.data if op[2] or op[3] >= 0 else 0
                    source, shift = store[here].ctypes.data, place_of(genome, op[4])
                    do.affine(current, source, op[1], rows, mean.ctypes.data, scale, shift)
                current = _run(
                    ops, numbers, begin + (stage > 0), end, genome, scratch.ctypes.data, current, buffers,
                    kept[here].ctypes.data, rows,
                )  # fmt: skip
                if stage < len(stages) - 2:
                    do.affine(store[here].ctypes.data, current, ops[end, 1], rows, 0, 0, 0)
                elif loss == CROSS_ENTROPY:
                    target, share = targets[stream, tile].ctypes.data, shares[stream, tile].ctypes.data
                    do.cross_entropy(total.ctypes.data, current, classes, rows, target, share)
                elif loss == SQUARED_ERROR:
                    target, share = values[stream, tile].ctypes.data, shares[stream, tile].ctypes.data
                    do.squared_error(total.ctypes.data, current, classes, rows, target, share)
                else:
                    buffer = buffers[0] if current == buffers[0].ctypes.data else buffers[1]
                    _spread(buffer, outputs[member], rows, tile * rows)
            if stage < len(stages) - 2:
                _factors(ops[end], numbers[end], genomes[member], store, rows, counted, sums, mean, factor)
        if loss:
            losses[member] = total_of(total, 0)
