"""Adam and its relatives: running means of the gradient and of its square.

In the equations `x` are a row's parameters, `g` the gradient of its loss with weight decay added and clipping done,
`eta` the learning rate as the schedule has it; products and roots are element by element. All share

    m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2,
    m' = m / (1 - beta1^t),         v' = v / (1 - beta2^t)

at step `t = 1, 2, ...`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator

from gfopt.errors import expectation
from gfopt.optimizers._backprop import Backprop, BackpropOptions, rates
from gfopt.optimizers.space import Real


class MomentOptions(BackpropOptions):
    """What Adam and its relatives have in common.

    Betas and eps are those of Adam's paper; the learning rate of 0.01 was chosen on digits (the paper's 0.001 is for
    larger networks and longer runs).

    Attributes:
        betas: decay of the running means of the gradient and of its square.
        eps: added to the denominator.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)

    @model_validator(mode="after")
    def _betas_in_range(self) -> MomentOptions:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas: " + expectation("two numbers in [0, 1)", list(self.betas)))
        return self


class AdamOptions(MomentOptions):
    """Options of `adam` and `adamw`.

    Attributes:
        amsgrad: divide by the largest second moment so far (Reddi et al. 2018, arXiv:1904.09237).
    """

    amsgrad: bool = False


class Adam(Backprop):
    """Adam: the running mean of the gradient over the root of that of its square.

    `x <- x - eta m' / (sqrt(v') + eps)`.

    References: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    options_class = AdamOptions
    torch_class: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam
    options: AdamOptions
    space = rates(3e-4, 0.1)

    def arguments(self) -> dict[str, Any]:
        """The decays, eps and amsgrad."""
        options = self.options
        return {"betas": options.betas, "eps": options.eps, "amsgrad": options.amsgrad}


class AdamWOptions(AdamOptions):
    """Options of `adamw`: those of `adam`, with torch's weight decay by default."""

    weight_decay: float = Field(0.01, ge=0)


class AdamW(Adam):
    """Adam with decoupled weight decay.

    `x <- x - eta (m' / (sqrt(v') + eps) + lambda x)`, with the weight decay `lambda` left out of `g`.

    References: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    options_class = AdamWOptions
    torch_class = torch.optim.AdamW
    space = {**rates(3e-4, 0.1), "weight_decay": Real(1e-4, 0.3, log=True)}


class NAdamOptions(MomentOptions):
    """Options of `nadam`.

    Attributes:
        momentum_decay: how fast the momentum warms up to `beta1` (`psi`); 0.004 is the paper's.
    """

    momentum_decay: float = Field(0.004, ge=0)


class NAdam(Backprop):
    """Adam with Nesterov's momentum.

    With `mu_t = beta1 (1 - 0.96^(t psi) / 2)`:
    `x <- x - eta (mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i)) / (sqrt(v') + eps)`.

    References: Dozat 2016, "Incorporating Nesterov Momentum into Adam", algorithm 2.
    """

    options_class = NAdamOptions
    torch_class = torch.optim.NAdam
    options: NAdamOptions
    space = rates(3e-4, 0.1)

    def arguments(self) -> dict[str, Any]:
        """The decays, eps and the momentum's warm-up."""
        options = self.options
        return {"betas": options.betas, "eps": options.eps, "momentum_decay": options.momentum_decay}


class RAdamOptions(MomentOptions):
    """Options of `radam`: those of Adam and its relatives, with a higher rate for its slower beginning (on digits)."""

    learning_rate: float = Field(0.03, gt=0)


class RAdam(Backprop):
    """Rectified Adam: no division by the second moment while too few gradients were seen to know it.

    With `rho_inf = 2 / (1 - beta2) - 1` and `rho_t = rho_inf - 2 t beta2^t / (1 - beta2^t)`: where `rho_t > 5`,
    `x <- x - eta r_t m' / (sqrt(v') + eps)` with `r_t^2 = (rho_t - 4)(rho_t - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2)
    rho_t)`; before, `x <- x - eta m'`.

    References: Liu et al. 2020, arXiv:1908.03265, algorithm 2 (with 5 for its 4, as torch).
    """

    options_class = RAdamOptions
    torch_class = torch.optim.RAdam
    options: RAdamOptions
    space = rates(3e-4, 0.1)

    def arguments(self) -> dict[str, Any]:
        """The decays and eps."""
        return {"betas": self.options.betas, "eps": self.options.eps}
