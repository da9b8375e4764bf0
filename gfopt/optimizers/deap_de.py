"""Differential evolution with DEAP's toolbox and selection, on one `(P, D)` array; DEAP has no operators of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from deap import base
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from gfopt.optimizers._deap import best_rows
from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Choice, Integer, Real, Space
from gfopt.types import Evaluation

_DONORS = {"rand/1/bin": 3, "best/1/bin": 2, "current-to-best/1/bin": 2}


class DifferentialEvolutionOptions(Options):
    """Options of `deap-de`.

    Attributes:
        population: number of individuals.
        strategy: where a mutant starts from: `rand/1/bin`, another individual at random; `best/1/bin`, the best one;
            `current-to-best/1/bin`, the parent, moved towards the best.
        differential_weight: factor of differences between individuals (`F`).
        crossover_rate: probability that a gene of the trial is the mutant's and not the parent's (`CR`).

    `F` is that of Storn and Price 1997. `strategy` and `CR` are those of the tried ones that train digits best: of a
    few thousand genes of small effect each, a trial should have many from the mutant, but not most.
    """

    population: int = Field(32, ge=2)
    strategy: Literal["rand/1/bin", "best/1/bin", "current-to-best/1/bin"] = "best/1/bin"
    differential_weight: float = Field(0.5, gt=0, le=2)
    crossover_rate: float = Field(0.5, ge=0, le=1)


class DifferentialEvolution(Optimizer):
    """Differential evolution: mutants from differences between individuals, and a duel of each with its parent.

    With `r1, r2, r3` different individuals at random, other than the parent `i`, a mutant is
    `v = x_r1 + F (x_r2 - x_r3)` (rand/1), `v = x_best + F (x_r1 - x_r2)` (best/1) or
    `v = x_i + F (x_best - x_i) + F (x_r1 - x_r2)` (current-to-best/1). The trial has each gene from the mutant with
    probability `CR`, and one at least; the others are the parent's (bin). It replaces the parent if it is no worse.
    Fewer than four individuals cannot all be different: some of `r1, r2, r3` are the same then.

    A gene outside the problem's bounds is put halfway between the bound and the parent's gene. Losses of two batches
    do not compare, so on a new batch the parents are asked again behind the trials: `2 P` rows, all of them charged.

    References: Storn and Price 1997, J. Glob. Optim. 11, eq. 2 to 5; Price, Storn, Lampinen 2005, "Differential
        Evolution", section 4.3 (bounds); DEAP: Fortin et al. 2012, JMLR 13.
    """

    options_class = DifferentialEvolutionOptions
    options: DifferentialEvolutionOptions
    device = "cpu"
    space: ClassVar[Space] = {
        "population": Integer(16, 128, log=True),
        "strategy": Choice(("rand/1/bin", "best/1/bin", "current-to-best/1/bin")),
        "differential_weight": Real(0.3, 0.9),
        "crossover_rate": Real(0.1, 1.0),
    }

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of individuals."""
        assert isinstance(options, DifferentialEvolutionOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        options = self.options
        self._like = start.new_empty((0, start.shape[1]))
        self._box = None if self.bounds is None else tuple(bound.cpu().numpy() for bound in self.bounds)
        self._genomes: NDArray[Any] = start.cpu().numpy()
        self._loss = np.full(len(self._genomes), np.inf)
        self._trials: NDArray[Any] | None = None
        self._batch: int | None = None
        self._asked: int | None = None
        self._toolbox = base.Toolbox()
        weight = self._genomes.dtype.type(options.differential_weight)
        self._toolbox.register("mutate", partial(mutants, strategy=options.strategy, weight=weight))
        self._toolbox.register("mate", partial(binomial_crossover, rate=options.crossover_rate))
        self._toolbox.register("select_best", partial(best_rows, count=1))

    def ask(self, batch: int) -> Tensor:
        """The start rows, or the trials; on a new batch the parents behind them."""
        self._asked = batch
        if self._trials is None:
            rows = [self._genomes]
        else:
            rows = [self._trials] if batch == self._batch else [self._trials, self._genomes]
        staged = staging(sum(map(len, rows)), self._like)
        np.concatenate(rows, out=staged.numpy())
        return deliver(staged, self._like)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Replace the parents that lost to their trials, and make the next trials."""
        del population
        count, loss = len(self._genomes), evaluation.loss.detach().cpu().numpy().astype(np.float64)
        if self._trials is None:
            self._loss = loss
        else:
            if len(loss) > count:
                self._loss = loss[count:].copy()
            won = loss[:count] <= self._loss
            self._genomes[won] = self._trials[won]
            self._loss[won] = loss[:count][won]
        self._batch = self._asked
        self._trials = self._make_trials()

    def _make_trials(self) -> NDArray[Any]:
        genomes, toolbox = self._genomes, self._toolbox
        donors = distinct_others(len(genomes), _DONORS[self.options.strategy], self.generator)
        trials: NDArray[Any] = toolbox.mutate(genomes, donors, int(toolbox.select_best(self._loss)[0]))
        toolbox.mate(trials, genomes, generator=self.generator)
        if self._box is not None:
            low, high = self._box
            np.copyto(trials, (low + genomes) / 2, where=trials < low)
            np.copyto(trials, (high + genomes) / 2, where=trials > high)
        return trials

    def state_dict(self) -> dict[str, Any]:
        """The parents with their losses, the trials and the stream of random numbers."""
        return {
            "genomes": self._genomes.copy(),
            "loss": self._loss.copy(),
            "trials": None if self._trials is None else self._trials.copy(),
            "batch": self._batch,
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._genomes, self._loss = np.array(state["genomes"]), np.array(state["loss"])
        self._trials = None if state["trials"] is None else np.array(state["trials"])
        self._batch = state["batch"]
        self.generator.bit_generator.state = state["generator"]


def distinct_others(population: int, count: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """`(P, count)` for each individual others at random, all different if there are as many as `count`."""
    others = generator.random((population, population - 1)).argsort(axis=1)
    chosen = others[:, np.arange(count) % (population - 1)]
    return chosen + (chosen >= np.arange(population)[:, None])


def mutants(genomes: NDArray[Any], donors: NDArray[np.intp], best: int, *, strategy: str, weight: Any) -> NDArray[Any]:
    """`(P, D)` one mutant for each individual.

    Args:
        genomes: `(P, D)`.
        donors: `(P, 2)`, for `rand/1/bin` `(P, 3)`: `r1, r2, r3`.
        best: row of the best individual.
        strategy: as the option.
        weight: factor of differences (`F`).

    References: Storn and Price 1997, eq. 2 and section 5.
    """
    *first, plus, minus = donors.T
    difference: NDArray[Any] = weight * (genomes[plus] - genomes[minus])
    if strategy == "current-to-best/1/bin":
        difference += weight * (genomes[best] - genomes)
        difference += genomes
    else:
        difference += genomes[first[0]] if first else genomes[best]
    return difference


def binomial_crossover(
    mutated: NDArray[Any], parents: NDArray[Any], *, rate: float, generator: np.random.Generator
) -> None:
    """Put back the parent's gene, in place, with probability `1 - rate`, but not in all genes of a mutant.

    Args:
        mutated: `(P, D)`, changed to trials.
        parents: `(P, D)`.
        rate: `CR`.
        generator: the random numbers.

    References: Storn and Price 1997, eq. 4.
    """
    kept = generator.random(mutated.shape, dtype=np.float32) >= rate
    kept[np.arange(len(kept)), generator.integers(kept.shape[1], size=len(kept))] = False
    np.copyto(mutated, parents, where=kept)
