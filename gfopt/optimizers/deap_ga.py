"""A genetic algorithm made of DEAP's parts: its toolbox, fitness and selection, on one `(P, D)` array."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from deap import base, tools
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import expectation
from gfopt.optimizers import variation
from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.neutral import project
from gfopt.rng import GlobalStreams
from gfopt.types import Evaluation


class GeneticAlgorithmOptions(Options):
    """Options of `deap-ga`.

    Attributes:
        population: number of individuals.
        elites: the best individuals, which survive unchanged.
        selection: how parents are chosen: `tournament`, the best of `tournament_size` random ones;
            `roulette`, with a probability proportional to the number of individuals that are no better
            (losses themselves cannot be shares of a wheel); `truncation`, at random among the best
            `truncation_share`.
        tournament_size: individuals in a tournament; 1 is no selection at all.
        truncation_share: share of the population that `truncation` chooses from.
        crossover: what a pair of parents exchanges: `uniform`, each gene with probability 1/2; `one-point`
            and `two-point`, a segment; `neuron`, all incoming weights of a neuron together, with probability
            1/2; `blend`, genes on the line through the parents'.
        crossover_probability: probability that a pair is crossed.
        blend_alpha: how far `blend` reaches outside the parents, in units of their distance.
        mutation_probability: probability that an individual is mutated.
        gene_probability: probability that a gene of a mutated individual is changed.
        mutation_strength: standard deviation of the normal number added to a gene, in units of
            `mutation_scale`.
        mutation_scale: `initial`, the gene's scale: its standard deviation under the network's own
            initialization; `relative`, the root mean square of the parameter that it belongs to (a layer's
            weights, its shifts), as the individual has it before the mutation, but between a tenth and a
            thousand times the initial scale.
        project_neutral: give the rows of weights in front of a normalization, whose length changes no output,
            the length of the initialization: the start's, and every offspring's. Without it they grow, and the
            same mutation turns them less and less; with it, choose a smaller `mutation_strength`, which nothing
            anneals (see `gfopt.optimizers.neutral`). The problem's bounds prevail.

    The defaults are for weights of a network: many genes of small effect each, which want every offspring
    crossed and mutated, and a strong selection.
    """

    population: int = Field(64, ge=2)
    elites: int = Field(2, ge=0)
    selection: Literal["tournament", "roulette", "truncation"] = "tournament"
    tournament_size: int = Field(5, ge=1)
    truncation_share: float = Field(0.2, gt=0, le=1)
    crossover: Literal["uniform", "one-point", "two-point", "neuron", "blend"] = "uniform"
    crossover_probability: float = Field(1.0, ge=0, le=1)
    blend_alpha: float = Field(0.5, ge=0)
    mutation_probability: float = Field(1.0, ge=0, le=1)
    gene_probability: float = Field(1.0, gt=0, le=1)
    mutation_strength: float = Field(0.2, gt=0)
    mutation_scale: Literal["initial", "relative"] = "initial"
    project_neutral: bool = False

    @model_validator(mode="after")
    def _some_offspring(self) -> GeneticAlgorithmOptions:
        if self.elites >= self.population:
            limit = f"less than the population of {self.population}"
            raise ValueError("elites: " + expectation(limit, self.elites))
        return self


# mypy sees no types in DEAP, hence the ignored subclassing of Any.
class _Loss(base.Fitness):  # type: ignore[misc]
    """A loss; DEAP maximizes `weight * value`."""

    weights = (-1.0,)


class _Share(base.Fitness):  # type: ignore[misc]
    """A share of the roulette wheel."""

    weights = (1.0,)


class _Candidate:
    """What selection sees of an individual: its row and its fitness, never its genes."""

    __slots__ = ("fitness", "row")

    def __init__(self, row: int, fitness: base.Fitness) -> None:
        self.row = row
        self.fitness = fitness


class GeneticAlgorithm(Optimizer):
    """Generational genetic algorithm with elitism.

    A generation is: the elites, and offspring of selected parents, crossed in pairs and mutated. Only
    individuals whose genes are new are evaluated; on a new batch all are, since losses of two batches do not
    compare.

    References: Holland 1975; Eiben and Smith 2015, "Introduction to Evolutionary Computing", chapters 3 to 5;
        DEAP: Fortin et al. 2012, JMLR 13.
    """

    options_class = GeneticAlgorithmOptions
    options: GeneticAlgorithmOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of individuals."""
        assert isinstance(options, GeneticAlgorithmOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        self._like = start.new_empty((0, start.shape[1]))
        self._box = None if self.bounds is None else tuple(bound.cpu().numpy() for bound in self.bounds)
        # Elites are compared and crossed with projected offspring: they have to be projected from the start on.
        self._genomes: NDArray[Any] = start.cpu().numpy()
        if self.options.project_neutral:
            self._genomes = self._admissible(self._project(self._genomes))
        self._next = np.empty_like(self._genomes)  # two arrays take turns: fresh memory would cost more than a copy
        self._loss = np.full(len(self._genomes), np.inf)
        self._pending = np.ones(len(self._genomes), dtype=np.bool_)
        self._batch: int | None = None
        # DEAP's selection draws from the global `random`.
        self._streams = GlobalStreams(int(self.generator.integers(2**63)))
        self._toolbox = self._make_toolbox()

    def _make_toolbox(self) -> Any:
        options, toolbox = self.options, base.Toolbox()
        select = {
            "tournament": partial(tools.selTournament, tournsize=options.tournament_size),
            "roulette": tools.selRoulette,
            "truncation": partial(_truncation, share=options.truncation_share),
        }
        mate = {
            "uniform": variation.uniform_crossover,
            "one-point": variation.one_point_crossover,
            "two-point": variation.two_point_crossover,
            "neuron": partial(
                variation.neuron_crossover, neurons=variation.neurons_of(self.groups, self._genomes.shape[1])
            ),
            "blend": partial(variation.blend_crossover, alpha=options.blend_alpha),
        }
        strength, scale = options.mutation_strength, self.scale.cpu().numpy().astype(self._genomes.dtype)
        mutate = {
            "initial": partial(variation.gaussian_mutation, deviation=strength * scale),
            "relative": partial(variation.relative_mutation, strength=strength, scale=scale, groups=self.groups),
        }
        toolbox.register("select", select[options.selection])
        toolbox.register("mate", mate[options.crossover], generator=self.generator)
        toolbox.register(
            "mutate",
            mutate[options.mutation_scale],
            generator=self.generator,
            gene_probability=options.gene_probability,
        )
        return toolbox

    def ask(self, batch: int) -> Tensor:
        """Individuals without a loss on `batch`; the next generation if all have one."""
        if not self._pending.any():
            self._breed()
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

    def _breed(self) -> None:
        """Put the next generation in place of this one; what is copied unchanged keeps its loss."""
        elites, parents = self._select()
        rows = np.concatenate([elites, parents])
        old, genomes = self._genomes, self._next
        _copy_rows(old, rows, genomes)
        offspring = genomes[len(elites) :]
        touched = np.zeros(len(rows), dtype=np.bool_)
        touched[len(elites) :] = self._cross(offspring) | self._mutate(offspring)
        if self.options.project_neutral or self._box is not None:
            offspring[...] = self._admissible(self._project(offspring))
            touched[len(elites) :] = True
        self._pending = touched
        for row in np.flatnonzero(touched):
            self._pending[row] = _differ(genomes[row], old[rows[row]])
        self._genomes, self._next, self._loss = genomes, old, self._loss[rows]

    def _select(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of the elites, and of one parent for each of the other places."""
        candidates = [_Candidate(row, _Loss((loss,))) for row, loss in enumerate(self._loss.tolist())]
        elites = tools.selBest(candidates, self.options.elites)
        if self.options.selection == "roulette":
            no_better = len(self._loss) - np.searchsorted(np.sort(self._loss), self._loss)
            candidates = [_Candidate(row, _Share((share,))) for row, share in enumerate(no_better.tolist())]
        with self._streams.active():
            parents = self._toolbox.select(candidates, len(candidates) - len(elites))
        return _rows(elites), _rows(parents)

    def _cross(self, offspring: NDArray[Any]) -> NDArray[np.bool_]:
        """Cross neighbouring rows in pairs, in place; an odd last row has no partner. Which rows were crossed."""
        count = len(offspring) // 2
        first, second = offspring[: 2 * count : 2], offspring[1 : 2 * count : 2]
        chosen = self.generator.random(count) < self.options.crossover_probability
        self._toolbox.mate(first, second, rows=None if chosen.all() else np.flatnonzero(chosen))
        crossed = np.zeros(len(offspring), dtype=np.bool_)
        crossed[: 2 * count] = np.repeat(chosen, 2)
        return crossed

    def _mutate(self, offspring: NDArray[Any]) -> NDArray[np.bool_]:
        """Mutate, in place; which rows were mutated."""
        if self.options.mutation_probability >= 1:
            self._toolbox.mutate(offspring)
            return np.ones(len(offspring), dtype=np.bool_)
        chosen: NDArray[np.bool_] = self.generator.random(len(offspring)) < self.options.mutation_probability
        self._toolbox.mutate(offspring, rows=np.flatnonzero(chosen))
        return chosen

    def _project(self, genomes: NDArray[Any]) -> NDArray[Any]:
        """`(N, D)` with neutral rows at their length, if that is asked for."""
        if not self.options.project_neutral:
            return genomes
        return project(torch.from_numpy(genomes), self.groups, self.scale).numpy()

    def _admissible(self, genomes: NDArray[Any]) -> NDArray[Any]:
        """`(N, D)` inside the problem's bounds."""
        return genomes if self._box is None else np.clip(genomes, *self._box)

    def state_dict(self) -> dict[str, Any]:
        """The individuals with their losses, and both streams of random numbers."""
        return {
            "genomes": self._genomes.copy(),
            "loss": self._loss.copy(),
            "pending": self._pending.copy(),
            "batch": self._batch,
            "generator": self.generator.bit_generator.state,
            "streams": self._streams.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._genomes = np.array(state["genomes"])
        self._next = np.empty_like(self._genomes)
        self._loss = np.array(state["loss"])
        self._pending = np.array(state["pending"])
        self._batch = state["batch"]
        self.generator.bit_generator.state = state["generator"]
        self._streams.load_state_dict(state["streams"])


def _truncation(candidates: list[_Candidate], count: int, share: float) -> list[_Candidate]:
    """`count` random ones of the best `share`."""
    best = tools.selBest(candidates, max(1, round(share * len(candidates))))
    chosen: list[_Candidate] = tools.selRandom(best, count)
    return chosen


def _rows(candidates: list[_Candidate]) -> NDArray[np.intp]:
    return np.array([candidate.row for candidate in candidates], dtype=np.intp)


def _copy_rows(genomes: NDArray[Any], rows: NDArray[np.intp], out: NDArray[Any]) -> None:
    """Copy `genomes[rows]` to `out`; numpy would first make an array of its own, were it to check the indices."""
    np.take(genomes, rows, axis=0, out=out, mode="clip")


def _differ(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two `(D,)` genomes differ; most do among their first genes."""
    few = 64
    return not (np.array_equal(one[:few], other[:few]) and np.array_equal(one[few:], other[few:]))
