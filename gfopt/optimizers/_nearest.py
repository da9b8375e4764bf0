"""Who is near whom in a swarm: the neighbours that a k-d tree finds, from one matrix of distances.

In hundreds of dimensions a tree prunes nothing: it computes every distance, one at a time. A matrix product computes
them all together, up to rounding; where that could decide, the tree is asked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

COLUMNS = 2048  # taken at once: temporaries are `(P, COLUMNS)` and `(P, P)`


def nearest(position: NDArray[Any], count: int, norm: int) -> NDArray[np.intp]:
    """`(P, count)` rows nearest to each row, nearest first: what `scipy.spatial.cKDTree` finds for it.

    That is itself and the others, whatever the number of threads; only beside a row at the very same place may the
    tree name that one first. Rows whose distance is beyond the range of numbers, which a tree does not find, are
    replaced by the row itself.

    Args:
        position: `(P, D)`.
        count: of neighbours, itself among them.
        norm: 1 for the sum of absolute differences, 2 for the Euclidean distance.
    """
    distances, slack = _euclidean(position) if norm == 2 else _manhattan(position)
    np.fill_diagonal(distances, 0.0)
    order: NDArray[np.intp] = np.argsort(distances, axis=1, kind="stable")[:, : count + 1]
    # Where two rows follow each other so closely that rounding may have changed their places.
    with np.errstate(invalid="ignore"):  # infinite ones have no gap
        gaps = np.diff(np.take_along_axis(distances, order, axis=1), axis=1)
    unsure = np.flatnonzero(~(gaps > 2 * slack[:, None]).all(axis=1))
    order = np.ascontiguousarray(order[:, :count])
    if len(unsure):
        found = cKDTree(position).query(position[unsure], k=list(range(1, count + 1)), p=norm)[1]
        order[unsure] = np.where(found < len(position), found, unsure[:, None])
    return order


def _euclidean(position: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """`(P, P)` squared distances, from inner products of the centered rows, and the `(P,)` error of each row's."""
    rows, dim = torch.from_numpy(position), position.shape[1]
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in torch.split(rows, COLUMNS, dim=1):
        # What is common to all rows would cost digits.
        centered = part.double() - part.mean(dim=0, dtype=torch.float64)
        products.addmm_(centered, centered.T)
    squares = products.diagonal().clone()
    distances = squares[:, None] + squares - 2 * products
    return distances.numpy(), _error(squares + squares.max(), dim)


def _manhattan(position: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """`(P, P)` sums of absolute differences, and the `(P,)` error of each row's."""
    rows, dim = torch.from_numpy(position), position.shape[1]
    distances = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in torch.split(rows, COLUMNS, dim=1):
        exact = part.double()
        distances += torch.cdist(exact, exact, p=1)
    return distances.numpy(), _error(distances.amax(dim=1), dim)


def _error(size: Tensor, dim: int) -> NDArray[Any]:
    """What sums of `dim` terms, whose sizes add up to `size`, are off by at most, with something to spare."""
    bound: NDArray[Any] = (2 * dim * torch.finfo(torch.float64).eps * size).numpy()
    return bound
