"""DEAP's toolbox of a run: what its own algorithms call, individual by individual, and the same on whole arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from deap import base
from torch import Tensor

from gfopt.errors import SlowPathWarning, located
from gfopt.optimizers._deap import Individual, Rows, select_rows, selector, shared_strength
from gfopt.optimizers._deap_operators import ArrayCrossover, ArrayMutation, Genomes, array_crossover, array_mutation
from gfopt.optimizers._genetic_options import DeapOptions, SurvivalKind
from gfopt.optimizers._named_tools import Tool
from gfopt.optimizers.neutral import project
from gfopt.rng import GlobalStreams
from gfopt.types import Group

Pair = tuple[Individual, Individual]


class Kit:
    """Selection, crossover and mutation of a run.

    Args:
        selection: how individuals are selected.
        options: crossover, mutation and their parameters.
        generator: the run's random numbers; operators on whole arrays draw from it.
        like: `(P, D)` of the genomes' kind.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        bounds: `(D,)` lowest and highest values, or `None`.
        groups: name, slice and shape of every parameter.

    Attributes:
        toolbox: `select`, `clone`, `mate` and `mutate` for DEAP's own algorithms.
        slow: whether crossover or mutation is one of `deap.tools` that the user named: then both go through the
            toolbox.
        streams: what DEAP's parts draw from.
        adaptive: whether mutation strengths are the individuals' own.

    Raises:
        ConfigError: if a named operator lacks an argument, or a mutation the bounds.
    """

    def __init__(
        self,
        selection: SurvivalKind | Tool,
        options: DeapOptions,
        generator: np.random.Generator,
        like: Genomes,
        *,
        scale: Tensor,
        bounds: tuple[Tensor, Tensor] | None,
        groups: Sequence[Group],
    ) -> None:
        self.options, self.generator = options, generator
        self.adaptive = options.mutation == "self-adaptive"
        self.slow = isinstance(options.crossover, Tool) or isinstance(options.mutation, Tool)
        # DEAP's own operators draw from the global `random`.
        self.streams = GlobalStreams(int(generator.integers(2**63)))
        self._like, self._scale, self._groups = like[:0], scale, groups
        self._bounds = None if bounds is None else (bounds[0].cpu().numpy(), bounds[1].cpu().numpy())
        self._given = self._fillings()
        self.toolbox = base.Toolbox()
        self.toolbox.register("clone", Individual.clone)
        with located("selection"):
            self.toolbox.register("select", selector(selection, options, generator))
        with located("crossover"):
            self.toolbox.register("mate", self._make_crossover())
        with located("mutation"):
            self.toolbox.register("mutate", self._make_mutation())

    mate: ArrayCrossover  # of whole arrays, unless `slow`
    mutate: ArrayMutation

    def select(self, loss: Genomes, count: int) -> Rows:
        """`(count,)` rows that are selected by the losses `(P,)`."""
        with self.streams.active():
            return select_rows(self.toolbox.select, loss, count, self._like.shape[1])

    @property
    def admits_all(self) -> bool:
        """Whether `admissible` changes nothing."""
        return self._bounds is None and not self.options.project_neutral

    def admissible(self, genomes: Genomes) -> Genomes:
        """`(N, D)` with neutral rows at their length, if that is asked for, and inside the problem's bounds."""
        if self.options.project_neutral:
            genomes = project(torch.from_numpy(genomes), self._groups, self._scale).numpy()
        return genomes if self._bounds is None else np.clip(genomes, *self._bounds)

    def _fillings(self) -> dict[str, Any]:
        """Arguments of named operators that the options say in other words, in the genes' own units."""
        options, scale = self.options, self._scale.cpu().numpy().astype(np.float64)
        given = {
            "alpha": options.blend_alpha,
            "mu": 0.0,
            "sigma": (options.mutation_strength * scale).tolist(),
            "indpb": options.gene_probability,
        }
        if self._bounds is not None:
            given |= {"low": self._bounds[0].tolist(), "up": self._bounds[1].tolist()}
        return given

    def _make_crossover(self) -> Callable[[Individual, Individual], Pair]:
        options, dim = self.options, self._like.shape[1]
        if isinstance(options.crossover, Tool):
            cross = options.crossover.call(self._given | {"eta": options.sbx_eta})
        else:
            self.mate = array_crossover(options.crossover, options, self._groups, dim)
            cross = self._cross_as_arrays

        def mate(one: Individual, other: Individual) -> Pair:
            first, second = cross(one, other)
            first.strength = second.strength = shared_strength(one.strength, other.strength)
            return first, second

        return mate

    def _make_mutation(self) -> Callable[[Individual], tuple[Individual]]:
        options = self.options
        if isinstance(options.mutation, Tool):
            return options.mutation.call(self._given | {"eta": options.polynomial_eta})
        scale = self._scale.cpu().numpy().astype(self._like.dtype)
        self.mutate = array_mutation(options.mutation, options, scale, self._bounds, self._groups)
        return self._mutate_as_array

    def _cross_as_arrays(self, one: Individual, other: Individual) -> Pair:
        rows = [np.array([genes], dtype=self._like.dtype) for genes in (one, other)]
        self.mate(*rows, self.generator, rows=None)
        one[:], other[:] = (row[0].tolist() for row in rows)
        return one, other

    def _mutate_as_array(self, one: Individual) -> tuple[Individual]:
        row, strength = np.array([one], dtype=self._like.dtype), np.array([one.strength])
        self.mutate(row, strength, self.generator, None)
        one[:], one.strength = row[0].tolist(), float(strength[0])
        return (one,)


def warn_if_slow(options: DeapOptions) -> None:
    """Say, if so, that crossover or mutation is one of `deap.tools`.

    Selection is not: it sees no genes.
    """
    slow = [tool.tool for tool in (options.crossover, options.mutation) if isinstance(tool, Tool)]
    if slow:
        text = (
            f"deap.tools.{' and deap.tools.'.join(slow)}: works gene by gene in Python, for every individual of every "
            "generation. The kinds that have a name of their own here work on the whole population at once."
        )
        warnings.warn(text, SlowPathWarning, stacklevel=2)
