"""Crossover and mutation on whole `(N, D)` arrays, where DEAP's own operators loop gene by gene.

Each operator is the one of the same name in `deap.tools`, applied to many individuals at once: the random
numbers come from a numpy generator and the children are written in place. The arrays are worked through in blocks
that stay in the processor's cache; how they are cut changes no number. An operator's `rows` are the places of the
individuals that it is for, in order; `None` is all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gfopt.optimizers import _blocks as blocks
from gfopt.optimizers._blocks import Genomes, Rows
from gfopt.types import Group

Deviation = Callable[[slice, slice], Genomes]
Mask = Callable[[slice, slice], NDArray[np.bool_]]

# Of a gene's scale: what `parameter_size` is at least and at most.
SMALLEST, LARGEST = 0.1, 1000.0


def uniform_crossover(
    first: Genomes, second: Genomes, generator: np.random.Generator, *, rows: Rows | None = None
) -> None:
    """Each gene of a pair changes sides with probability 1/2 (Syswerda 1989); `(N, D)` each, in place."""
    count, dim = blocks.shape(first, rows)
    coins = _coins(generator, count * dim)

    def mask(members: slice, genes: slice) -> NDArray[np.bool_]:
        start, stop = members.start * dim + genes.start, (members.stop - 1) * dim + genes.stop
        return _bits(coins, start, stop).reshape(members.stop - members.start, -1)

    _swap(first, second, rows, mask)


def one_point_crossover(
    first: Genomes, second: Genomes, generator: np.random.Generator, *, rows: Rows | None = None
) -> None:
    """All genes behind a random cut change sides; `(N, D)` each, in place."""
    count, dim = blocks.shape(first, rows)
    if dim < 2:  # there is no place for a cut
        return
    cut = generator.integers(1, dim, size=(count, 1))
    _swap(first, second, rows, lambda members, genes: _places(genes) >= cut[members])


def two_point_crossover(
    first: Genomes, second: Genomes, generator: np.random.Generator, *, rows: Rows | None = None
) -> None:
    """The genes between two random cuts change sides; `(N, D)` each, in place."""
    count, dim = blocks.shape(first, rows)
    if dim < 2:
        return
    # Two different places of `1..dim`, every pair with the same probability.
    one = generator.integers(dim, size=(count, 1))
    other = (one + generator.integers(1, dim, size=(count, 1))) % dim
    low, high = np.minimum(one, other) + 1, np.maximum(one, other) + 1

    def mask(members: slice, genes: slice) -> NDArray[np.bool_]:
        place = _places(genes)
        inside: NDArray[np.bool_] = (place >= low[members]) & (place < high[members])
        return inside

    _swap(first, second, rows, mask)


def neuron_crossover(
    first: Genomes,
    second: Genomes,
    generator: np.random.Generator,
    *,
    neurons: NDArray[np.intp],
    rows: Rows | None = None,
) -> None:
    """All incoming weights of a neuron change sides together, with probability 1/2.

    Args:
        first: `(N, D)` one of each pair, changed in place.
        second: `(N, D)` the other one.
        generator: the random numbers.
        neurons: `(D,)` index of the neuron to which each gene belongs, see `neurons_of`.
        rows: of the pairs that are crossed.

    References: Montana and Davis 1989, "Training feedforward neural networks using genetic algorithms"
        (their crossover of nodes).
    """
    count, units = blocks.shape(first, rows)[0], int(neurons.max()) + 1
    coins = _bits(_coins(generator, count * units), 0, count * units).reshape(count, units)
    _swap(first, second, rows, lambda members, genes: coins[members][:, neurons[genes]])


def blend_crossover(
    first: Genomes,
    second: Genomes,
    generator: np.random.Generator,
    *,
    alpha: float,
    rows: Rows | None = None,
) -> None:
    """Each gene of both children lies on the line through the parents', up to `alpha` of their distance
    outside.

    References: Eshelman and Schaffer 1993, BLX-alpha.
    """
    for members, genes in blocks.cut(*blocks.shape(first, rows)):
        at = blocks.place(rows, members, genes)
        one, other = first[at], second[at]
        shift = generator.random(one.shape, dtype=first.dtype.type)
        shift *= 1 + 2 * alpha
        shift -= alpha
        shift *= other - one
        one += shift
        other -= shift
        blocks.put(first, at, one)
        blocks.put(second, at, other)


def gaussian_mutation(
    genomes: Genomes,
    generator: np.random.Generator,
    *,
    deviation: Genomes,
    gene_probability: float = 1.0,
    rows: Rows | None = None,
) -> None:
    """Add normal numbers to genes, each with its own standard deviation; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        deviation: `(D,)` standard deviation of each gene's change.
        gene_probability: probability with which a gene is changed.
        rows: of the individuals that are mutated.
    """
    _add_noise(genomes, generator, gene_probability, rows, lambda members, genes: deviation[genes])


def relative_mutation(
    genomes: Genomes,
    generator: np.random.Generator,
    *,
    strength: float,
    scale: Genomes,
    groups: Sequence[Group],
    gene_probability: float = 1.0,
    rows: Rows | None = None,
) -> None:
    """Add normal numbers to genes in proportion to the size of the parameter that they belong to; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        strength: standard deviation of a gene's change, in units of `parameter_size`.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        groups: name, slice and shape of every parameter.
        gene_probability: probability with which a gene is changed.
        rows: of the individuals that are mutated.
    """
    count, dim = blocks.shape(genomes, rows)
    # Before anything changes: a long genome is mutated in several blocks.
    sizes = np.empty((count, len(groups) + 1), dtype=genomes.dtype)
    for members in blocks.runs(count, dim):
        sizes[members] = _group_sizes(genomes[blocks.place(rows, members, slice(0, dim))], groups)
    owners = _owners(groups, dim)

    def deviation(members: slice, genes: slice) -> Genomes:
        return strength * _limited(sizes[members], owners[genes], scale[genes])

    _add_noise(genomes, generator, gene_probability, rows, deviation)


def parameter_size(genomes: Genomes, scale: Genomes, groups: Sequence[Group]) -> Genomes:
    """`(N, D)` root mean square of the parameter that each gene belongs to, in each individual by itself.

    At least a tenth of `scale`, so that what is zero can move, and at most a thousand times it: steps in proportion to
    what they add up to make a size that nothing selects for grow exponentially. A gene in no group has its `scale`.

    Args:
        genomes: `(N, D)`.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        groups: name, slice and shape of every parameter.
    """
    return _limited(_group_sizes(genomes, groups), _owners(groups, genomes.shape[1]), scale)


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


def _group_sizes(genomes: Genomes, groups: Sequence[Group]) -> Genomes:
    """`(N, groups + 1)` root mean square of each parameter in each individual; the last column is unused."""
    sizes = np.zeros((len(genomes), len(groups) + 1), dtype=genomes.dtype)
    for number, group in enumerate(groups):
        sizes[:, number] = np.sqrt(np.square(genomes[:, group.slice], dtype=np.float64).mean(axis=1))
    return sizes


def _owners(groups: Sequence[Group], dim: int) -> NDArray[np.intp]:
    """`(D,)` number of the group that each gene is in; that of no group is `len(groups)`."""
    owners = np.full(dim, len(groups), dtype=np.intp)
    for number, group in enumerate(groups):
        owners[group.slice] = number
    return owners


def _limited(sizes: Genomes, owners: NDArray[np.intp], scale: Genomes) -> Genomes:
    """`(N, G)` size of each gene's group, within the limits; the gene's `scale` where it has no group."""
    found = sizes[:, owners]
    np.copyto(found, scale, where=owners == sizes.shape[1] - 1)
    return found.clip(SMALLEST * scale, LARGEST * scale)


def _add_noise(
    genomes: Genomes, generator: np.random.Generator, probability: float, rows: Rows | None, deviation: Deviation
) -> None:
    """Add normal numbers to genes, each with the given probability; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        probability: that a gene is changed.
        rows: of the individuals that are changed.
        deviation: what gives the standard deviations of a block of genes, by its members, counted among `rows`,
            and its genes.
    """
    kind, pieces = genomes.dtype.type, list(blocks.cut(*blocks.shape(genomes, rows)))
    if probability >= 1:
        for members, genes in pieces:
            at = blocks.place(rows, members, genes)
            changed = genomes[at]
            noise = generator.standard_normal(changed.shape, dtype=kind)
            noise *= deviation(members, genes)
            changed += noise
            blocks.put(genomes, at, changed)
        return
    hits = []
    for members, genes in pieces:
        shape = members.stop - members.start, genes.stop - genes.start
        hits.append(np.divmod(np.flatnonzero(generator.random(shape, dtype=np.float32) < probability), shape[1]))
    for (members, genes), (row, column) in zip(pieces, hits, strict=True):
        noise = generator.standard_normal(len(row), dtype=kind)
        noise *= np.broadcast_to(deviation(members, genes), (members.stop - members.start, genes.stop - genes.start))[
            row, column
        ]
        member = row + members.start if rows is None else rows[members][row]
        genomes[member, column + genes.start] += noise


def _coins(generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """`count` fair coins, eight in a byte."""
    return np.frombuffer(generator.bytes(-(-count // 8)), dtype=np.uint8)


def _bits(coins: NDArray[np.uint8], start: int, stop: int) -> NDArray[np.bool_]:
    """The coins `start` to `stop`, one in a byte."""
    first = start // 8
    bits = np.unpackbits(coins[first : -(-stop // 8)], count=stop - 8 * first)
    return bits[start - 8 * first :].view(np.bool_)


def _swap(first: Genomes, second: Genomes, rows: Rows | None, mask: Mask) -> None:
    """Exchange the masked entries of the pairs `rows`, in place; `first` and `second` must not overlap."""
    kind = np.dtype(f"i{first.itemsize}")
    for members, genes in blocks.cut(*blocks.shape(first, rows)):
        at = blocks.place(rows, members, genes)
        one, other = first[at], second[at]
        # As bits, without a branch for each gene: what differs, where it is to change sides.
        change = np.negative(mask(members, genes).view(np.int8), dtype=kind)
        change &= one.view(kind) ^ other.view(kind)
        for changed, whole in ((one, first), (other, second)):
            bits = changed.view(kind)
            bits ^= change
            blocks.put(whole, at, changed)


def _places(genes: slice) -> NDArray[np.intp]:
    return np.arange(genes.start, genes.stop)
