"""A genetic algorithm made of DEAP's parts: its toolbox, fitness and selection, on one `(P, D)` array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from deap import algorithms
from numpy.typing import NDArray
from torch import Tensor

from gfopt.optimizers._deap import Rows, best_rows, individuals, stacked
from gfopt.optimizers._deap_toolbox import Kit, warn_if_slow
from gfopt.optimizers._genetic_options import SPACE, DeapOptions, GenerationOptions, Selection
from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.types import Evaluation


class GeneticAlgorithmOptions(GenerationOptions, DeapOptions):
    """Options of `deap-ga`.

    Attributes:
        selection: how parents are chosen: `tournament`, the best of `tournament_size` random ones;
            `roulette`, with a probability proportional to the number of individuals that are no better
            (losses themselves cannot be shares of a wheel); `sus`, the same wheel, turned once for all parents,
            so that each gets the offspring that it can expect, up to rounding; `rank`, with a probability that falls
            linearly with the rank; `truncation`, at random among the best `truncation_share`. Or any selection of
            `deap.tools` with its arguments, as `{tool: selDoubleTournament, fitness_size: 5, parsimony_size: 1.2,
            fitness_first: true}`.

    The defaults are for weights of a network: many genes of small effect each, which want every offspring
    crossed and mutated, and a strong selection.
    """

    selection: Selection = "tournament"


class GeneticAlgorithm(Optimizer):
    """Generational genetic algorithm with elitism.

    A generation is: the elites, and offspring of selected parents, crossed in pairs and mutated. Only
    individuals whose genes are new are evaluated; on a new batch all are, since losses of two batches do not
    compare.

    Without elites and with operators of `deap.tools`, it is DEAP's `algorithms.eaSimple` with the same operators and
    random numbers, evaluation by evaluation, but that it asks for no row twice.

    References: Holland 1975; Eiben and Smith 2015, "Introduction to Evolutionary Computing", chapters 3 to 5;
        DEAP: Fortin et al. 2012, JMLR 13.
    """

    options_class = GeneticAlgorithmOptions
    device = "cpu"
    space = SPACE
    options: GeneticAlgorithmOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of individuals."""
        assert isinstance(options, GeneticAlgorithmOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        self._like = start.new_empty((0, start.shape[1]))
        self._genomes: NDArray[Any] = start.cpu().numpy()
        self._kit = Kit(
            self.options.selection,
            self.options,
            self.generator,
            self._genomes,
            scale=self.scale,
            bounds=self.bounds,
            groups=self.groups,
        )
        # Elites are compared and crossed with projected offspring: they have to be projected from the start on.
        if self.options.project_neutral:
            self._genomes = self._kit.admissible(self._genomes)
        self._next = np.empty_like(self._genomes)  # two arrays take turns: fresh memory would cost more than a copy
        self._loss = np.full(len(self._genomes), np.inf)
        self._strength = np.full(len(self._genomes), self.options.mutation_strength)
        self._pending = np.ones(len(self._genomes), dtype=np.bool_)
        self._batch: int | None = None
        self._announce()

    def _announce(self) -> None:
        warn_if_slow(self.options)

    def ask(self, batch: int) -> Tensor:
        """Individuals without a loss on `batch`; the next generation if all have one."""
        if not self.waiting:
            self.breed()
        return self.unknown(batch)

    @property
    def waiting(self) -> bool:
        """Whether individuals of this generation have no loss yet."""
        return bool(self._pending.any())

    def unknown(self, batch: int) -> Tensor:
        """`(Q, D)` individuals of this generation without a loss on `batch`."""
        if batch != self._batch:
            self._batch = batch
            self._pending[:] = True
        asked = np.flatnonzero(self._pending)
        staged = staging(len(asked), self._like)
        _copy_rows(self._genomes, asked, staged.numpy())
        return deliver(staged, self._like)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the individuals last asked for."""
        del population
        self._loss[self._pending] = evaluation.loss.detach().cpu().numpy()
        self._pending[:] = False

    def breed(self) -> None:
        """Put the next generation in place of this one; what is copied unchanged keeps its loss."""
        elites = best_rows(self._loss, self.options.elites)
        parents = self._kit.select(self._loss, len(self._loss) - len(elites))
        rows = np.concatenate([elites, parents])
        old, genomes, strength = self._genomes, self._next, self._strength[rows]
        _copy_rows(old, rows, genomes)
        family = slice(len(elites), None)
        touched = np.zeros(len(rows), dtype=np.bool_)
        vary = self._vary_in_turn if self._kit.slow else self._vary
        touched[family] = vary(genomes[family], strength[family], self._loss[parents])
        if not self._kit.admits_all:
            genomes[family] = self._kit.admissible(genomes[family])
            touched[family] = True
        for row in np.flatnonzero(touched):
            touched[row] = _differ(genomes[row], old[rows[row]])
        self._pending = touched
        self._genomes, self._next, self._loss, self._strength = genomes, old, self._loss[rows], strength

    def _vary(self, offspring: NDArray[Any], strength: NDArray[Any], loss: NDArray[Any]) -> NDArray[np.bool_]:
        """Cross and mutate `(N, D)` copies of parents in place, and their `(N,)` strengths; which ones."""
        del loss
        crossed = self._cross(offspring, strength)
        return crossed | self._mutate(offspring, strength)

    def _vary_in_turn(self, offspring: NDArray[Any], strength: NDArray[Any], loss: NDArray[Any]) -> NDArray[np.bool_]:
        """The same by DEAP's own `varAnd`, individual by individual."""
        options = self.options
        with self._kit.streams.active():
            varied = algorithms.varAnd(
                individuals(offspring, loss, strength),
                self._kit.toolbox,
                options.crossover_probability,
                options.mutation_probability,
            )
        offspring[...] = stacked(varied, offspring)
        strength[...] = [individual.strength for individual in varied]
        return np.array([not individual.fitness.valid for individual in varied], dtype=np.bool_)

    def _cross(self, offspring: NDArray[Any], strength: NDArray[Any]) -> NDArray[np.bool_]:
        """Cross neighbouring rows in pairs, in place; an odd last row has no partner. Which rows were crossed."""
        even = len(offspring) // 2 * 2
        first, second = slice(0, even, 2), slice(1, even, 2)
        chosen = self.generator.random(even // 2) < self.options.crossover_probability
        rows = None if chosen.all() else np.flatnonzero(chosen)
        self._kit.mate(offspring[first], offspring[second], self.generator, rows=rows)
        shared = np.sqrt(strength[first] * strength[second])[chosen]
        for parent in (first, second):  # of views: the strengths themselves change
            strength[parent][chosen] = shared
        crossed = np.zeros(len(offspring), dtype=np.bool_)
        crossed[:even] = np.repeat(chosen, 2)
        return crossed

    def _mutate(self, offspring: NDArray[Any], strength: NDArray[Any]) -> NDArray[np.bool_]:
        """Mutate, in place; which rows were mutated."""
        if self.options.mutation_probability >= 1:
            self._kit.mutate(offspring, strength, self.generator, None)
            return np.ones(len(offspring), dtype=np.bool_)
        chosen: NDArray[np.bool_] = self.generator.random(len(offspring)) < self.options.mutation_probability
        self._kit.mutate(offspring, strength, self.generator, np.flatnonzero(chosen))
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """The individuals with their losses and mutation strengths, and both streams of random numbers."""
        return {
            "genomes": self._genomes.copy(),
            "loss": self._loss.copy(),
            "strength": self._strength.copy(),
            "pending": self._pending.copy(),
            "batch": self._batch,
            "generator": self.generator.bit_generator.state,
            "streams": self._kit.streams.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._genomes = np.array(state["genomes"])
        self._next = np.empty_like(self._genomes)
        self._loss = np.array(state["loss"])
        self._strength = np.array(state["strength"])
        self._pending = np.array(state["pending"])
        self._batch = state["batch"]
        self.generator.bit_generator.state = state["generator"]
        self._kit.streams.load_state_dict(state["streams"])


def _copy_rows(genomes: NDArray[Any], rows: Rows, out: NDArray[Any]) -> None:
    """Copy `genomes[rows]` to `out`; numpy would first make an array of its own, were it to check the indices."""
    np.take(genomes, rows, axis=0, out=out, mode="clip")


def _differ(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two `(D,)` genomes differ; most do among their first genes."""
    few = 64
    return not (np.array_equal(one[:few], other[:few]) and np.array_equal(one[few:], other[few:]))
