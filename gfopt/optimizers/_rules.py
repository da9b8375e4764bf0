"""What makes a step of an estimated gradient: plain momentum, Adam, ClipUp, or one of torch's optimizers."""

from __future__ import annotations

import importlib
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from gfopt.optimizers._arrays import to_array, to_tensor
from gfopt.rng import undisturbed

RuleName: TypeAlias = Literal["adam", "sgd", "adamw", "adamax", "nadam", "radam", "rmsprop", "adagrad", "adadelta"]
Betas: TypeAlias = tuple[float, float]
_EPSILON = 1e-8  # Adam's, far below any gradient of ranks


class Rule(ABC):
    """Turns the estimated gradients of a run into steps of its center."""

    @abstractmethod
    def step(self, gradient: Tensor) -> Tensor:
        """`(D,)` step per unit of learning rate, in units of scale, for a `(D,)` ascent direction in them."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on: plain values and arrays."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""


def make_rule(name: RuleName, betas: Betas, center: Tensor) -> Rule:
    """The rule `name`.

    Args:
        name: `adam` and `sgd` are gfopt's own; all others are torch's optimizers of that name.
        betas: how much is kept of the average gradient and of its average square, by the rules that have such.
        center: `(D,)` of the gradients' type and device.
    """
    if name == "sgd":
        return Momentum(betas, center)
    return Adam(betas, center) if name == "adam" else TorchRule(name, betas, center)


class _Averages(Rule):
    """A rule whose state is a few tensors."""

    def __init__(self, betas: Betas, center: Tensor) -> None:
        self.betas = betas
        self.averages = self._first(center)

    @abstractmethod
    def _first(self, center: Tensor) -> dict[str, Tensor]:
        """The tensors at their first values."""

    def state_dict(self) -> dict[str, Any]:
        """The averages."""
        return {name: to_array(value) for name, value in self.averages.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.averages = {name: to_tensor(state[name], value) for name, value in self.averages.items()}


class Momentum(_Averages):
    """The running sum `v = beta v + g`."""

    def _first(self, center: Tensor) -> dict[str, Tensor]:
        return {"average": torch.zeros_like(center)}

    def step(self, gradient: Tensor) -> Tensor:
        """The running sum."""
        return self.averages["average"].mul_(self.betas[0]).add_(gradient)


class Adam(_Averages):
    """The average gradient over the root of its average square, both unbiased (Kingma and Ba 2015)."""

    def _first(self, center: Tensor) -> dict[str, Tensor]:
        zeros = torch.zeros_like(center)
        return {"average": zeros, "average_square": zeros.clone(), "steps": zeros.new_zeros(())}

    def step(self, gradient: Tensor) -> Tensor:
        """About 1 for a gene whose gradient keeps its sign."""
        average, square, steps = self.averages.values()
        keep, keep_square = self.betas
        steps += 1
        average.lerp_(gradient, 1 - keep)
        square.mul_(keep_square).addcmul_(gradient, gradient, value=1 - keep_square)
        unbiased = (square / (1 - keep_square**steps)).sqrt_().add_(_EPSILON)
        return average / (1 - keep**steps) / unbiased


class ClipUp(_Averages):
    """Normalized gradients with momentum, and a speed limit; lengths are root mean squares over the genes.

    `v = beta v + g / rms(g)`, shortened to `rms(v) <= v_max / alpha` (all per unit of the learning rate `alpha`). In
    the paper lengths are Euclidean; the root mean square makes one setting serve any number of genes.

    References: Toklu, Liskowski, Srivastava 2020, arXiv:2008.02387, algorithm 1.
    """

    def __init__(self, betas: Betas, center: Tensor, limit: float) -> None:
        super().__init__(betas, center)
        self.limit = limit

    def _first(self, center: Tensor) -> dict[str, Tensor]:
        return {"velocity": torch.zeros_like(center)}

    def step(self, gradient: Tensor) -> Tensor:
        """The velocity."""
        velocity, length = self.averages["velocity"].mul_(self.betas[0]), _rms(gradient)
        if length > 0:
            velocity.add_(gradient / length)
        speed = _rms(velocity)
        return velocity.mul_(self.limit / speed) if speed > self.limit else velocity


class TorchRule(Rule):
    """One of torch's optimizers, with its own defaults but for the betas, on the center in units of scale.

    It sees the gradient alone: its parameter is put back to 0 after each step, so that what it did is read off without
    rounding. Weight decay is not its business.
    """

    classes: ClassVar[dict[str, str]] = {
        "adamw": "AdamW",
        "adamax": "Adamax",
        "nadam": "NAdam",
        "radam": "RAdam",
        "rmsprop": "RMSprop",
        "adagrad": "Adagrad",
        "adadelta": "Adadelta",
    }

    def __init__(self, name: RuleName, betas: Betas, center: Tensor) -> None:
        if "torch._dynamo" not in sys.modules:  # torch's optimizers load it, and it sets a variable of the environment
            with undisturbed():
                importlib.import_module("torch._dynamo")
        own: dict[str, Any] = {"weight_decay": 0.0}
        if name == "rmsprop":
            own["alpha"] = betas[1]
        elif name == "adadelta":
            own["rho"] = betas[1]
        elif name != "adagrad":
            own["betas"] = betas
        made = cast("Callable[..., torch.optim.Optimizer]", getattr(torch.optim, self.classes[name]))
        self._parameter = torch.nn.Parameter(torch.zeros_like(center))
        self._optimizer = made([self._parameter], lr=1.0, **own)

    def step(self, gradient: Tensor) -> Tensor:
        """What torch's optimizer does to a parameter of zeros at learning rate 1."""
        self._parameter.grad = -gradient  # it descends
        self._optimizer.step()
        step = self._parameter.detach().clone()
        self._parameter.grad = None
        with torch.no_grad():
            self._parameter.zero_()
        return step

    def state_dict(self) -> dict[str, Any]:
        """The moments that torch keeps."""
        moments = self._optimizer.state[self._parameter]
        return {name: to_array(value) if isinstance(value, Tensor) else value for name, value in moments.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken; torch's own way would change the type of some moments."""
        device = self._parameter.device
        self._optimizer.state[self._parameter] = {
            # Counters stay in main memory, where torch wants them.
            name: torch.from_numpy(np.array(value)).to(device if value.ndim else "cpu")
            if isinstance(value, np.ndarray)
            else value
            for name, value in state.items()
        }


def _rms(vector: Tensor) -> float:
    """Root mean square of a `(D,)` vector."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64)) / math.sqrt(len(vector))
