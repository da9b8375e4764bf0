"""What methods share that try a step from one point: the points, their losses on the batch, repeatable steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gfopt.draws import Draws
from gfopt.optimizers._arrays import to_array, to_tensor
from gfopt.optimizers.base import Optimizer, Options
from gfopt.types import Evaluation


class LocalSearchOptions(Options):
    """Options of every method that goes from one point to the next.

    Attributes:
        population: searches side by side, each from a start row of its own; they know nothing of each other.
    """

    population: int = Field(1, ge=1)


class LocalSearch(Optimizer):
    """Tries a normally distributed step from each point, and takes it or leaves it.

    Losses of another batch do not compare, so on a new batch the points are asked again behind the candidates: two
    rows a search instead of one, all of them charged.

    Candidates are not kept: the same counters give them again (see `gfopt.draws`).
    """

    options: LocalSearchOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of searches."""
        assert isinstance(options, LocalSearchOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        self._points = start if self.bounds is None else start.clamp_(*self.bounds)
        self._loss = start.new_full((len(start),), torch.inf, dtype=torch.float64)  # for differences of large ones
        self._batch: int | None = None  # where the points' losses are from
        self._asked: int | None = None
        self._scale = self.scale.to(start)
        self._draws = Draws(int(self.generator.integers(2**63)), start.device)
        self._before = self._draws.state_dict()
        self._memory = self._first_memory()

    @abstractmethod
    def _first_memory(self) -> dict[str, Tensor]:
        """`(P,)` numbers that the method keeps of each search, at their first values."""

    @abstractmethod
    def _deviation(self) -> Tensor:
        """`(P,)` standard deviation of each search's steps, in units of scale."""

    @abstractmethod
    def _accept(self, candidate: Tensor, point: Tensor) -> Tensor:
        """`(P,)` which steps are taken, by `(P,)` losses on the same batch; updates the memory."""

    def ask(self, batch: int) -> Tensor:
        """The start rows; then a candidate of each search and, if their losses are not known, the points."""
        self._asked = batch
        if self._batch is None:
            return self._points.clone()
        count, dim = self._points.shape
        rows = self._points.new_empty(count if batch == self._batch else 2 * count, dim)
        self._draws.load_state_dict(self._before)
        candidates = self._draws.normal_(rows[:count])
        candidates.mul_(self._scale).mul_(self._deviation().to(candidates)[:, None]).add_(self._points)
        rows[count:] = self._points[: len(rows) - count]
        return rows if self.bounds is None else rows.clamp_(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the rows last asked for, and the steps that are accepted."""
        count, loss = len(self._points), evaluation.loss.detach().to(self._loss)
        if self._batch is None:
            self._loss = loss.clone()
        else:
            if len(loss) > count:
                self._loss = loss[count:].clone()
            taken = self._accept(loss[:count], self._loss).nonzero().squeeze(1)
            self._points[taken], self._loss[taken] = population[taken].to(self._points), loss[taken]
            self._before = self._draws.state_dict()
        self._batch = self._asked

    def state_dict(self) -> dict[str, Any]:
        """The points with their losses, what is kept of each search, and the place in the random numbers."""
        return {
            "points": to_array(self._points),
            "loss": to_array(self._loss),
            "batch": self._batch,
            "memory": {name: to_array(value) for name, value in self._memory.items()},
            "draws": {**self._before, "positions": dict(self._before["positions"])},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        like = self._points
        self._points, self._loss = to_tensor(state["points"], like), to_tensor(state["loss"], self._loss)
        self._batch = state["batch"]
        self._memory = {name: to_tensor(value, self._loss) for name, value in state["memory"].items()}
        self._draws.load_state_dict(state["draws"])
        self._before = self._draws.state_dict()
