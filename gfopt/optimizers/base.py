"""The contract between an optimizer and the loop: ask for rows to evaluate, be told their losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from gfopt.errors import ShapeError
from gfopt.types import Evaluation, Group


class Options(BaseModel):
    """An optimizer's options: typed, frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Optimizer(ABC):
    """Minimizes; knows no clock, no log, no data. The only mutable thing of a run.

    Args:
        start: `(P, D)` rows to start from, one network initialization a row; never modified. Rows beyond
            `population_size` are not used.
        options: an instance of the class's own `options_class`.
        generator: the run's own stream; nothing else is drawn from.
        scale: `(D,)` each gene's standard deviation under the network's own initialization; bounds,
            velocities and mutation strengths are relative to it.
        bounds: `(D,)` lowest and highest admissible values, or `None`.
        groups: name, slice and shape of every parameter.

    Attributes:
        needs_gradient: `True` refuses a problem without one before anything starts.
        wants_gradient: read before each `ask`.
        hold_batch: `True` keeps the batch of the step before.
        stopped: `True` once the optimizer has nothing more to try.

    Raises:
        ShapeError: if `start` is no `(P, D)` of at least `population_size` rows, or `scale` no `(D,)`.
    """

    options_class: ClassVar[type[Options]] = Options
    needs_gradient: ClassVar[bool] = False

    def __init__(
        self,
        start: Tensor,
        options: Options,
        generator: np.random.Generator,
        *,
        scale: Tensor,
        bounds: tuple[Tensor, Tensor] | None = None,
        groups: Sequence[Group] = (),
    ) -> None:
        if start.ndim != 2 or start.shape[0] == 0:
            raise ShapeError(f"start: expected shape (P, D) with P >= 1, got {tuple(start.shape)}")
        if scale.shape != start.shape[1:]:
            raise ShapeError(f"scale: expected shape {tuple(start.shape[1:])}, got {tuple(scale.shape)}")
        wanted = self.population_size(options)
        if start.shape[0] < wanted:
            raise ShapeError(f"start: expected at least {wanted} rows, one a member, got {start.shape[0]}")
        self.options = options
        self.generator = generator
        self.scale = scale
        self.bounds = bounds
        self.groups = tuple(groups)
        self.wants_gradient = self.needs_gradient
        self.hold_batch = False
        self.stopped = False
        self._initialize(start[:wanted].detach().clone())

    def _initialize(self, start: Tensor) -> None:  # noqa: B027 - an optimizer without state has nothing to do
        """Set up the state of step 0; called once, at the end of the constructor.

        Args:
            start: `(P, D)` with exactly `population_size` rows, the optimizer's own copy.
        """

    @classmethod
    def population_size(cls, options: Options) -> int:
        """Rows `P` that the optimizer wants to start from."""
        del options
        return 1

    @abstractmethod
    def ask(self, batch: int) -> Tensor:
        """`(Q, D)`: only the rows that need evaluating on `batch`; `Q` varies and may be 0.

        A new batch id makes losses from another batch stale: personal bests and elites are then among the
            rows.
        """

    @abstractmethod
    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the rows last asked for.

        Args:
            population: `(Q, D)` as returned by `ask`.
            evaluation: losses `(Q,)` where `+inf` marks a failed row, and gradients if `wants_gradient`.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, its random numbers included.

        Nested dicts and lists of str, int, float, bool, None and `np.ndarray`.
        """

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
