"""Passes over whole populations: one compiled pass where the memory is a CPU's, torch's operations elsewhere.

A pass goes through the rows once, where torch makes several operations of it, each with its own trip to the memory and
with threads that wait for each other. Threads are as many as torch uses; no number depends on how many.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from gfopt.threads import in_threads


def spread(center: Tensor, deviation: Tensor, rows: Tensor) -> None:
    """`rows = center + deviation * rows`, in place; `(D,)`, `(D,)` and `(P, D)`."""
    if rows.is_cpu:
        arrays = center.numpy(), deviation.numpy(), rows.numpy()
        in_threads(rows.shape[0], rows.shape[1], lambda begin, end: _kernels().spread(begin, end, *arrays))
    else:
        rows.mul_(deviation).add_(center)


def spread_mirrored(center: Tensor, deviation: Tensor, rows: Tensor, mirrored: Tensor) -> None:
    """`mirrored = center - deviation * rows`, then `rows = center + deviation * rows`; `(P, D)` each."""
    if rows.is_cpu:
        arrays = center.numpy(), deviation.numpy(), rows.numpy(), mirrored.numpy()
        in_threads(rows.shape[0], rows.shape[1], lambda begin, end: _kernels().spread_mirrored(begin, end, *arrays))
    else:
        torch.addcmul(center, rows, deviation, value=-1, out=mirrored)
        rows.mul_(deviation).add_(center)


def weighted_moments(rows: Tensor, center: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """`(D,)` weighted sums of the rows' offsets from `center`, and of their squares.

    Args:
        rows: `(P, D)`.
        center: `(D,)`.
        weight: `(P,)`.
    """
    first, second = torch.zeros_like(center), torch.zeros_like(center)
    if rows.is_cpu:
        arrays = tuple(tensor.numpy() for tensor in (rows.contiguous(), center, weight, first, second))
        blocks = -(-len(center) // _kernels().BLOCK)
        size = len(rows) * _kernels().BLOCK
        in_threads(blocks, size, lambda begin, end: _kernels().weighted_moments(begin, end, *arrays))
    else:
        offset = rows - center
        first.addmv_(offset.mT, weight)
        second.addmv_(offset.square_().mT, weight)
    return first, second


def cross_and_mutate(
    genomes: Tensor, parents: Tensor, mask: Tensor, noise: Tensor, deviation: Tensor, offspring: Tensor
) -> None:
    """Children of pairs that exchange genes, with noise on each gene; on a CPU only.

    Args:
        genomes: `(P, D)`.
        parents: `(2 N,)` rows of it, pairs side by side.
        mask: `(N, D)` booleans: which genes of a pair change sides.
        noise: `(2 N, D)` of unit deviation.
        deviation: `(D,)` of each gene's noise.
        offspring: `(2 N, D)`, written.
    """
    arrays = tuple(tensor.numpy() for tensor in (genomes, parents, mask, noise, deviation, offspring))
    in_threads(len(mask), 2 * len(deviation), lambda begin, end: _kernels().breed(begin, end, *arrays))


def _kernels() -> ModuleType:
    """The compiled passes, imported at their first use: numba takes a second."""
    from gfopt.optimizers import _kernels as compiled

    return compiled
