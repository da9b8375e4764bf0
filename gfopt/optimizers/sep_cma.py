"""Separable covariance matrix adaptation by the library `cmaes`: one variance a gene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from cmaes import SepCMA

from gfopt.errors import MissingExtraError, expectation
from gfopt.optimizers._generations import Array, GenerationOptions, Generations
from gfopt.optimizers.space import Integer, Real, Space


class SeparableOptions(GenerationOptions):
    """Options of `sep-cma`.

    Attributes:
        population: samples of a generation (`lambda`); half of them are recombined.
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma`).

    The learning rates are the library's, which follow from the population and `D`.
    """


class Separable(Generations):
    """Covariance matrix adaptation with a diagonal matrix, by `cmaes.SepCMA`.

    `O(D)` a sample, where the full matrix costs `O(D^2)`, and learning rates that are `(D + 2) / 3` times as high; it
    cannot learn that two genes depend on each other. The library keeps its state in private attributes; a release of
    it that names them otherwise is refused when a run starts.

    Raises:
        MissingExtraError: if the installed release has not the attributes that a state needs.

    References: Ros and Hansen 2008, "A simple modification in CMA-ES achieving linear time and space complexity",
        PPSN X; Nomura and Shibata 2024, arXiv:2402.01373 (the library).
    """

    options_class = SeparableOptions
    options: SeparableOptions
    min_dim = 2
    space: ClassVar[Space] = {"population": Integer(8, 128, log=True), "deviation": Real(0.05, 2.0, log=True)}

    def _seed(self, seed: int) -> None:
        known = vars(SepCMA(np.zeros(self.min_dim), 1.0))
        missing = [name for name in (*_ARRAYS, *_NUMBERS, "_rng") if name not in known]
        if missing:
            fix = "Install a release that has them: pip install 'cmaes==0.13.1'"
            raise MissingExtraError(expectation(f"cmaes.SepCMA with the attributes {missing}", "`none`", fix))
        self._random = np.random.RandomState(seed)

    def _begin(self, mean: Array) -> None:
        options = self.options
        self._strategy = SepCMA(mean, options.deviation, seed=0, population_size=options.population)
        self._strategy._rng = self._random

    def _sample(self) -> Array:
        return np.stack([self._strategy.ask() for _ in range(self.options.population)])

    def _mean(self) -> Array:
        mean: Array = self._strategy._mean
        return mean

    def _learn(self, samples: Array, loss: Array, mean_loss: float) -> float | None:
        if loss.min() == loss.max():
            return mean_loss
        self._strategy.tell(list(zip(samples, loss.tolist(), strict=True)))
        return None

    def _axes(self) -> Array:
        axes: Array = self._strategy._sigma * np.sqrt(self._strategy._C)
        return axes

    def _distribution(self) -> dict[str, Any]:
        arrays = {name: np.array(getattr(self._strategy, name)) for name in _ARRAYS}
        return {**arrays, "_sigma": float(self._strategy._sigma), "_g": int(self._strategy._g)}

    def _load_distribution(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self._strategy, name, np.array(value) if name in _ARRAYS else value)

    def _stream(self) -> dict[str, Any]:
        return dict(self._random.get_state(legacy=False))

    def _load_stream(self, state: Mapping[str, Any]) -> None:
        self._random.set_state(dict(state))


_ARRAYS = ("_mean", "_C", "_p_sigma", "_pc")
_NUMBERS = ("_sigma", "_g")
