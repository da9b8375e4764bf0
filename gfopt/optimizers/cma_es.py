"""Covariance matrix adaptation by pycma, the reference implementation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gfopt.optimizers._generations import Array, GenerationOptions, Generations
from gfopt.optimizers.base import Options
from gfopt.optimizers.space import Choice, Integer, Real, Space
from gfopt.rng import GlobalStreams, undisturbed

with undisturbed():
    import cma
    from cma.evolution_strategy import get_CMASolutionDict
    from cma.sigma_adaptation import CMAAdaptSigmaCSA, CMAAdaptSigmaTPA


class CMAESOptions(GenerationOptions):
    """Options of `cma`.

    Attributes:
        population: samples of a generation (`lambda`); half of them are recombined, the worse half has negative
            weights in the covariance.
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma0`).
        diagonal: adapt a diagonal covariance, `O(D)` a sample, instead of a full one (pycma's `CMA_diagonal`).
        step_size: how the step size is adapted: `path`, by the length of the mean's path (cumulative step-size
            adaptation); `two-point`, by two samples ahead of the mean's last step and behind it, which is pycma's
            choice from 300 genes on.

    All other settings are pycma's, which follow from the population and `D`.
    """

    diagonal: bool = False
    step_size: Literal["path", "two-point"] = "path"


class CMAES(Generations):
    """Covariance matrix adaptation evolution strategy by pycma, with active (negative) updates.

    Samples `x_k = m + sigma y_k` with `y_k ~ N(0, C)`. The mean `m` moves to the weighted mean of the better half; the
    covariance `C` learns from all steps, the worse half with negative weights, and from the mean's path; the step
    size `sigma` follows the path's length. The matrix is decomposed once in about `D / 10 lambda` generations, not in
    each.

    pycma's own terminations are not used, nor are its restarts, files and messages. It handles the problem's bounds by
    a smooth transformation into them (`BoundTransform`). Losses enter as ranks, which is all that pycma uses of them.

    References: Hansen 2016, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; Hansen and Ros 2010
        (negative weights), GECCO; Hansen, Atamna, Auger 2014 (two-point step sizes), PPSN XIII; pycma: Hansen,
        Akimoto, Baudis, doi:10.5281/zenodo.2559634.
    """

    options_class = CMAESOptions
    options: CMAESOptions
    max_dim = 2000  # of D x D, the covariance and its axes
    space: ClassVar[Space] = {
        "population": Integer(8, 128, log=True),
        "deviation": Real(0.05, 2.0, log=True),
        "diagonal": Choice((False, True)),
        "step_size": Choice(("path", "two-point")),
    }

    @classmethod
    def check_dim(cls, options: Options, dim: int) -> None:
        """Refuse a full covariance of more parameters than `max_dim`; a diagonal one has no limit."""
        assert isinstance(options, CMAESOptions)
        if not options.diagonal:
            super().check_dim(options, dim)

    def _seed(self, seed: int) -> None:
        self._streams = GlobalStreams(seed)

    def _begin(self, mean: Array) -> None:
        options = self.options
        steps = {"path": CMAAdaptSigmaCSA, "two-point": CMAAdaptSigmaTPA}
        settings = {
            "popsize": options.population,
            "CMA_diagonal": options.diagonal,
            "AdaptSigma": steps[options.step_size],
            "bounds": None if self._box is None else list(self._box),
            "seed": np.nan,  # no seeding of numpy's global stream
            "verbose": -9,  # no messages, no files
            # A change of coordinates would be a second state; a flat distribution starts again instead.
            "conditioncov_alleviate": False,
        }
        with self._alone():
            self._strategy = cma.CMAEvolutionStrategy(self._within(mean), options.deviation, settings)
        # An archive that pycma keeps of small populations, for uses that are none here: up to 1000 samples.
        self._strategy.archive = get_CMASolutionDict(False)()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside, pycma draws from the run's own stream, and neither warns nor keeps a filter of warnings.

        It warns of what cannot be otherwise here, as of first deviations beyond the bounds, which it then shortens.
        """
        with self._streams.active(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    def _sample(self) -> Array:
        self._injected = [np.array(each) for each in self._strategy.pop_injection_directions]
        with self._alone():
            return np.stack(self._strategy.ask())

    def _mean(self) -> Array:
        mean: Array = self._strategy.boundary_handler.repair(self._strategy.mean)
        return mean

    def _learn(self, samples: Array, loss: Array, mean_loss: float) -> float | None:
        ranks: NDArray[np.intp] = np.unique(loss, return_inverse=True)[1]
        if not ranks.any():
            self._strategy.pop_injection_directions = self._injected
            return mean_loss
        with self._alone():
            self._strategy.tell(list(samples), ranks.astype(np.float64).tolist())
        return None

    def _axes(self) -> Array:
        strategy = self._strategy
        axes: Array = strategy.sigma * (strategy.sigma_vec.scaling * strategy.D)
        return axes

    def _distribution(self) -> dict[str, Any]:
        strategy, sampler, vector = self._strategy, self._strategy.sm, self._strategy.sigma_vec
        state = {name: np.array(getattr(strategy, name)) for name in _PATHS}
        state |= {name: np.array(getattr(strategy, name, strategy.mean)) for name in _EARLIER}
        state |= {name: np.array(getattr(sampler, name)) for name in self._matrices()}
        state |= {name: getattr(sampler, name) for name in self._counters()}
        return {
            **state,
            "sigma": float(strategy.sigma),
            "scaling": np.array(vector.scaling),
            "is_identity": bool(vector.is_identity),
            "dim": int(vector.dim),  # of what the learning rates go by, not of the scaling
            "mirrored": list(getattr(strategy, "_indices_of_selective_mirrors", [])),
            "countiter": strategy.countiter,
            "ps": np.array(getattr(strategy.adapt_sigma, "ps", np.zeros(len(strategy.mean)))),
            "s": float(getattr(strategy.adapt_sigma, "s", 0)),
            "injected": [np.array(each) for each in self._before_sampling()],
        }

    def _load_distribution(self, state: Mapping[str, Any]) -> None:
        strategy, sampler, vector = self._strategy, self._strategy.sm, self._strategy.sigma_vec
        for name in (*_PATHS, *_EARLIER):
            setattr(strategy, name, np.array(state[name]))
        for name in self._matrices():
            setattr(sampler, name, np.array(state[name]))
        for name in self._counters():
            setattr(sampler, name, state[name])
        # numpy's number, not Python's: pycma tells them apart where it multiplies by the scaling.
        strategy.sigma = np.float64(state["sigma"])
        vector.scaling, vector.is_identity = np.array(state["scaling"]), state["is_identity"]
        vector.dim = state["dim"]
        strategy._indices_of_selective_mirrors = list(state["mirrored"])
        strategy.countiter = state["countiter"]
        strategy.adapt_sigma.initialize_base(strategy)
        strategy.adapt_sigma.ps = np.array(state["ps"])
        strategy.adapt_sigma.s = state["s"]
        strategy.pop_injection_directions = [np.array(each) for each in state["injected"]]
        strategy.timer = cma.utilities.utils.ElapsedWCTime()  # made by the first `ask` of generation 0
        strategy._updateBDfromSM()

    def _before_sampling(self) -> list[Array]:
        """Steps that pycma puts among the samples of the generation at hand."""
        return self._strategy.pop_injection_directions if self._samples is None else self._injected

    def _matrices(self) -> tuple[str, ...]:
        return () if self.options.diagonal else ("C", "B", "D")

    def _counters(self) -> tuple[str, ...]:
        return () if self.options.diagonal else ("count_tell", "last_update")

    def _stream(self) -> dict[str, Any]:
        return self._streams.state_dict()

    def _load_stream(self, state: Mapping[str, Any]) -> None:
        self._streams.load_state_dict(state)


_PATHS = ("mean", "pc", "pc2")
_EARLIER = ("mean_old", "mean_after_tell")  # for pycma's check of its two points
