"""DEAP's (mu + lambda) and (mu, lambda) algorithms: parents, offspring by crossover or mutation, and who survives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from deap import algorithms
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import expectation
from gfopt.optimizers._deap import first_equals, individuals, stacked
from gfopt.optimizers._deap_toolbox import Kit, warn_if_slow
from gfopt.optimizers._genetic_options import DeapOptions, Mutation, Survival
from gfopt.optimizers._transfer import deliver
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Choice, Integer, Real, Space
from gfopt.types import Evaluation

Genomes = NDArray[Any]


class MuPlusLambdaOptions(DeapOptions):
    """Options of `deap-mu-plus-lambda`.

    Attributes:
        population: number of parents (`mu`).
        offspring: number of offspring of a generation (`lambda`); `None` is as many as there are parents.
        selection: who survives: the `best`, or one of the ways in which `deap-ga` chooses parents.
        crossover_probability: probability that an offspring is the first child of two random parents.
        mutation_probability: probability that it is a mutated copy of a random parent instead. What is missing from 1
            is the probability of a plain copy, which is not evaluated again.

    The operators' defaults are those of `deap-ga`, but that mutation is self-adaptive, as in evolution strategies: with
    a strength that stays as it is, the best get no nearer to an optimum than its size. Parents are chosen at random:
    what selects is who survives.
    """

    population: int = Field(8, ge=2)
    offspring: int | None = Field(None, ge=1)
    selection: Survival = "best"
    mutation: Mutation = "self-adaptive"
    crossover_probability: float = Field(0.5, ge=0, le=1)
    mutation_probability: float = Field(0.5, ge=0, le=1)

    @property
    def brood(self) -> int:
        """Number of offspring of a generation."""
        return self.population if self.offspring is None else self.offspring

    @model_validator(mode="after")
    def _probabilities(self) -> MuPlusLambdaOptions:
        left = 1 - self.crossover_probability
        # As DEAP adds them up, but not fussy about rounding.
        if self.mutation_probability > left + 1e-9:
            limit = (
                f"at most {left:g}, since an offspring is crossed or mutated and crossover_probability is {1 - left:g}"
            )
            raise ValueError("mutation_probability: " + expectation(limit, self.mutation_probability))
        return self


class MuCommaLambdaOptions(MuPlusLambdaOptions):
    """Options of `deap-mu-comma-lambda`.

    Attributes:
        offspring: number of offspring of a generation (`lambda`), at least as many as there are parents; `None` is
            twice as many.

    More parents than `deap-mu-plus-lambda` has: none of them lives on.
    """

    population: int = Field(16, ge=2)

    @property
    def brood(self) -> int:
        """Number of offspring of a generation."""
        return 2 * self.population if self.offspring is None else self.offspring

    @model_validator(mode="after")
    def _enough(self) -> MuCommaLambdaOptions:
        if self.brood < self.population:
            limit = f"at least the population of {self.population}, which it replaces"
            raise ValueError("offspring: " + expectation(limit, self.offspring))
        return self


class _MuLambda(Optimizer):
    """The part that both algorithms share.

    Its arrays hold the parents, then their offspring. A generation is bred once all of it have losses: the survivors
    become the parents, then offspring are made of them.
    """

    device = "cpu"
    space: ClassVar[Space] = {
        "population": Integer(4, 64, log=True),
        "mutation_strength": Real(0.02, 1.0, log=True),
        "mutation_probability": Real(0.1, 0.5),
        "crossover": Choice(("uniform", "neuron", "blend")),
    }
    options: MuPlusLambdaOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of parents."""
        assert isinstance(options, MuPlusLambdaOptions)
        return options.population

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """The number of offspring; less are asked for where some are copies."""
        assert isinstance(options, MuPlusLambdaOptions)
        return options.brood

    @abstractmethod
    def _competitors(self) -> slice:
        """Rows of those among whom the survivors are."""

    def _initialize(self, start: Tensor) -> None:
        self._like = start.new_empty((0, start.shape[1]))
        genomes = start.cpu().numpy()
        self._kit = Kit(
            self.options.selection,
            self.options,
            self.generator,
            genomes,
            scale=self.scale,
            bounds=self.bounds,
            groups=self.groups,
        )
        # Parents compete and are crossed with projected offspring: they have to be projected from the start on.
        self._genomes: Genomes = self._kit.admissible(genomes) if self.options.project_neutral else genomes
        count = len(genomes)
        self._loss = np.full(count, np.inf)
        self._strength = np.full(count, self.options.mutation_strength)
        self._pending = np.ones(count, dtype=np.bool_)
        self._source = np.arange(count)  # the first row with the same genes, which is evaluated for all of them
        self._batch: int | None = None
        warn_if_slow(self.options)

    def ask(self, batch: int) -> Tensor:
        """Individuals without a loss on `batch`; the next generation if all have one."""
        if not self._pending.any():
            self._breed()
        if batch != self._batch:
            self._batch = batch
            self._forget()
        return deliver(torch.from_numpy(self._genomes[self._pending]), self._like)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the individuals last asked for."""
        del population
        self._loss[self._pending] = evaluation.loss.detach().cpu().numpy()
        self._loss = self._loss[self._source]
        self._pending[:] = False

    def _forget(self) -> None:
        """Ask for all who compete: their losses are of another batch."""
        if not self._bred:  # the start, every row of it
            self._pending[:] = True
            return
        rows = self._competitors()
        self._source[rows] = first_equals(self._genomes[rows]) + rows.start
        self._pending = np.zeros(len(self._genomes), dtype=np.bool_)
        self._pending[self._source[rows]] = True

    @property
    def _bred(self) -> bool:
        """Whether there are offspring yet."""
        return len(self._genomes) > self.options.population

    def _breed(self) -> None:
        """The survivors become the parents, followed by new offspring; what is known already keeps its loss."""
        options, kit = self.options, self._kit
        if self._bred:
            among = self._competitors()
            rows = kit.select(self._loss[among], options.population) + among.start
            self._genomes, self._loss, self._strength = self._genomes[rows], self._loss[rows], self._strength[rows]
        vary = self._vary_in_turn if kit.slow else self._vary
        offspring, strength = vary()
        offspring = kit.admissible(offspring)
        self._genomes = np.concatenate([self._genomes, offspring])
        self._strength = np.concatenate([self._strength, strength])
        self._loss = np.concatenate([self._loss, np.full(len(offspring), np.inf)])
        self._source = first_equals(self._genomes)
        self._loss = self._loss[self._source]
        self._pending = self._source == np.arange(len(self._genomes))
        self._pending[: options.population] = False

    def _vary(self) -> tuple[Genomes, NDArray[np.float64]]:
        """`(lambda, D)` offspring of random parents, crossed or mutated or neither, and their strengths."""
        options, generator, parents = self.options, self.generator, self._genomes
        choice = generator.random(options.brood)
        crossed = np.flatnonzero(choice < options.crossover_probability)
        mutated = np.flatnonzero(choice >= options.crossover_probability)
        mutated = mutated[choice[mutated] < options.crossover_probability + options.mutation_probability]
        first = generator.integers(len(parents), size=options.brood)
        # Another one than the first, each with the same probability.
        second = ((first + generator.integers(1, len(parents), size=options.brood)) % len(parents))[crossed]
        offspring, strength = parents[first], self._strength[first]
        child = offspring[crossed]
        self._kit.mate(child, parents[second], generator)
        offspring[crossed] = child
        strength[crossed] = np.sqrt(strength[crossed] * self._strength[second])
        self._kit.mutate(offspring, strength, generator, mutated)
        return offspring, strength

    def _vary_in_turn(self) -> tuple[Genomes, NDArray[np.float64]]:
        """The same by DEAP's own `varOr`, individual by individual."""
        options = self.options
        with self._kit.streams.active():
            varied = algorithms.varOr(
                individuals(self._genomes, self._loss, self._strength),
                self._kit.toolbox,
                options.brood,
                options.crossover_probability,
                options.mutation_probability,
            )
        return stacked(varied, self._genomes), np.array([individual.strength for individual in varied])

    def state_dict(self) -> dict[str, Any]:
        """The individuals with their losses and mutation strengths, and both streams of random numbers."""
        names = ("genomes", "loss", "strength", "pending", "source")
        return {
            **{name: getattr(self, f"_{name}").copy() for name in names},
            "batch": self._batch,
            "generator": self.generator.bit_generator.state,
            "streams": self._kit.streams.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name in ("genomes", "loss", "strength", "pending", "source"):
            setattr(self, f"_{name}", np.array(state[name]))
        self._batch = state["batch"]
        self.generator.bit_generator.state = state["generator"]
        self._kit.streams.load_state_dict(state["streams"])


class MuPlusLambda(_MuLambda):
    """(mu + lambda): the best of parents and offspring together survive.

    An offspring is crossed, mutated or a copy; its parents are chosen at random. The best is never lost on an unchanged
    batch; on a new one the parents are asked for again.

    With operators of `deap.tools` it is DEAP's `algorithms.eaMuPlusLambda` with the same operators and random numbers,
    evaluation by evaluation, but that it asks for no row twice.

    References: Schwefel 1995, "Evolution and Optimum Seeking"; Baeck, Fogel and Michalewicz 2000, "Evolutionary
        Computation 1"; DEAP: Fortin et al. 2012, JMLR 13.
    """

    options_class = MuPlusLambdaOptions

    def _competitors(self) -> slice:
        return slice(0, len(self._genomes))


class MuCommaLambda(_MuLambda):
    """(mu, lambda): the best of the offspring survive, whatever their parents were.

    Parents die, so that a lucky loss on one batch is forgotten; they are not asked for on a new batch. The best may
    get lost, and no elites are kept: the run remembers it.

    With operators of `deap.tools` it is DEAP's `algorithms.eaMuCommaLambda` with the same operators and random numbers,
    evaluation by evaluation, but that it asks for no row twice.

    References: as `MuPlusLambda`.
    """

    options_class = MuCommaLambdaOptions

    def _competitors(self) -> slice:
        return slice(self.options.population, len(self._genomes))
