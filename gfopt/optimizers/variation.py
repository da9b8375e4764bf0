"""Crossover and mutation on whole `(N, D)` arrays, where DEAP's own operators loop gene by gene.

Each operator is the one of the same name in `deap.tools`, applied to many individuals at once: the random
numbers come from a numpy generator and the children are written in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfopt.types import Group

Genomes = NDArray[Any]

# Of a gene's scale: what `parameter_size` is at least and at most.
SMALLEST, LARGEST = 0.1, 1000.0


def uniform_crossover(first: Genomes, second: Genomes, generator: np.random.Generator) -> None:
    """Each gene of a pair changes sides with probability 1/2 (Syswerda 1989); `(N, D)` each, in place."""
    _swap(first, second, _coins(generator, first.shape))


def one_point_crossover(first: Genomes, second: Genomes, generator: np.random.Generator) -> None:
    """All genes behind a random cut change sides; `(N, D)` each, in place."""
    count, dim = first.shape
    if dim < 2:  # there is no place for a cut
        return
    cut = generator.integers(1, dim, size=(count, 1))
    _swap(first, second, np.arange(dim) >= cut)


def two_point_crossover(first: Genomes, second: Genomes, generator: np.random.Generator) -> None:
    """The genes between two random cuts change sides; `(N, D)` each, in place."""
    count, dim = first.shape
    if dim < 2:
        return
    # Two different places of `1..dim`, every pair with the same probability.
    one = generator.integers(dim, size=(count, 1))
    other = (one + generator.integers(1, dim, size=(count, 1))) % dim
    place = np.arange(dim) - 1
    _swap(first, second, (place >= np.minimum(one, other)) & (place < np.maximum(one, other)))


def neuron_crossover(
    first: Genomes, second: Genomes, generator: np.random.Generator, *, neurons: NDArray[np.intp]
) -> None:
    """All incoming weights of a neuron change sides together, with probability 1/2.

    Args:
        first: `(N, D)` one of each pair, changed in place.
        second: `(N, D)` the other one.
        generator: the random numbers.
        neurons: `(D,)` index of the neuron to which each gene belongs, see `neurons_of`.

    References: Montana and Davis 1989, "Training feedforward neural networks using genetic algorithms"
        (their crossover of nodes).
    """
    _swap(first, second, _coins(generator, (len(first), int(neurons.max()) + 1))[:, neurons])


def blend_crossover(first: Genomes, second: Genomes, generator: np.random.Generator, *, alpha: float) -> None:
    """Each gene of both children lies on the line through the parents', up to `alpha` of their distance
    outside.

    References: Eshelman and Schaffer 1993, BLX-alpha.
    """
    weight = (1 + 2 * alpha) * generator.random(first.shape, dtype=first.dtype.type) - alpha
    shift = weight * (second - first)
    first += shift
    second -= shift


def gaussian_mutation(
    genomes: Genomes,
    generator: np.random.Generator,
    *,
    deviation: Genomes,
    gene_probability: float = 1.0,
) -> None:
    """Add normal numbers to genes, each with its own standard deviation; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        deviation: `(D,)` or `(N, D)` standard deviation of each gene's change.
        gene_probability: probability with which a gene is changed.
    """
    kind = genomes.dtype.type
    if gene_probability >= 1:
        noise = generator.standard_normal(genomes.shape, dtype=kind)
        noise *= deviation
        genomes += noise
        return
    row, column = np.nonzero(generator.random(genomes.shape, dtype=np.float32) < gene_probability)
    noise = generator.standard_normal(len(row), dtype=kind)
    genomes[row, column] += noise * np.broadcast_to(deviation, genomes.shape)[row, column]


def relative_mutation(
    genomes: Genomes,
    generator: np.random.Generator,
    *,
    strength: float,
    scale: Genomes,
    groups: Sequence[Group],
    gene_probability: float = 1.0,
) -> None:
    """Add normal numbers to genes in proportion to the size of the parameter that they belong to; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        strength: standard deviation of a gene's change, in units of `parameter_size`.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        groups: name, slice and shape of every parameter.
        gene_probability: probability with which a gene is changed.
    """
    deviation = strength * parameter_size(genomes, scale, groups)
    gaussian_mutation(genomes, generator, deviation=deviation, gene_probability=gene_probability)


def parameter_size(genomes: Genomes, scale: Genomes, groups: Sequence[Group]) -> Genomes:
    """`(N, D)` root mean square of the parameter that each gene belongs to, in each individual by itself.

    At least a tenth of `scale`, so that what is zero can move, and at most a thousand times it: steps in proportion to
    what they add up to make a size that nothing selects for grow exponentially. A gene in no group has its `scale`.

    Args:
        genomes: `(N, D)`.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        groups: name, slice and shape of every parameter.
    """
    sizes = np.tile(scale, (len(genomes), 1))
    for group in groups:
        mean_square = np.square(genomes[:, group.slice], dtype=np.float64).mean(axis=1, keepdims=True)
        sizes[:, group.slice] = np.sqrt(mean_square)
    return sizes.clip(SMALLEST * scale, LARGEST * scale)


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


def _coins(generator: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fair coins: one random bit each."""
    count = shape[0] * shape[1]
    bits = np.unpackbits(np.frombuffer(generator.bytes(-(-count // 8)), dtype=np.uint8), count=count)
    return bits.view(np.bool_).reshape(shape)


def _swap(first: Genomes, second: Genomes, mask: NDArray[np.bool_]) -> None:
    """Exchange the masked entries, in place; `first` and `second` must not overlap."""
    first[...], second[...] = np.where(mask, second, first), np.where(mask, first, second)
