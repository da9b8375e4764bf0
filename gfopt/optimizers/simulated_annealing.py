"""Simulated annealing: steps for the worse are taken too, the less often the cooler it is."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers._local_search import LocalSearch, LocalSearchOptions
from gfopt.optimizers.space import Real, Space

_CALIBRATION = 30  # proposals that tell what a usual change of the loss is


class SimulatedAnnealingOptions(LocalSearchOptions):
    """Options of `simulated-annealing`.

    Attributes:
        deviation: standard deviation of a gene's first steps, in units of its scale.
        last_deviation: that of the steps at the end of the budget; in between it falls geometrically.
        temperature: the first temperature, in units of the mean change of the loss (up or down) by a chain's first 30
            proposals.
        last_temperature: the temperature at the end of the budget, in the same units.
    """

    deviation: float = Field(0.1, gt=0)
    last_deviation: float = Field(0.02, gt=0)
    temperature: float = Field(0.1, gt=0)
    last_temperature: float = Field(0.001, gt=0)


class SimulatedAnnealing(LocalSearch):
    """Metropolis chains at a falling temperature.

    A step from `x` to `y` is taken with probability `min(1, exp(-(f(y) - f(x)) / T))`. With the share `t` of the budget
    that is spent, `T = T_0 (T_1 / T_0)^t`, and the deviations of the steps fall alike.

    References: Metropolis et al. 1953, J. Chem. Phys. 21; Kirkpatrick, Gelatt, Vecchi 1983, Science 220.
    """

    options_class = SimulatedAnnealingOptions
    options: SimulatedAnnealingOptions
    space: ClassVar[Space] = {
        "deviation": Real(0.02, 0.5, log=True),
        "last_deviation": Real(0.002, 0.05, log=True),
        "temperature": Real(0.01, 1.0, log=True),
        "last_temperature": Real(1e-4, 0.01, log=True),
    }

    def _first_memory(self) -> dict[str, Tensor]:
        zeros = torch.zeros_like(self._loss)
        return {"change": zeros, "proposals": zeros.clone()}

    def _deviation(self) -> Tensor:
        first, last = self.options.deviation, self.options.last_deviation
        return torch.full_like(self._loss, first * (last / first) ** self.spent)

    def _accept(self, candidate: Tensor, point: Tensor) -> Tensor:
        change, proposals = self._memory["change"], self._memory["proposals"]
        rise = candidate - point
        counted = (proposals < _CALIBRATION) & rise.isfinite()
        proposals += counted
        change += torch.where(counted, (rise.abs() - change) / proposals, 0.0)
        first, last = self.options.temperature, self.options.last_temperature
        warmth = first * (last / first) ** self.spent * change
        probability = torch.exp(-rise / warmth)
        numbers = self._draws.uniform_(torch.empty_like(point))
        return (candidate <= point) | (numbers < probability)
