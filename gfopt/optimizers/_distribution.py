"""What evolution strategies share that sample around a center: the start, the center's own loss, repeatable samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from gfopt.draws import Draws
from gfopt.errors import expectation
from gfopt.optimizers.base import Optimizer, Options
from gfopt.types import Evaluation


class DistributionOptions(Options):
    """Options of every strategy that samples around a center.

    Attributes:
        population: samples of a generation, an even number.
    """

    population: int = Field(64, ge=2)

    @field_validator("population")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(expectation("an even number", value))
        return value


class SearchDistribution(Optimizer):
    """Samples around a center, which moves by what the samples' ranks tell.

    The first generation are the start rows; the best of them is the first center. Every later one is `population`
    samples, and the center behind them: it is what the strategy improves, and mostly better than any sample. It is
    charged like them, has no part in the update, and is left out where its loss on the batch is known.

    Samples are not kept: the same counters give them again (see `gfopt.draws`), so that a state holds `(D,)` vectors
    only. No loss outlives its generation, hence nothing is stale on a new batch.
    """

    options: DistributionOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of samples."""
        assert isinstance(options, DistributionOptions)
        return options.population

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """The samples, and the center: it has moved."""
        return cls.population_size(options) + 1

    def _initialize(self, start: Tensor) -> None:
        self._start: Tensor | None = start
        self._center = start[0].clone()
        self._center_batch: int | None = None  # where the center's loss is known
        self._asked: int | None = None
        self._scale = self.scale.to(start)
        self._draws = Draws(int(self.generator.integers(2**63)), start.device)
        self._before = self._draws.state_dict()
        self._vectors = self._moments()

    @abstractmethod
    def _moments(self) -> dict[str, Tensor]:
        """`(D,)` tensors that the strategy keeps beside the center, at their first values."""

    @abstractmethod
    def _sample(self, rows: Tensor) -> None:
        """Fill `(P, D)` with samples around `_center`."""

    @abstractmethod
    def _update(self, samples: Tensor, loss: Tensor) -> None:
        """Move `_center`, in place, by `(P, D)` samples with `(P,)` losses."""

    def ask(self, batch: int) -> Tensor:
        """The start rows; then the samples of this generation and, if its loss is not known, the center."""
        self._asked = batch
        if self._start is not None:
            return self._start.clone()
        population, known = self.options.population, batch == self._center_batch
        rows = self._center.new_empty(population + (not known), len(self._center))
        self._draws.load_state_dict(self._before)
        self._sample(rows[:population])
        if not known:
            rows[population] = self._center
        return rows if self.bounds is None else rows.clamp_(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the rows last asked for, and move the center."""
        loss = evaluation.loss.detach().to(self._center.device)
        if self._start is not None:
            self._center = self._start[loss.argmin()].clone()
            self._start, self._center_batch = None, self._asked
            return
        size = self.options.population
        if len(loss) > size:
            self._center_batch = self._asked
        before = self._center.clone()
        self._update(population[:size], loss[:size])
        if self.bounds is not None:
            self._center.clamp_(*self.bounds)
        if not torch.equal(before, self._center):
            self._center_batch = None
        self._before = self._draws.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """The distribution, the start if it is not evaluated yet, and the place in the random numbers."""
        return {
            "start": None if self._start is None else self._start.cpu().numpy().copy(),
            "center": self._center.cpu().numpy().copy(),
            "center_batch": self._center_batch,
            "vectors": {name: vector.cpu().numpy().copy() for name, vector in self._vectors.items()},
            "draws": {**self._before, "positions": dict(self._before["positions"])},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        like, start = self._center, state["start"]
        self._start = None if start is None else torch.from_numpy(np.array(start)).to(like)
        self._center = torch.from_numpy(np.array(state["center"])).to(like)
        self._center_batch = state["center_batch"]
        self._vectors = {name: torch.from_numpy(np.array(value)).to(like) for name, value in state["vectors"].items()}
        self._draws.load_state_dict(state["draws"])
        self._before = self._draws.state_dict()


def utilities_by_rank(loss: Tensor, utilities: Tensor) -> Tensor:
    """`(P,)` utility of each loss: the first of `utilities` for the lowest; equal losses share theirs evenly.

    Args:
        loss: `(P,)`; `+inf` marks a failed row and ranks last.
        utilities: `(P,)` by rank, best first.
    """
    _, place, count = torch.unique(loss, return_inverse=True, return_counts=True)
    rank = torch.empty_like(place)
    rank[torch.argsort(loss, stable=True)] = torch.arange(len(loss), device=loss.device)
    shared = utilities.new_zeros(len(count)).index_add_(0, place, utilities[rank])
    return torch.index_select(shared / count, 0, place)


def centered_ranks(loss: Tensor) -> Tensor:
    """Map `(P,)` losses to `(P,)` utilities in [-1/2, 1/2], lowest loss highest; they sum to zero.

    Args:
        loss: `(P,)`; `+inf` marks a failed row and ranks last; equal losses share their ranks.

    References: Salimans et al. 2017, arXiv:1703.03864, section 2.1 (fitness shaping).
    """
    return utilities_by_rank(loss, torch.linspace(0.5, -0.5, len(loss), dtype=loss.dtype, device=loss.device))
