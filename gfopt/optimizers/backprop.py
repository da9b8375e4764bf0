"""Backprop's first-order rules: sgd, rprop, and those that divide by the size of past gradients.

In the equations `x` are a row's parameters, `g` the gradient of its loss with weight decay added and clipping done,
`eta` the learning rate as the schedule has it; products and roots are element by element.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import expectation
from gfopt.optimizers._backprop import Backprop, BackpropOptions, GradientOptions, rates
from gfopt.optimizers.schedules import ConstantOptions
from gfopt.optimizers.space import Real


class SGDOptions(BackpropOptions):
    """Options of `sgd`.

    The momentum is the one in general use (Sutskever et al. 2013); the learning rate was chosen on digits.

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
    """Stochastic gradient descent with momentum.

    `v <- mu v + g`, `x <- x - eta v`; Nesterov's: `x <- x - eta (g + mu v)` with the new `v`. `mu` is the momentum.

    References: Polyak 1964; Nesterov 1983; Sutskever, Martens, Dahl, Hinton 2013, "On the importance of initialization
        and momentum in deep learning", eqs. 1 to 4 (torch's form leaves `eta` out of `v`).
    """

    options_class = SGDOptions
    torch_class = torch.optim.SGD
    options: SGDOptions
    space = {**rates(0.003, 1.0), "momentum": Real(0.5, 0.99)}

    def arguments(self) -> dict[str, Any]:
        """Momentum, and whether it is Nesterov's."""
        return {"momentum": self.options.momentum, "nesterov": self.options.nesterov}


class RMSpropOptions(BackpropOptions):
    """Options of `rmsprop`.

    Smoothing and eps are torch's; the learning rate was chosen on digits.

    Attributes:
        smoothing: decay of the running mean of squared gradients (`alpha`).
        momentum: share of the last step that is kept.
        eps: added to the denominator.
        centered: divide by the running standard deviation of the gradients in place of their root mean square.
    """

    learning_rate: float = Field(0.003, gt=0)
    smoothing: float = Field(0.99, ge=0, lt=1)
    momentum: float = Field(0.0, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    centered: bool = False


class RMSprop(Backprop):
    """RMSprop: each step is divided by the root mean square of the last gradients.

    `s <- alpha s + (1 - alpha) g^2`, `v <- mu v + g / (sqrt(s) + eps)`, `x <- x - eta v`; centered with
    `sqrt(s - m^2)`, `m` the running mean of `g`.

    References: Tieleman and Hinton 2012, "Neural Networks for Machine Learning", lecture 6.5; Graves 2013,
        arXiv:1308.0850, eqs. 38 to 41 (centered).
    """

    options_class = RMSpropOptions
    torch_class = torch.optim.RMSprop
    options: RMSpropOptions
    space = {**rates(1e-4, 0.03), "smoothing": Real(0.8, 0.999)}

    def arguments(self) -> dict[str, Any]:
        """The smoothing under torch's name, momentum, eps, and whether it is centered."""
        options = self.options
        return {
            "alpha": options.smoothing,
            "momentum": options.momentum,
            "eps": options.eps,
            "centered": options.centered,
        }


class AdagradOptions(BackpropOptions):
    """Options of `adagrad`.

    Eps is torch's; the learning rate was chosen on digits (torch's 0.01 is too low for the few steps of a comparison).

    Attributes:
        rate_decay: the learning rate is divided by `1 + rate_decay * steps`.
        eps: added to the denominator.
    """

    learning_rate: float = Field(0.1, gt=0)
    rate_decay: float = Field(0.0, ge=0)
    eps: float = Field(1e-10, gt=0)


class Adagrad(Backprop):
    """Adagrad: each step is divided by the root of the sum of all squared gradients.

    `s <- s + g^2`, `x <- x - eta g / (sqrt(s) + eps)`.

    References: Duchi, Hazan, Singer 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", figure 1 (the diagonal matrix).
    """

    options_class = AdagradOptions
    torch_class = torch.optim.Adagrad
    options: AdagradOptions
    space = rates(0.003, 1.0)

    def arguments(self) -> dict[str, Any]:
        """The decay of the rate, and eps."""
        return {"lr_decay": self.options.rate_decay, "eps": self.options.eps}


class AdadeltaOptions(BackpropOptions):
    """Options of `adadelta`.

    The learning rate of 1 is the paper's, as is the smoothing of 0.95; eps, which sets the size of the first steps, was
    chosen on digits (the paper's 1e-6 takes thousands of steps to get going).

    Attributes:
        smoothing: decay of the running means of squared gradients and squared steps (`rho`).
        eps: added to both of them.
    """

    learning_rate: float = Field(1.0, gt=0)
    smoothing: float = Field(0.95, ge=0, lt=1)
    eps: float = Field(1e-4, gt=0)


class Adadelta(Backprop):
    """Adadelta: the root mean square of the last steps over that of the last gradients is the rate.

    `s <- rho s + (1 - rho) g^2`, `delta = sqrt(u + eps) / sqrt(s + eps) g`, `u <- rho u + (1 - rho) delta^2`,
    `x <- x - eta delta`.

    References: Zeiler 2012, arXiv:1212.5701, algorithm 1.
    """

    options_class = AdadeltaOptions
    torch_class = torch.optim.Adadelta
    options: AdadeltaOptions
    space = {**rates(0.1, 10.0), "eps": Real(1e-6, 1e-2, log=True)}

    def arguments(self) -> dict[str, Any]:
        """The smoothing under torch's name, and eps."""
        return {"rho": self.options.smoothing, "eps": self.options.eps}


class RpropOptions(GradientOptions):
    """Options of `rprop`.

    All defaults are the paper's (a first step of 0.1, 0.5 and 1.2, 1e-6 and 50), but for the first step, chosen on
    digits. There is nothing to schedule and nothing to clip: steps adapt, and only the gradient's signs count.

    Attributes:
        learning_rate: size of the first step of every parameter.
        shrink: what a step is multiplied by when the gradient's sign has changed (`eta-`).
        grow: what it is multiplied by when the sign is the same (`eta+`).
        smallest_step: no step is smaller.
        largest_step: no step is larger.
    """

    learning_rate: float = Field(0.01, gt=0)
    shrink: float = Field(0.5, gt=0, lt=1)
    grow: float = Field(1.2, gt=1)
    smallest_step: float = Field(1e-6, gt=0)
    largest_step: float = Field(50.0, gt=0)

    @model_validator(mode="after")
    def _nothing_to_schedule(self) -> RpropOptions:
        if self.schedule != ConstantOptions(kind="constant"):
            fix = "Rprop adapts its steps by itself; use sgd, rmsprop or adam with a schedule."
            raise ValueError("schedule: " + expectation("constant", self.schedule.kind, fix))
        if self.largest_step < self.smallest_step:
            limit = f"at least the smallest step, {self.smallest_step:g}"
            raise ValueError("largest_step: " + expectation(limit, self.largest_step))
        return self


class Rprop(Backprop):
    """Resilient backpropagation: a step of its own for every parameter, in the direction of the gradient's sign.

    `D <- eta+ D` where the signs of `g` and of the `g` before agree, `eta- D` where they differ (then `g` is taken as
    0, so that this parameter stays and the next step is free), within the limits; `x <- x - D sign(g)`. Meant for
    full batches: on minibatches signs change by chance.

    References: Riedmiller and Braun 1993, "A direct adaptive method for faster backpropagation learning: the RPROP
        algorithm", eqs. 4 to 7; without weight backtracking, which is torch's form (iRprop-, Igel and Huesken 2000).
    """

    options_class = RpropOptions
    torch_class = torch.optim.Rprop
    options: RpropOptions
    space = {"learning_rate": Real(1e-4, 0.1, log=True), "grow": Real(1.05, 1.5), "shrink": Real(0.3, 0.8)}

    def _build(self) -> torch.optim.Optimizer:
        """Torch's, which knows no weight decay."""
        options = self.options
        return torch.optim.Rprop(
            [self._parameter],
            lr=options.learning_rate,
            etas=(options.shrink, options.grow),
            step_sizes=(options.smallest_step, options.largest_step),
        )

    def _clipped(self, gradient: Tensor) -> Tensor:
        """A copy, which torch may write to, with the weight decay added."""
        return gradient + self.options.weight_decay * self._parameter.detach()
