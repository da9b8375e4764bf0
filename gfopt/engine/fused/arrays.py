"""What the compiled loops are given of samples, targets and weights: tiles, padded and feature by feature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfopt.engine.criterion import Criterion
from gfopt.errors import ShapeError, expectation

LOSSES = {"": 0, "cross_entropy": 1, "squared_error": 2}  # codes of the kernels

# What a mode of a kernel does not use.
NO_TARGETS, NO_VALUES = np.empty((0, 0, 0), np.int32), np.empty((0, 0, 0, 0), np.float32)
NO_SHARES = NO_OUTPUTS = np.empty((0, 0, 0), np.float32)

REGISTER_ROWS = 24  # samples that the registers hold at once

# Two tiles of activations stay within this, and a weight matrix above `HEAVY` bytes is then read for more samples at
# once. Constants, not what a machine's caches are: the losses of a population shall not depend on it.
ACTIVATION_BYTES, HEAVY_BYTES = 2**19, 2**18


def tile_rows(samples: int, width: int, weights: int) -> int:
    """Samples in a tile: what wastes the least on padding, and more where weights do not fit in a cache.

    Args:
        samples: in the batch.
        width: features of the widest layer.
        weights: of the largest layer.
    """
    # A tile of fewer samples does less work for every weight that is read: 16 take as long as 18, 8 as long as 12.
    cost = {24: 24, 16: 18, 8: 12}
    rows = min(cost, key=lambda size: math.ceil(samples / size) * cost[size])
    if rows == REGISTER_ROWS and 4 * weights > HEAVY_BYTES:
        most = max(1, ACTIVATION_BYTES // (2 * 4 * width * rows))
        rows *= min(most, 4, math.ceil(samples / rows))
    return rows


def tiled(samples: NDArray[Any], rows: int) -> NDArray[Any]:
    """`(S, N, F)` as `(S, T, F, rows)`, the last tile padded with zeros."""
    streams, count, features = samples.shape
    tiles = math.ceil(count / rows)
    padded = np.zeros((streams, tiles * rows, features), samples.dtype)
    padded[:, :count] = samples
    return np.ascontiguousarray(padded.reshape(streams, tiles, rows, features).transpose(0, 1, 3, 2))


def loss_arrays(
    criteria: Sequence[Criterion], samples: int, columns: int, rows: int
) -> tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The code of a loss, and the classes, the values and the shares in it of all samples, padding included.

    Args:
        criteria: one a stream, all of one compiled kind.
        samples: of each stream, those ahead of the loss included.
        columns: outputs of the network.
        rows: samples in a tile.

    Raises:
        ShapeError: if targets do not fit.
    """
    of_classes = criteria[0].kind == "cross_entropy"
    tiles = len(criteria), math.ceil(samples / rows), rows
    shares = np.zeros((len(criteria), tiles[1] * rows), np.float32)
    targets = np.zeros((*shares.shape, 1 if of_classes else columns), np.int32 if of_classes else np.float32)
    for target, share, criterion in zip(targets, shares, criteria, strict=True):
        inside = slice(criterion.ahead, samples)
        target[inside] = _columns(criterion, samples - criterion.ahead, targets.shape[2])
        share[inside] = _shares(criterion)
    code = LOSSES[criteria[0].kind]
    if of_classes:
        return code, targets.reshape(tiles), NO_VALUES, shares.reshape(tiles)
    values = np.ascontiguousarray(targets.reshape(*tiles, -1).transpose(0, 1, 3, 2))
    return code, NO_TARGETS, values, shares.reshape(tiles)


def _columns(criterion: Criterion, samples: int, columns: int) -> NDArray[Any]:
    """`(n, columns)` targets of the samples in a loss."""
    targets = criterion.targets.detach().numpy()
    found = targets.reshape(len(targets), -1)
    if found.shape != (samples, columns):
        raise ShapeError("targets: " + expectation(f"{samples} rows, {columns} columns", f"`{found.shape}`"))
    return found


def _shares(criterion: Criterion) -> NDArray[Any] | float:
    """Of each sample in the loss."""
    if criterion.weight is None:
        return 1 / len(criterion.targets)
    return (criterion.weight / criterion.weight.sum()).detach().numpy()


def check_arrays(population: Tensor, inputs: Tensor, members: Sequence[int], dim: int, features: int) -> None:
    """Refuse what the compiled code, which checks nothing, would read beyond its end or as other numbers.

    Args:
        population: `(P, dim)` float32.
        inputs: `(S, B, features)` float32.
        members: how many see each of the `S` streams.
        dim: parameters of one member.
        features: numbers of a sample.

    Raises:
        ShapeError: naming the array.
    """
    for name, array, size, wanted in (
        ("population", population, dim, f"(P, {dim})"),
        ("inputs", inputs, features, f"(S, B, {features})"),
    ):
        if array.shape[-1] != size or array.dtype != torch.float32 or array.device.type != "cpu":
            got = f"`{array.dtype} {tuple(array.shape)} on {array.device}`"
            raise ShapeError(f"{name}: " + expectation(f"torch.float32 {wanted} on the CPU", got))
    if len(members) != len(inputs) or sum(members) != len(population):
        wanted = f"a number of members for each of {len(inputs)} streams, {len(population)} in all"
        raise ShapeError("members: " + expectation(wanted, list(members)))
