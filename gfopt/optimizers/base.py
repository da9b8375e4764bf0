"""The contract between an optimizer and the loop: ask for rows to evaluate, be told their losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from gfopt.errors import ConfigError, ShapeError, expectation
from gfopt.optimizers.space import Space
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
        options_class: what its options are checked against.
        needs_gradient: `True` refuses a problem without one before anything starts.
        max_dim: the largest `D` that it can handle; `None`: any that fits in memory.
        device: where its state lives: `any`, where the start rows are; `cpu`, in main memory, whence its rows travel.
        continuous: `False` for a genome of few values, as signs: its first rows are not the start, and rows recur.
        space: what tuning may choose each option from; no entry, no tuning.
        wants_gradient: read before each `ask`.
        hold_batch: `True` keeps the batch of the step before.
        stopped: `True` once the optimizer has nothing more to try.
        spent: share of the budget that is spent, in `[0, 1]`, set by whoever drives it before the above are read; for
            schedules that have an end, as of a learning rate. It is no part of the state.

    Raises:
        ShapeError: if `start` is no `(P, D)` of at least `population_size` rows, or `scale` no `(D,)`.
        ConfigError: if `D` is more than `max_dim`.
    """

    options_class: ClassVar[type[Options]] = Options
    needs_gradient: ClassVar[bool] = False
    max_dim: ClassVar[int | None] = None
    device: ClassVar[Literal["any", "cpu"]] = "any"
    continuous: ClassVar[bool] = True
    space: ClassVar[Space] = {}

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
        self.check_dim(options, start.shape[1])
        wanted = self.population_size(options)
        if start.shape[0] < wanted:
            raise ShapeError(f"start: expected at least {wanted} rows, one a member, got {start.shape[0]}")
        self.options = options
        self.generator = generator
        self.scale = scale
        self.bounds = bounds
        self.groups = tuple(groups)
        self.wants_gradient = self.uses_gradient(options)
        self.hold_batch = False
        self.stopped = False
        self.spent = 0.0
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

    @classmethod
    def uses_gradient(cls, options: Options) -> bool:
        """Whether a run with these options asks for gradients: `needs_gradient`, unless the options decide."""
        del options
        return cls.needs_gradient

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """Rows of an ordinary step on an unchanged batch; what a forecast of costs goes by."""
        return cls.population_size(options)

    @classmethod
    def check_dim(cls, options: Options, dim: int) -> None:
        """Refuse more parameters than the optimizer can handle with these options.

        Raises:
            ConfigError: naming the limit.
        """
        del options
        if cls.max_dim is not None and dim > cls.max_dim:
            fix = "Use another optimizer, or a random subspace (`subspace: {dim: ...}`)."
            raise ConfigError(f"{cls.__name__}: " + expectation(f"at most {cls.max_dim} parameters", dim, fix))

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
