"""Backprop's optimizers: torch.optim on the `(P, D)` matrix, its rows trained side by side.

Every update of these optimizers is element by element, so a row's path does not depend on the other rows.
"""

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
from gfopt.rng import undisturbed
from gfopt.types import Evaluation


class BackpropOptions(Options):
    """What all have in common.

    Attributes:
        learning_rate: step size, constant.
        population: rows trained side by side, each from a start of its own.
        weight_decay: pull towards zero: added to the gradient as `weight_decay * x` (in `adamw` to the step).
    """

    learning_rate: float = Field(0.01, gt=0)
    population: int = Field(1, ge=1)
    weight_decay: float = Field(0.0, ge=0)


class Backprop(Optimizer):
    """Gradient descent by one of torch's optimizers.

    A class below names the torch class and translates the options to its arguments.
    """

    needs_gradient = True
    torch_class: ClassVar[Callable[..., torch.optim.Optimizer]]
    options: BackpropOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The rows that are trained side by side."""
        assert isinstance(options, BackpropOptions)
        return options.population

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the torch class, beside the learning rate and the weight decay."""
        return {}

    def _initialize(self, start: Tensor) -> None:
        if "torch._dynamo" not in sys.modules:  # torch's optimizers load it, and it sets a variable of the environment
            with undisturbed():
                importlib.import_module("torch._dynamo")
        self._parameter = torch.nn.Parameter(start)
        self._optimizer = self.torch_class(
            [self._parameter],
            lr=self.options.learning_rate,
            weight_decay=self.options.weight_decay,
            **self.arguments(),
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
        if evaluation.gradient is None:
            raise NotDifferentiableError("gradient: " + expectation("a (P, D) tensor", "`none`"))
        self._parameter.grad = evaluation.gradient.detach().to(self._parameter)
        self._optimizer.step()
        self._parameter.grad = None
        if self.bounds is not None:
            with torch.no_grad():
                self._parameter.clamp_(*self.bounds)

    def state_dict(self) -> dict[str, Any]:
        """The rows and the moments that torch keeps of them."""
        inner = self._optimizer.state_dict()["state"].get(0, {})
        return {
            "parameters": self._parameter.detach().cpu().numpy().copy(),
            "moments": {name: _plain(value) for name, value in inner.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        with torch.no_grad():
            self._parameter.copy_(torch.as_tensor(np.array(state["parameters"])))
        whole = self._optimizer.state_dict()
        moments = {name: _tensor(value) for name, value in state["moments"].items()}
        self._optimizer.load_state_dict({**whole, "state": {0: moments} if moments else {}})


class SGDOptions(BackpropOptions):
    """Options of `sgd`.

    Attributes:
        momentum: share of the last step that is kept.
        nesterov: look ahead along the momentum.
    """

    learning_rate: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGDOptions:
        if self.nesterov and self.momentum == 0:
            raise ValueError("momentum: " + expectation("more than 0 with nesterov", self.momentum))
        return self


class SGD(Backprop):
    """Stochastic gradient descent with momentum."""

    options_class = SGDOptions
    torch_class = torch.optim.SGD
    options: SGDOptions

    def arguments(self) -> dict[str, Any]:
        """Momentum, and whether it is Nesterov's."""
        return {"momentum": self.options.momentum, "nesterov": self.options.nesterov}


class RMSpropOptions(BackpropOptions):
    """Options of `rmsprop`.

    Attributes:
        smoothing: decay of the running mean of squared gradients (torch's `alpha`).
        momentum: share of the last step that is kept.
        eps: added to the denominator.
    """

    learning_rate: float = Field(0.003, gt=0)
    smoothing: float = Field(0.99, ge=0, lt=1)
    momentum: float = Field(0.0, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)


class RMSprop(Backprop):
    """RMSprop (Tieleman and Hinton 2012, lecture 6.5)."""

    options_class = RMSpropOptions
    torch_class = torch.optim.RMSprop
    options: RMSpropOptions

    def arguments(self) -> dict[str, Any]:
        """The smoothing under torch's name, momentum and eps."""
        options = self.options
        return {"alpha": options.smoothing, "momentum": options.momentum, "eps": options.eps}


class AdamOptions(BackpropOptions):
    """Options of `adam` and `adamw`.

    Attributes:
        betas: decay of the running means of the gradient and of its square.
        eps: added to the denominator.
        amsgrad: divide by the largest second moment so far.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    amsgrad: bool = False

    @model_validator(mode="after")
    def _betas_in_range(self) -> AdamOptions:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas: " + expectation("two numbers in [0, 1)", list(self.betas)))
        return self


class Adam(Backprop):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

    options_class = AdamOptions
    torch_class: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam
    options: AdamOptions

    def arguments(self) -> dict[str, Any]:
        """The decays, eps and amsgrad."""
        options = self.options
        return {"betas": options.betas, "eps": options.eps, "amsgrad": options.amsgrad}


class AdamWOptions(AdamOptions):
    """Options of `adamw`: those of `adam`, with a weight decay by default."""

    weight_decay: float = Field(0.01, ge=0)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    options_class = AdamWOptions
    torch_class = torch.optim.AdamW


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else value


def _tensor(value: Any) -> Any:
    return torch.as_tensor(np.array(value)) if isinstance(value, np.ndarray) else value
