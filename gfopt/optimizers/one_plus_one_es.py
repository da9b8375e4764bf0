"""(1+1) evolution strategy: one parent, one child, and the one-fifth success rule for the step size."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers._local_search import LocalSearch, LocalSearchOptions
from gfopt.optimizers.space import Real, Space

# In units of scale: far outside of what helps, and no step becomes 0 or infinite.
_SMALLEST, _LARGEST = 1e-10, 1e10


class OnePlusOneOptions(LocalSearchOptions):
    """Options of `1+1-es`.

    Attributes:
        deviation: the first standard deviation of a gene's step, in units of its scale (`sigma`).
        growth: factor of the deviation after a success (`alpha`); after a failure it is `growth ** (-p / (1 - p))`,
            with `p` the rate of success.
        success_rate: share of successes at which the deviation stays what it is, on an unchanged batch.
        noisy_success_rate: the same for a step on a new batch, where a child also succeeds by chance: at 1/5 the steps
            grow until nothing but chance is left. 2/5 is what trains digits with minibatches.

    The defaults of `growth` and `success_rate` are those of Auger 2009 (1.5 and 1.5^(-1/4)).
    """

    deviation: float = Field(0.1, gt=0)
    growth: float = Field(1.5, gt=1)
    success_rate: float = Field(0.2, gt=0, lt=1)
    noisy_success_rate: float = Field(0.4, gt=0, lt=1)


class OnePlusOneES(LocalSearch):
    """(1+1)-ES with the one-fifth success rule, applied after every evaluation.

    A child `y = x + sigma s z` (`s` the scale, `z` normal) that is no worse than its parent `x` on the same batch
    replaces it. A better child multiplies `sigma` by `alpha`, a worse one by `alpha^(-1/4)`, so that it stays where
    one child in five is better. A child that is equal tells nothing about the step size.

    References: Rechenberg 1973, "Evolutionsstrategie"; Kern, Mueller, Hansen, Buche, Ocenasek, Koumoutsakos 2004,
        Natural Computing 3(1), section 3 (a rule for each evaluation); Auger 2009, "Benchmarking the (1+1) evolution
        strategy with one-fifth success rule on the BBOB-2009 function testbed".
    """

    options_class = OnePlusOneOptions
    options: OnePlusOneOptions
    space: ClassVar[Space] = {
        "deviation": Real(0.01, 1.0, log=True),
        "growth": Real(1.1, 2.0),
        "success_rate": Real(0.1, 0.4),
        "noisy_success_rate": Real(0.3, 0.48),
    }

    def _first_memory(self) -> dict[str, Tensor]:
        return {"deviation": self._loss.new_full(self._loss.shape, self.options.deviation)}

    def _deviation(self) -> Tensor:
        return self._memory["deviation"]

    def _accept(self, candidate: Tensor, point: Tensor) -> Tensor:
        options, grow = self.options, self.options.growth
        rate = options.success_rate if self._asked == self._batch else options.noisy_success_rate
        factor = torch.where(candidate < point, grow, grow ** (-rate / (1 - rate)))
        factor = torch.where(candidate == point, 1.0, factor)
        self._memory["deviation"].mul_(factor).clamp_(_SMALLEST, _LARGEST)
        return candidate <= point
