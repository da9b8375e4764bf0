"""Fixed random directions: linear maps from a few numbers to many parameters, with columns of length 1."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from gfopt.rng import generator


class Projection(ABC):
    """A random matrix `A` `(D, d)` that never changes."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """`(..., D)` vectors `A z` of `(..., d)` ones."""

    @abstractmethod
    def transposed(self, gradient: Tensor) -> Tensor:
        """`(..., d)` vectors `A^T g` of `(..., D)` ones."""


class DenseProjection(Projection):
    """Columns of independent normal numbers, scaled to length 1; nearly orthogonal if `d` is far below `D`.

    Args:
        rows: `D`.
        columns: `d`.
        seed: of the directions; the type of the numbers does not change them.
        like: a tensor of the wanted type and device.

    References:
        Li, Farkhoor, Liu & Yosinski 2018, arXiv:1804.08838, section 2.
    """

    def __init__(self, rows: int, columns: int, seed: int, like: Tensor) -> None:
        stream = generator("projection", "dense", seed)
        self._transposed = torch.empty((columns, rows), dtype=like.dtype)
        for row in self._transposed:  # one at a time: float64 numbers for all of them would double the memory
            direction = stream.standard_normal(rows)
            row.copy_(torch.from_numpy(direction / np.linalg.norm(direction)))
        self._transposed = self._transposed.to(like.device)

    def forward(self, z: Tensor) -> Tensor:  # noqa: D102 - as in the contract
        return z @ self._transposed

    def transposed(self, gradient: Tensor) -> Tensor:  # noqa: D102 - as in the contract
        return gradient @ self._transposed.mT


class HashedProjection(Projection):
    """One number in every row, of random sign: each column belongs to `D / d` parameters of its own.

    The columns are orthonormal, and its memory is that of a vector or two of parameters, whatever `d` is.

    Args:
        rows: `D`.
        columns: `d`, at most `D`.
        seed: of the directions; the type of the numbers does not change them.
        like: a tensor of the wanted type and device.

    References:
        Weinberger et al. 2009, arXiv:0902.2206: signed hashing; here with groups of equal size.
    """

    def __init__(self, rows: int, columns: int, seed: int, like: Tensor) -> None:
        stream = generator("projection", "hashed", seed)
        column = stream.permutation(rows) % columns
        size = np.bincount(column, minlength=columns)
        entry = stream.choice((-1.0, 1.0), rows) / np.sqrt(size[column])
        self._columns = columns
        self._column = torch.from_numpy(column).to(like.device)
        self._entry = torch.from_numpy(entry).to(like)

    def forward(self, z: Tensor) -> Tensor:  # noqa: D102 - as in the contract
        return z[..., self._column] * self._entry

    def transposed(self, gradient: Tensor) -> Tensor:  # noqa: D102 - as in the contract
        zeros = gradient.new_zeros((*gradient.shape[:-1], self._columns))
        return zeros.index_add_(-1, self._column, gradient * self._entry)


def unit_scale(rows: int, columns: int) -> float:
    """`sqrt(D / d)`: with this standard deviation of `z`, `A z` has variance 1 in every row on average."""
    return math.sqrt(rows / columns)
