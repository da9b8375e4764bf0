"""Hundreds of optimizers through nevergrad, by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from gfopt.errors import expectation, suggestion
from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Choice, Integer, Real, Space
from gfopt.rng import GlobalStreams, undisturbed
from gfopt.types import Evaluation

# Some of its algorithms draw their constants while it is imported: always the same ones here.
with GlobalStreams(0).active(), undisturbed(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import nevergrad

# Stands for +inf: nevergrad warns of losses from 5e20 on.
_WORST = 1e20
# With one gene its covariance strategies ask for a package of their own, from then on in every run of the process;
# a second one is added, which no loss sees.
_FEWEST = 2


class NevergradOptions(Options):
    """Options of `nevergrad`.

    Attributes:
        algorithm: a name of `nevergrad.optimizers.registry`.
        population: candidates asked at a time (nevergrad's `num_workers`).
        deviation: the standard deviation of nevergrad's first candidates, in units of a gene's scale.

    The default algorithm is the one of several that trains digits best.
    """

    algorithm: str = "DiagonalCMA"
    population: int = Field(32, ge=1)
    deviation: float = Field(1.0, gt=0)

    @field_validator("algorithm")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in nevergrad.optimizers.registry:
            fix = suggestion(value, nevergrad.optimizers.registry) if len(value) > 1 else ""
            raise ValueError(expectation("an algorithm of nevergrad's", value, fix))
        return value


class Nevergrad(Optimizer):
    """Any optimizer of nevergrad's registry, by its ask and tell.

    The first generation are the start rows; the best of them is where the algorithm starts, in units of the scale:
    `x = best + scale * z`. Every later one is `population` candidates, asked one by one. Candidates outside the
    problem's bounds are evaluated on them.

    Two limits. Most algorithms of nevergrad compare losses of different steps, and cannot be told that the batch has
    changed: use a full batch, or an algorithm for noise such as `TBPSA`. And nevergrad can only be pickled, which a
    checkpoint must not be: a state holds all losses that were told, eight bytes each, and loading it repeats all
    questions and answers. That is exact, and takes as long as the run itself spent in nevergrad.

    References: Rapin and Teytaud 2018, "Nevergrad, a gradient-free optimization platform"; Bennet, Doerr, Moreau,
        Rapin, Teytaud, Teytaud 2021, SIGEVOlution 14(1).
    """

    options_class = NevergradOptions
    options: NevergradOptions
    device = "cpu"
    max_dim = 100_000  # candidates are Python objects, asked one by one
    space: ClassVar[Space] = {
        "algorithm": Choice(("DiagonalCMA", "TwoPointsDE", "OnePlusOne", "TBPSA", "PSO")),
        "population": Integer(8, 128, log=True),
        "deviation": Real(0.1, 2.0, log=True),
    }

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The candidates asked at a time."""
        assert isinstance(options, NevergradOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        self._like = start.new_empty((0, start.shape[1]))
        self._start: NDArray[Any] | None = start.cpu().numpy()
        self._origin = np.zeros(start.shape[1])
        self._units = self.scale.cpu().numpy().astype(np.float64)
        self._seed = int(self.generator.integers(2**32))
        self._told: list[NDArray[np.float64]] = []
        self._candidates: list[Any] | None = None

    def ask(self, batch: int) -> Tensor:
        """The start rows; then the algorithm's next candidates."""
        del batch
        if self._start is not None:
            return torch.from_numpy(self._start.copy()).to(self._like)
        if self._candidates is None:
            self._candidates = self._propose()
        staged = staging(len(self._candidates), self._like)
        for row, candidate in zip(staged, self._candidates, strict=True):
            row.copy_(torch.from_numpy(self._origin + self._units * candidate.value[: len(self._units)]))
        asked = deliver(staged, self._like)
        return asked if self.bounds is None else asked.clamp_(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the rows last asked for."""
        del population
        loss = np.minimum(evaluation.loss.detach().cpu().numpy().astype(np.float64), _WORST)
        if self._start is not None:
            self._origin = self._start[int(loss.argmin())].astype(np.float64)
            self._start = None
            self._begin()
            return
        assert self._candidates is not None
        self._answer(self._candidates, loss)
        self._candidates = None

    def _begin(self) -> None:
        """A new algorithm, to which nothing has been told."""
        self._told = []
        self._streams = GlobalStreams(self._seed)
        with self._alone():
            genes = nevergrad.p.Array(init=np.zeros(max(_FEWEST, len(self._origin))))
            genes.set_mutation(sigma=self.options.deviation)
            genes.random_state = np.random.RandomState(self._seed)
            algorithm = nevergrad.optimizers.registry[self.options.algorithm]
            self._algorithm = algorithm(genes, budget=None, num_workers=self.options.population)

    def _propose(self) -> list[Any]:
        with self._alone():
            return [self._algorithm.ask() for _ in range(self.options.population)]

    def _answer(self, candidates: list[Any], loss: NDArray[np.float64]) -> None:
        with self._alone():
            for candidate, value in zip(candidates, loss.tolist(), strict=True):
                self._algorithm.tell(candidate, value)
        self._told.append(loss)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside, nevergrad draws from the run's own streams, and keeps its warnings to itself.

        It warns of what an algorithm would rather have, as a budget or fewer workers.
        """
        with self._streams.active(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    def state_dict(self) -> dict[str, Any]:
        """The start, the seed and every loss that was told: `(steps, population)`."""
        return {
            "start": None if self._start is None else self._start.copy(),
            "origin": self._origin.copy(),
            "seed": self._seed,
            "told": np.array(self._told).reshape(-1, self.options.population),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken, by repeating what was before."""
        self._start = None if state["start"] is None else np.array(state["start"])
        self._origin, self._seed, self._candidates = np.array(state["origin"]), state["seed"], None
        if self._start is None:
            self._begin()
            for loss in np.array(state["told"]):
                self._answer(self._propose(), loss)
