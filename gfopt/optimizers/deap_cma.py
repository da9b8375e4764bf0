"""Covariance matrix adaptation by DEAP's strategies, which give bit for bit the steps of its own algorithms."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from deap import cma
from pydantic import Field

from gfopt.optimizers._deap import Loss
from gfopt.optimizers._generations import Array, GenerationOptions, Generations
from gfopt.optimizers.base import Options
from gfopt.optimizers.space import Integer, Real, Space
from gfopt.rng import GlobalStreams


class CMAOptions(GenerationOptions):
    """Options of `deap-cma`.

    Attributes:
        population: samples of a generation (`lambda`); half of them are recombined.
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma`).

    The learning rates are DEAP's, which follow from the population and `D`.
    """


class OnePlusLambdaOptions(GenerationOptions):
    """Options of `deap-cma-1+lambda`.

    Attributes:
        population: offspring of a generation (`lambda`).
        deviation: the first standard deviation of a gene's offspring, in units of its scale (`sigma`).

    The learning rates are DEAP's, which follow from the population and `D`.
    """

    population: int = Field(32, ge=1)
    deviation: float = Field(0.2, gt=0)


class _Individual(np.ndarray[Any, Any]):
    """A `(D,)` vector with a fitness; a view where it is made, and a vector of its own where it is copied."""

    fitness: Loss

    def __deepcopy__(self, memo: dict[int, Any] | None) -> _Individual:
        return _individual(np.array(self), copy.deepcopy(self.fitness, memo))


def _individual(vector: Array, fitness: Loss) -> _Individual:
    made = vector.view(_Individual)
    made.fitness = fitness
    return made


class _Strategy(Generations):
    """What both strategies share: the stream of random numbers, and individuals for DEAP's `update`."""

    max_dim = 2000  # a matrix of D x D, decomposed each generation
    _strategy: Any
    space: ClassVar[Space] = {"population": Integer(8, 128, log=True), "deviation": Real(0.05, 2.0, log=True)}

    def _seed(self, seed: int) -> None:
        self._streams = GlobalStreams(seed)

    def _sample(self) -> Array:
        with self._streams.active():
            return np.stack(self._strategy.generate(np.asarray))

    def _population(self, samples: Array, loss: Array) -> list[_Individual]:
        return [_individual(row, Loss((own,))) for row, own in zip(samples, loss.tolist(), strict=True)]

    def _stream(self) -> dict[str, Any]:
        return self._streams.state_dict()

    def _load_stream(self, state: Mapping[str, Any]) -> None:
        self._streams.load_state_dict(state)


class CMA(_Strategy):
    """Covariance matrix adaptation evolution strategy by `deap.cma.Strategy`.

    Samples `x_k = m + sigma B D z_k` with `z_k ~ N(0, I)`, where `C = B D^2 B^T`. The mean `m` moves to the weighted
    mean of the better half, the covariance `C` towards that of their steps (rank mu) and of the mean's path (rank
    one), and the step size `sigma` such that the path is as long as it were by chance (cumulative step-size
    adaptation). The matrix is decomposed each generation, `O(D^3)`: about 0.3 s for 1000 genes.

    References: Hansen and Ostermeier 2001, Evol. Comput. 9(2); Hansen 2016, "The CMA evolution strategy: a
        tutorial", arXiv:1604.00772; DEAP: Fortin et al. 2012, JMLR 13.
    """

    options_class = CMAOptions
    options: CMAOptions

    def _begin(self, mean: Array) -> None:
        self._strategy = cma.Strategy(mean, self.options.deviation, lambda_=self.options.population)

    def _mean(self) -> Array:
        mean: Array = self._strategy.centroid
        return mean

    def _learn(self, samples: Array, loss: Array, mean_loss: float) -> float | None:
        if loss.min() == loss.max():
            return mean_loss
        self._strategy.update(self._population(samples, loss))
        self._strategy.centroid = np.asarray(self._strategy.centroid)
        return None

    def _axes(self) -> Array:
        axes: Array = self._strategy.sigma * self._strategy.diagD
        return axes

    def _distribution(self) -> dict[str, Any]:
        strategy = self._strategy
        arrays = {name: np.array(getattr(strategy, name)) for name in _ARRAYS}
        return {**arrays, "sigma": float(strategy.sigma), "update_count": strategy.update_count}

    def _load_distribution(self, state: Mapping[str, Any]) -> None:
        strategy = self._strategy
        for name in _ARRAYS:
            setattr(strategy, name, np.array(state[name]))
        strategy.BD = strategy.B * strategy.diagD
        strategy.sigma, strategy.update_count = state["sigma"], state["update_count"]


# The decomposition is not computed anew: another library of linear algebra might give another one.
_ARRAYS = ("centroid", "pc", "ps", "C", "B", "diagD")


class OnePlusLambda(_Strategy):
    """Elitist covariance matrix adaptation, one parent and its offspring, by `deap.cma.StrategyOnePlusLambda`.

    Offspring are `x_k = m + sigma A z_k` with `z_k ~ N(0, I)` and `C = A A^T`. The best one replaces the parent `m` if
    it is no worse; then `C` learns the step. The step size follows the share of offspring that are no worse than the
    parent. On a new batch the parent is asked again beside the offspring.

    References: Igel, Hansen, Roth 2007, Evol. Comput. 15(1), algorithms 2 to 4; DEAP: Fortin et al. 2012, JMLR 13.
    """

    options_class = OnePlusLambdaOptions
    options: OnePlusLambdaOptions
    space: ClassVar[Space] = {"population": Integer(1, 64, log=True), "deviation": Real(0.05, 2.0, log=True)}

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """The offspring."""
        return cls.population_size(options)

    def _begin(self, mean: Array) -> None:
        parent = _individual(mean, Loss((np.inf,)))
        options = self.options
        self._strategy = cma.StrategyOnePlusLambda(parent, options.deviation, lambda_=options.population)

    def _mean(self) -> Array:
        return np.asarray(self._strategy.parent)

    def _learn(self, samples: Array, loss: Array, mean_loss: float) -> float | None:
        if loss.min() == loss.max() == mean_loss:
            return mean_loss
        strategy = self._strategy
        strategy.parent.fitness.values = (mean_loss,)
        strategy.update(self._population(samples, loss))
        return min(mean_loss, float(loss.min()))

    def _axes(self) -> Array:
        # Of the triangular root: its diagonal has the determinant, and is finite where the matrix is.
        axes: Array = self._strategy.sigma * np.diag(self._strategy.A)
        return axes

    def _distribution(self) -> dict[str, Any]:
        strategy = self._strategy
        return {
            "parent": np.array(strategy.parent),
            "C": strategy.C.copy(),
            "A": strategy.A.copy(),
            "pc": np.array(strategy.pc),
            "sigma": float(strategy.sigma),
            "psucc": float(strategy.psucc),
        }

    def _load_distribution(self, state: Mapping[str, Any]) -> None:
        strategy = self._strategy
        strategy.parent = _individual(np.array(state["parent"]), Loss((np.inf,)))
        strategy.C, strategy.A, strategy.pc = (np.array(state[name]) for name in ("C", "A", "pc"))
        strategy.sigma, strategy.psucc = state["sigma"], state["psucc"]
