"""Genetic algorithm on one `(P, D)` tensor that stays on the device of the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfopt.draws import Draws
from gfopt.optimizers import _breeding as breeding
from gfopt.optimizers import _passes as passes
from gfopt.optimizers._genetic_options import SPACE, GenerationOptions, NativeCrossover, NativeMutation, NativeSelection
from gfopt.optimizers.base import Optimizer, Options
from gfopt.types import Evaluation


class GeneticAlgorithmOptions(GenerationOptions):
    """Options of `ga`; they mean what those of `deap-ga` mean.

    Attributes:
        selection: how parents are chosen: `tournament`, the best of `tournament_size` random ones; `roulette`, with a
            probability proportional to the number of individuals that are no better; `sus`, the same wheel, turned once
            for all parents; `rank`, with a probability that falls linearly with the rank; `truncation`, at random among
            the best `truncation_share`.
        crossover: what a pair of parents exchanges: `uniform`, each gene with probability 1/2; `one-point` and
            `two-point`, a segment; `neuron`, all incoming weights of a neuron together, with probability 1/2; `blend`,
            genes on the line through the parents'; `arithmetic`, all genes at one and the same place between the
            parents'; `sbx`, genes around the parents' as one-point crossover of binary numbers spreads them.
        mutation: `gaussian`, a normal number is added; `deap-ga` has other kinds.

    The defaults are those of `deap-ga`, for the same reasons.
    """

    selection: NativeSelection = "tournament"
    crossover: NativeCrossover = "uniform"
    mutation: NativeMutation = "gaussian"


class GeneticAlgorithm(Optimizer):
    """Generational genetic algorithm with elitism.

    A generation is: the elites, and offspring of selected parents, crossed in pairs and mutated. Only individuals
    whose genes are new are evaluated; on a new batch all are, since losses of two batches do not compare.

    The next generation is written beside the present one, chunk by chunk of rows, so that what a chunk needs on the
    way stays in the caches.

    References: Holland 1975; Eiben and Smith 2015, "Introduction to Evolutionary Computing", chapters 3 to 5.
    """

    options_class = GeneticAlgorithmOptions
    space = SPACE
    options: GeneticAlgorithmOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of individuals."""
        assert isinstance(options, GeneticAlgorithmOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        self._genomes = start.contiguous()
        self._next = torch.empty_like(self._genomes)
        self._loss = start.new_full((len(start),), torch.inf)
        self._pending = torch.ones(len(start), dtype=torch.bool, device=start.device)
        self._batch: int | None = None
        self._draws = Draws(int(self.generator.integers(2**63)), start.device)
        self._cross = breeding.Crossover(self.options, self.groups, self._genomes, self._draws)
        self._mutate = breeding.Mutation(self.options, self.groups, self.scale.to(start), self._draws)
        self._deviation = self.options.mutation_strength * self.scale.to(start)
        # Whether crossing and mutating can be one compiled pass: genes that change sides, noise of a given deviation.
        plain = self.options.mutation_scale == "initial" and self.options.gene_probability >= 1
        exchange = self.options.crossover not in breeding.ALONG_THE_LINE
        self._one_pass = plain and exchange and start.is_cpu

    def ask(self, batch: int) -> Tensor:
        """Individuals without a loss on `batch`; the next generation if all have one."""
        if not self._pending.any():
            self._breed()
        if batch != self._batch:
            self._batch = batch
            self._pending.fill_(True)
        return self._genomes.index_select(0, self._pending.nonzero().squeeze(1))

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the individuals last asked for."""
        del population
        self._loss[self._pending] = evaluation.loss.detach().to(self._loss)
        self._pending.fill_(False)

    def _breed(self) -> None:
        """Put the next generation in place of this one; what is copied unchanged keeps its loss."""
        options, old, new = self.options, self._genomes, self._next
        count, dim = old.shape
        parents = breeding.select(self._loss, count - options.elites, options, self._draws)
        elites = torch.argsort(self._loss, stable=True)[: options.elites]
        rows = torch.cat([elites, parents])
        crossed = breeding.chosen(len(parents) // 2, options.crossover_probability, old, self._draws)
        mutated = breeding.chosen(len(parents), options.mutation_probability, old, self._draws)
        new[: options.elites] = old.index_select(0, elites)
        step = breeding.chunk_of_pairs(count, dim, old.device)
        for begin in range(options.elites, count, step):
            part = slice(begin, min(begin + step, count))
            family = slice(part.start - options.elites, part.stop - options.elites)
            pairs = slice(family.start // 2, family.stop // 2)
            offspring = new[part]
            self._reproduce(parents[family], _part(crossed, pairs), _part(mutated, family), offspring)
            if self.bounds is not None:
                offspring.clamp_(*self.bounds)
            self._pending[part] = breeding.differ(offspring, old, parents[family])
        self._genomes, self._next, self._loss = new, old, self._loss[rows]

    def _reproduce(self, parents: Tensor, crossed: Tensor | None, mutated: Tensor | None, offspring: Tensor) -> None:
        """Write the `(N, D)` children of `(N,)` parents: those pairs crossed and those rows mutated that are to be."""
        if mutated is None and self._one_pass and len(parents) % 2 == 0:
            noise = self._draws.normal_(torch.empty_like(offspring))
            mask = self._cross.mask(len(parents) // 2, crossed).contiguous()
            passes.cross_and_mutate(self._genomes, parents, mask, noise, self._deviation, offspring)
        else:
            self._cross(self._genomes, parents, crossed, offspring)
            self._mutate(offspring, mutated)

    def state_dict(self) -> dict[str, Any]:
        """The individuals with their losses, and the place in the random numbers."""
        tensors = {name: getattr(self, f"_{name}").cpu().numpy().copy() for name in ("genomes", "loss", "pending")}
        return {**tensors, "batch": self._batch, "draws": self._draws.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._genomes = torch.from_numpy(np.array(state["genomes"])).to(self._genomes)
        self._loss = torch.from_numpy(np.array(state["loss"])).to(self._loss)
        self._pending = torch.from_numpy(np.array(state["pending"])).to(self._pending)
        self._batch = state["batch"]
        self._draws.load_state_dict(state["draws"])


def _part(choice: Tensor | None, part: slice) -> Tensor | None:
    return None if choice is None else choice[part]
