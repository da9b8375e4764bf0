"""What the genes of a network belong to: neurons, and parameters with a size of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfopt.types import Group

Genomes = NDArray[Any]

# Of a gene's scale: what `parameter_size` is at least and at most.
SMALLEST, LARGEST = 0.1, 1000.0


def parameter_size(genomes: Genomes, scale: Genomes, groups: Sequence[Group]) -> Genomes:
    """`(N, D)` root mean square of the parameter that each gene belongs to, in each individual by itself.

    At least a tenth of `scale`, so that what is zero can move, and at most a thousand times it: steps in proportion to
    what they add up to make a size that nothing selects for grow exponentially. A gene in no group has its `scale`.

    Args:
        genomes: `(N, D)`.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        groups: name, slice and shape of every parameter.
    """
    return limited(group_sizes(genomes, groups), owners(groups, genomes.shape[1]), scale)


def neurons_of(groups: Sequence[Group], dim: int) -> NDArray[np.intp]:
    """`(D,)` index of the neuron to which each gene belongs.

    The `k`-th rows of all parameters of one module (a weight matrix, its shift and its gain) are the neuron
    `k` of that module. A gene that is in no group is a neuron of its own.
    """
    neurons = np.full(dim, -1, dtype=np.intp)
    first: dict[tuple[str, int], int] = {}
    used = 0
    for group in groups:
        rows = group.shape[0] if group.shape else 1
        key = (group.name.rpartition(".")[0], rows)
        if key not in first:
            first[key], used = used, used + rows
        size = int(np.prod(group.shape, dtype=np.int64))
        neurons[group.slice] = first[key] + np.repeat(np.arange(rows), size // rows)
    alone = np.flatnonzero(neurons < 0)
    neurons[alone] = used + np.arange(len(alone))
    return neurons


def group_sizes(genomes: Genomes, groups: Sequence[Group]) -> Genomes:
    """`(N, groups + 1)` root mean square of each parameter in each individual; the last column is unused."""
    sizes = np.zeros((len(genomes), len(groups) + 1), dtype=genomes.dtype)
    for number, group in enumerate(groups):
        sizes[:, number] = np.sqrt(np.square(genomes[:, group.slice], dtype=np.float64).mean(axis=1))
    return sizes


def owners(groups: Sequence[Group], dim: int) -> NDArray[np.intp]:
    """`(D,)` number of the group that each gene is in; that of no group is `len(groups)`."""
    found = np.full(dim, len(groups), dtype=np.intp)
    for number, group in enumerate(groups):
        found[group.slice] = number
    return found


def limited(sizes: Genomes, owner: NDArray[np.intp], scale: Genomes) -> Genomes:
    """`(N, G)` size of each gene's group, within the limits; the gene's `scale` where it has no group."""
    found = sizes[:, owner]
    np.copyto(found, scale, where=owner == sizes.shape[1] - 1)
    return found.clip(SMALLEST * scale, LARGEST * scale)
