"""Crossover and mutation of the algorithms made of DEAP's parts, as operators on whole arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfopt.errors import ConfigError, expectation
from gfopt.optimizers import _parameters as parameters
from gfopt.optimizers import real_variation as real
from gfopt.optimizers import variation
from gfopt.optimizers._genetic_options import CrossoverKind, DeapOptions, MutationKind
from gfopt.types import Group

Genomes: TypeAlias = NDArray[Any]
Rows: TypeAlias = NDArray[np.intp]
Bounds: TypeAlias = tuple[Genomes, Genomes]
# (first, second, generator, rows): crosses the pairs `rows` of `(N, D)` and `(N, D)`, all if `None`, in place.
ArrayCrossover: TypeAlias = Callable[..., None]
# (genomes, strengths, generator, rows): mutates `rows` of `(N, D)`, and of the `(N,)` strengths if they adapt.
ArrayMutation: TypeAlias = Callable[[Genomes, Genomes, np.random.Generator, Rows | None], None]

SLOWEST_ADAPTATION = 0.1  # 1 / sqrt(D) of a network would hardly change a strength within a run


def array_crossover(kind: CrossoverKind, options: DeapOptions, groups: Sequence[Group], dim: int) -> ArrayCrossover:
    """The crossover `kind` of whole arrays.

    Args:
        kind: its name.
        options: its parameters.
        groups: name, slice and shape of every parameter.
        dim: `D`.
    """
    operators: dict[CrossoverKind, ArrayCrossover] = {
        "uniform": variation.uniform_crossover,
        "one-point": variation.one_point_crossover,
        "two-point": variation.two_point_crossover,
        "neuron": partial(variation.neuron_crossover, neurons=parameters.neurons_of(groups, dim)),
        "blend": partial(variation.blend_crossover, alpha=options.blend_alpha),
        "arithmetic": real.arithmetic_crossover,
        "sbx": partial(real.simulated_binary_crossover, eta=options.sbx_eta),
    }
    return operators[kind]


def array_mutation(
    kind: MutationKind, options: DeapOptions, scale: Genomes, bounds: Bounds | None, groups: Sequence[Group]
) -> ArrayMutation:
    """The mutation `kind` of whole arrays.

    Args:
        kind: its name.
        options: its parameters.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        bounds: `(D,)` lowest and highest values, or `None`.
        groups: name, slice and shape of every parameter.

    Raises:
        ConfigError: if genes are to go as far as the bounds and there are none.
    """
    return _Mutation(kind, options, scale, bounds, groups)


class _Mutation:
    """See `array_mutation`."""

    def __init__(
        self, kind: MutationKind, options: DeapOptions, scale: Genomes, bounds: Bounds | None, groups: Sequence[Group]
    ) -> None:
        self.options, self.scale, self.bounds, self.groups = options, scale, bounds, groups
        self.reach = options.mutation_range
        self._mutate: ArrayMutation = {
            "gaussian": self._gaussian,
            "self-adaptive": self._self_adaptive,
            "polynomial": self._polynomial,
            "uniform": self._uniform,
        }[kind]
        if kind in ("polynomial", "uniform") and self.reach is None and bounds is None:
            fix = "Give the largest move, in units of the genes' scale."
            raise ConfigError(
                "mutation_range: " + expectation("a number, as the problem has no bounds", self.reach, fix)
            )

    def __call__(
        self, genomes: Genomes, strengths: Genomes, generator: np.random.Generator, rows: Rows | None = None
    ) -> None:
        """Mutate in place."""
        self._mutate(genomes, strengths, generator, rows)

    def _gaussian(
        self, genomes: Genomes, strengths: Genomes, generator: np.random.Generator, rows: Rows | None
    ) -> None:
        del strengths
        options = self.options
        often, strength = options.gene_probability, options.mutation_strength
        if options.mutation_scale == "initial":
            deviation = strength * self.scale
            variation.gaussian_mutation(genomes, generator, deviation=deviation, gene_probability=often, rows=rows)
        else:
            variation.relative_mutation(
                genomes,
                generator,
                strength=strength,
                scale=self.scale,
                groups=self.groups,
                gene_probability=often,
                rows=rows,
            )

    def _self_adaptive(
        self, genomes: Genomes, strengths: Genomes, generator: np.random.Generator, rows: Rows | None
    ) -> None:
        rate = self.options.adaptation_rate
        real.self_adaptive_mutation(
            genomes,
            generator,
            strengths=strengths,
            rate=max(SLOWEST_ADAPTATION, genomes.shape[1] ** -0.5) if rate is None else rate,
            size=self._size(genomes, rows),
            gene_probability=self.options.gene_probability,
            rows=rows,
        )

    def _polynomial(
        self, genomes: Genomes, strengths: Genomes, generator: np.random.Generator, rows: Rows | None
    ) -> None:
        del strengths
        eta, often = self.options.polynomial_eta, self.options.gene_probability
        within = self._range(genomes, rows)
        real.polynomial_mutation(genomes, generator, eta=eta, within=within, gene_probability=often, rows=rows)

    def _uniform(self, genomes: Genomes, strengths: Genomes, generator: np.random.Generator, rows: Rows | None) -> None:
        del strengths
        within, often = self._range(genomes, rows), self.options.gene_probability
        real.uniform_mutation(genomes, generator, within=within, gene_probability=often, rows=rows)

    def _size(self, genomes: Genomes, rows: Rows | None) -> variation.Table:
        """What a strength of 1 is, of each gene."""
        if self.options.mutation_scale == "initial":
            return lambda _, genes: self.scale[genes]
        return variation.size_table(genomes, self.scale, self.groups, rows)

    def _range(self, genomes: Genomes, rows: Rows | None) -> real.Range:
        if self.reach is None:
            return real.Range(None, self.bounds)
        reach, size = self.reach, self._size(genomes, rows)
        return real.Range(lambda members, genes: reach * size(members, genes), self.bounds)
