"""Operators for real genes: crossover along the line through two parents, mutation within a range of each gene.

They work on whole `(N, D)` arrays as those of `gfopt.optimizers.variation` do, and as it says there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gfopt.optimizers import _blocks as blocks
from gfopt.optimizers._blocks import Genomes, Rows
from gfopt.optimizers.variation import Pick, Table, add_noise, alter

SMALLEST_STRENGTH = 1e-8  # of a self-adaptive mutation: it has to be able to grow again


def arithmetic_crossover(
    first: Genomes, second: Genomes, generator: np.random.Generator, *, rows: Rows | None = None
) -> None:
    """The children are `a x + (1 - a) y` and `(1 - a) x + a y`, with one uniform `a` for all genes of a pair.

    Args:
        first: `(N, D)` one of each pair, changed in place.
        second: `(N, D)` the other one.
        generator: the random numbers.
        rows: of the pairs that are crossed.

    References: Michalewicz 1992, "Genetic Algorithms + Data Structures = Evolution Programs", section 6.2.
    """
    share = generator.random((blocks.shape(first, rows)[0], 1), dtype=first.dtype.type)
    _along_the_line(first, second, rows, lambda members, shape: share[members])


def simulated_binary_crossover(
    first: Genomes, second: Genomes, generator: np.random.Generator, *, eta: float, rows: Rows | None = None
) -> None:
    """The children lie as far apart as their parents, times `beta`, around the same middle; gene by gene (SBX).

    `beta = (2 u)^(1 / (eta + 1))` for `u <= 1/2`, else `(1 / (2 (1 - u)))^(1 / (eta + 1))`, with `u` uniform.

    Args:
        first: `(N, D)` one of each pair, changed in place.
        second: `(N, D)` the other one.
        generator: the random numbers.
        eta: the larger, the nearer to the parents.
        rows: of the pairs that are crossed.

    References: Deb and Agrawal 1995, Complex Systems 9, eq. 6 to 10.
    """

    def share(members: slice, shape: tuple[int, ...]) -> Genomes:
        uniform = generator.random(shape, dtype=first.dtype.type)
        beta = np.where(uniform <= 0.5, 2 * uniform, 0.5 / (1 - uniform))
        found: Genomes = (1 - beta ** (1 / (eta + 1))) / 2
        return found

    _along_the_line(first, second, rows, share)


@dataclass(frozen=True)
class Range:
    """Where a gene may go when it is mutated: around its own value, and within the problem's bounds.

    Attributes:
        reach: how far from its value, on both sides; `None`: as far as the bounds are.
        bounds: `(D,)` lowest and highest values; `None`: any.
    """

    reach: Table | None
    bounds: tuple[Genomes, Genomes] | None

    def around(self, genes: Genomes, pick: Pick) -> tuple[Genomes, Genomes]:
        """Lowest and highest values that these genes may get; genes that lie outside the bounds are put on them."""
        low, high = np.full_like(genes, -np.inf), np.full_like(genes, np.inf)
        if self.bounds is not None:
            lowest, highest = self.bounds
            low, high = pick(lambda _, columns: lowest[columns]), pick(lambda _, columns: highest[columns])
            np.clip(genes, low, high, out=genes)
        if self.reach is not None:
            reach = pick(self.reach)
            low, high = np.maximum(low, genes - reach), np.minimum(high, genes + reach)
        return low, high


def uniform_mutation(
    genomes: Genomes,
    generator: np.random.Generator,
    *,
    within: Range,
    gene_probability: float = 1.0,
    rows: Rows | None = None,
) -> None:
    """Draw genes anew, uniformly within their range; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        within: the genes' ranges.
        gene_probability: probability with which a gene is changed.
        rows: of the individuals that are mutated.

    References: Michalewicz 1992, section 6.2, whose range is that of the problem's bounds.
    """

    def draw(genes: Genomes, pick: Pick) -> None:
        low, high = within.around(genes, pick)
        uniform = generator.random(genes.shape, dtype=genes.dtype.type)
        np.clip(low + uniform * (high - low), low, high, out=genes)  # rounding may lead outside

    alter(genomes, generator, gene_probability, rows, draw)


def polynomial_mutation(
    genomes: Genomes,
    generator: np.random.Generator,
    *,
    eta: float,
    within: Range,
    gene_probability: float = 1.0,
    rows: Rows | None = None,
) -> None:
    """Move genes within their range, mostly by little; in place.

    With `d` the distance from the end of the range on the side that the gene moves to, in units of the range, and `u`
    uniform: by `1 - (2 (1 - u) + (2 u - 1) (1 - d)^(eta + 1))^(1 / (eta + 1))` of the range upwards if `u >= 1/2`,
    and for smaller `u` downwards in the same way.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        eta: the larger, the smaller the moves.
        within: the genes' ranges.
        gene_probability: probability with which a gene is changed.
        rows: of the individuals that are mutated.

    References: Deb and Agrawal 1999, "A niched-penalty approach for constraint handling in genetic algorithms"; as
        in the program of NSGA-II and in DEAP's `mutPolynomialBounded`.
    """
    power = eta + 1

    def move(genes: Genomes, pick: Pick) -> None:
        low, high = within.around(genes, pick)
        uniform = generator.random(genes.shape, dtype=genes.dtype.type)
        width, up = high - low, uniform >= 0.5
        narrow = np.maximum(width, np.finfo(genes.dtype).tiny)  # a gene without any room stays where it is
        distance = np.where(up, high - genes, genes - low) / narrow
        tail = np.minimum(uniform, 1 - uniform)  # u below one half, 1 - u above
        size = 1 - (2 * tail + (1 - 2 * tail) * (1 - distance) ** power) ** (1 / power)
        np.clip(genes + np.where(up, size, -size) * width, low, high, out=genes)

    alter(genomes, generator, gene_probability, rows, move)


def adapt_strengths(strengths: Genomes, generator: np.random.Generator, rate: float, rows: Rows | None = None) -> None:
    """Multiply `(N,)` mutation strengths by log-normal numbers, in place: `sigma' = sigma exp(tau N(0, 1))`.

    Args:
        strengths: of the individuals.
        generator: the random numbers.
        rate: `tau`.
        rows: of the individuals that are mutated.

    References: Schwefel 1995, "Evolution and Optimum Seeking"; Beyer and Schwefel 2002, Natural Computing 1, eq. 10.
    """
    chosen = slice(None) if rows is None else rows
    changed = strengths[chosen] * np.exp(rate * generator.standard_normal(blocks.shape(strengths[:, None], rows)[0]))
    strengths[chosen] = np.maximum(changed, SMALLEST_STRENGTH)


def self_adaptive_mutation(
    genomes: Genomes,
    generator: np.random.Generator,
    *,
    strengths: Genomes,
    rate: float,
    size: Table,
    gene_probability: float = 1.0,
    rows: Rows | None = None,
) -> None:
    """Change each individual's own strength, then add normal numbers of that strength to its genes; in place.

    Args:
        genomes: `(N, D)`.
        generator: the random numbers.
        strengths: `(N,)` of the individuals, in units of `size`; see `adapt_strengths`.
        rate: `tau` of `adapt_strengths`.
        size: of each gene.
        gene_probability: probability with which a gene is changed.
        rows: of the individuals that are mutated.
    """
    adapt_strengths(strengths, generator, rate, rows)
    own = (strengths if rows is None else strengths[rows]).astype(genomes.dtype)[:, None]
    add_noise(genomes, generator, gene_probability, rows, lambda members, genes: own[members] * size(members, genes))


def _along_the_line(
    first: Genomes,
    second: Genomes,
    rows: Rows | None,
    share: Callable[[slice, tuple[int, ...]], Genomes],
) -> None:
    """Move both of a pair towards each other by a share of their distance, in place.

    Args:
        first: `(N, D)` one of each pair.
        second: `(N, D)` the other one.
        rows: of the pairs.
        share: the share for a block of genes, by its members and its shape.
    """
    for members, genes in blocks.cut(*blocks.shape(first, rows)):
        at = blocks.place(rows, members, genes)
        one, other = first[at], second[at]
        shift = share(members, one.shape) * (other - one)
        one += shift
        other -= shift
        blocks.put(first, at, one)
        blocks.put(second, at, other)
