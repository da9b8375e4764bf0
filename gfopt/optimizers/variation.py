"""Crossover and mutation on whole `(N, D)` arrays, where DEAP's own operators loop gene by gene.

Each operator is the one of the same name in `deap.tools`, applied to many individuals at once: the random
numbers come from a numpy generator and the children are written in place. The arrays are worked through in blocks
that stay in the processor's cache; how they are cut changes no number. An operator's `rows` are the places of the
individuals that it is for, in order; `None` is all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfopt.optimizers import _blocks as blocks
from gfopt.optimizers import _parameters as parameters
from gfopt.optimizers._blocks import Genomes, Rows
from gfopt.types import Group

# What gives a number for each gene of a block, `(N, G)` or `(G,)`: by its members, counted among `rows`, and its genes.
Table: TypeAlias = Callable[[slice, slice], Genomes]
Pick: TypeAlias = Callable[[Table], Genomes]
Change: TypeAlias = Callable[[Genomes, Pick], None]
Mask: TypeAlias = Callable[[slice, slice], NDArray[np.bool_]]


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
        neurons: `(D,)` index of the neuron to which each gene belongs, see `_parameters.neurons_of`.
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
    add_noise(genomes, generator, gene_probability, rows, lambda members, genes: deviation[genes])


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
        strength: standard deviation of a gene's change, in units of the parameter's size, see
            `_parameters.parameter_size`.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        groups: name, slice and shape of every parameter.
        gene_probability: probability with which a gene is changed.
        rows: of the individuals that are mutated.
    """
    size = size_table(genomes, scale, groups, rows)
    add_noise(genomes, generator, gene_probability, rows, lambda members, genes: strength * size(members, genes))


def size_table(genomes: Genomes, scale: Genomes, groups: Sequence[Group], rows: Rows | None = None) -> Table:
    """`parameter_size` of the individuals `rows` as they are now, block by block.

    Args:
        genomes: `(N, D)`.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        groups: name, slice and shape of every parameter.
        rows: of the individuals that are to be changed.
    """
    count, dim = blocks.shape(genomes, rows)
    # Before anything changes: a long genome is mutated in several blocks.
    sizes = np.empty((count, len(groups) + 1), dtype=genomes.dtype)
    for members in blocks.runs(count, dim):
        sizes[members] = parameters.group_sizes(genomes[blocks.place(rows, members, slice(0, dim))], groups)
    owners = parameters.owners(groups, dim)
    return lambda members, genes: parameters.limited(sizes[members], owners[genes], scale[genes])


def add_noise(
    genomes: Genomes, generator: np.random.Generator, probability: float, rows: Rows | None, deviation: Table
) -> None:
    """Add normal numbers to genes, each with the given probability; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        probability: that a gene is changed.
        rows: of the individuals that are changed.
        deviation: the standard deviations.
    """
    kind = genomes.dtype.type

    def add(genes: Genomes, pick: Pick) -> None:
        noise = generator.standard_normal(genes.shape, dtype=kind)
        noise *= pick(deviation)
        genes += noise

    alter(genomes, generator, probability, rows, add)


def alter(
    genomes: Genomes, generator: np.random.Generator, probability: float, rows: Rows | None, change: Change
) -> None:
    """Change genes, each with the given probability; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        probability: that a gene is changed.
        rows: of the individuals that are changed.
        change: changes an array of genes in place; it is also given what picks, from a table of a whole block, the
            entries of these genes. To be the same however the arrays are cut, it draws a number for each gene.
    """
    pieces = list(blocks.cut(*blocks.shape(genomes, rows)))
    if probability >= 1:
        for members, genes in pieces:
            at = blocks.place(rows, members, genes)
            changed = genomes[at]
            change(changed, partial(_whole, members, genes))
            blocks.put(genomes, at, changed)
        return
    hits = []
    for members, genes in pieces:
        shape = members.stop - members.start, genes.stop - genes.start
        hits.append(np.divmod(np.flatnonzero(generator.random(shape, dtype=np.float32) < probability), shape[1]))
    for (members, genes), (row, column) in zip(pieces, hits, strict=True):
        place = row + members.start if rows is None else rows[members][row], column + genes.start
        changed = genomes[place]
        change(changed, partial(_at, members, genes, row, column))
        genomes[place] = changed


def _whole(members: slice, genes: slice, table: Table) -> Genomes:
    return table(members, genes)


def _at(members: slice, genes: slice, row: Rows, column: Rows, table: Table) -> Genomes:
    shape = members.stop - members.start, genes.stop - genes.start
    return np.broadcast_to(table(members, genes), shape)[row, column]


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
