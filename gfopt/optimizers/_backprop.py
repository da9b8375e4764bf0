"""What backprop's optimizers share: rates, clipping and bounds of the `(P, D)` matrix of rows."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import NotDifferentiableError, expectation
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.schedules import CONSTANT, PlateauOptions, PlateauTracker, ScheduleOption
from gfopt.optimizers.space import Choice, Dimension, Real
from gfopt.rng import undisturbed
from gfopt.types import Evaluation

SCHEDULES: Mapping[str, Dimension] = {"schedule": Choice(("constant", "cosine", "one-cycle"))}
"""The schedules that tuning chooses from."""


def rates(low: float, high: float) -> dict[str, Dimension]:
    """A search space of learning rates between two ends, and of the schedules."""
    return {"learning_rate": Real(low, high, log=True), **SCHEDULES}


class GradientOptions(Options):
    """What all that follow gradients have in common.

    Attributes:
        learning_rate: step size, which `schedule` changes.
        population: rows trained side by side, each from a start of its own.
        weight_decay: pull towards zero: added to the gradient as `weight_decay * x` (in `adamw` to the step).
        schedule: factor of the learning rate over the run: `constant`, `step`, `cosine`, `one-cycle` or `plateau`, or a
            mapping with its options, as `{kind: cosine, warmup: 0.05}`. All but `plateau` go by the share of the budget
            that is spent; `plateau` by each row's losses.
    """

    learning_rate: float = Field(0.01, gt=0)
    population: int = Field(1, ge=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: ScheduleOption = CONSTANT


class BackpropOptions(GradientOptions):
    """Options of the rules that step along a gradient whose length matters.

    Attributes:
        clip_norm: a row's gradient that is longer is scaled down to this length (Pascanu et al. 2013,
            arXiv:1211.5063, algorithm 1); `null`: none is.
        clip_value: entries of the gradient are brought between minus this number and this number; `null`: none are.
    """

    clip_norm: float | None = Field(None, gt=0)
    clip_value: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one_way_to_clip(self) -> BackpropOptions:
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("clip_norm: " + expectation("either clip_norm or clip_value", "`both`"))
        return self


class GradientOptimizer(Optimizer):
    """Rows that follow gradients, each at a learning rate of its own."""

    needs_gradient = True
    options: GradientOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The rows that are trained side by side."""
        assert isinstance(options, GradientOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        schedule = self.options.schedule
        self._plateau: PlateauTracker | None = None
        if isinstance(schedule, PlateauOptions):
            self._plateau = PlateauTracker(schedule, len(start), start.device)

    def _rate(self) -> float:
        """The learning rate as the schedule has it now; `plateau` comes on top of it, row by row."""
        return self.options.learning_rate * self.options.schedule.at(self.spent)

    def state_dict(self) -> dict[str, Any]:
        """What the schedule remembers of the rows' losses."""
        return {"plateau": None if self._plateau is None else self._plateau.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])


class Backprop(GradientOptimizer):
    """Gradient descent by one of torch's optimizers.

    A class below names the torch class and translates the options to its arguments. Every update of these classes is
    element by element, so a row's path does not depend on the other rows. Where the rows' rates differ (`plateau`) the
    step that torch takes is shortened row by row, which is the same thing: what the rules remember does not depend on
    the rate, and the step, the decoupled weight decay included, is proportional to it.
    """

    torch_class: ClassVar[Callable[..., torch.optim.Optimizer]]

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the torch class, beside the learning rate and the weight decay."""
        return {}

    def _initialize(self, start: Tensor) -> None:
        super()._initialize(start)
        if "torch._dynamo" not in sys.modules:  # torch's optimizers load it, and it sets a variable of the environment
            with undisturbed():
                importlib.import_module("torch._dynamo")
        self._parameter = torch.nn.Parameter(start)
        self._optimizer = self._build()

    def _build(self) -> torch.optim.Optimizer:
        options = self.options
        return self.torch_class(
            [self._parameter], lr=options.learning_rate, weight_decay=options.weight_decay, **self.arguments()
        )

    def ask(self, batch: int) -> Tensor:
        """All rows: a gradient step needs each row's gradient on the batch at hand."""
        del batch
        return self._parameter.detach().clone()

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """One gradient step; with bounds, its result is projected onto them.

        Raises:
            NotDifferentiableError: if the evaluation holds no gradient.
        """
        del population
        self._optimizer.param_groups[0]["lr"] = self._rate()
        self._parameter.grad = self._clipped(gradient_of(evaluation).to(self._parameter))
        before = None if self._plateau is None else self._parameter.detach().clone()
        self._optimizer.step()
        self._parameter.grad = None
        with torch.no_grad():
            if self._plateau is not None and before is not None:
                self._plateau.update(evaluation.loss)
                share = self._plateau.factor.to(before)[:, None]
                self._parameter.copy_(torch.lerp(before, self._parameter.detach(), share))
            if self.bounds is not None:
                self._parameter.clamp_(*self.bounds)

    def _clipped(self, gradient: Tensor) -> Tensor:
        """`(P, D)` as the options clip it, row by row as `torch.nn.utils.clip_grad_norm_` does."""
        options = self.options
        if not isinstance(options, BackpropOptions):
            return gradient
        if options.clip_norm is not None:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            share: Tensor = (options.clip_norm / (norm + 1e-6)).clamp_max(1.0)
            return gradient * share
        if options.clip_value is not None:
            return gradient.clamp(-options.clip_value, options.clip_value)
        return gradient

    def state_dict(self) -> dict[str, Any]:
        """The rows, the moments that torch keeps of them, and the schedule's memory."""
        inner = self._optimizer.state.get(self._parameter, {})
        return {
            **super().state_dict(),
            "parameters": self._parameter.detach().cpu().numpy().copy(),
            "moments": {name: _plain(value) for name, value in inner.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        with torch.no_grad():
            self._parameter.copy_(torch.as_tensor(np.array(state["parameters"])))
        # Not through torch's own method, which casts scalars such as the product of momenta to the rows' dtype.
        device = self._parameter.device
        moments = {name: _tensor(value, device) for name, value in state["moments"].items()}
        self._optimizer.state.clear()
        if moments:
            self._optimizer.state[self._parameter] = moments


def gradient_of(evaluation: Evaluation) -> Tensor:
    """The `(Q, D)` gradient of an evaluation.

    Raises:
        NotDifferentiableError: if it holds none.
    """
    if evaluation.gradient is None:
        raise NotDifferentiableError("gradient: " + expectation("a (P, D) tensor", "`none`"))
    return evaluation.gradient.detach()


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else value


def _tensor(value: Any, device: torch.device) -> Any:
    """An array as a tensor where torch keeps it: scalars, as the number of steps, on the CPU."""
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.as_tensor(np.array(value))
    return tensor.to(device) if tensor.ndim else tensor
