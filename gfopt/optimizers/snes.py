"""Separable natural evolution strategy: a center and one deviation a gene, moved along the natural gradient."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers import _passes as passes
from gfopt.optimizers._distribution import DistributionOptions, SearchDistribution, utilities_by_rank
from gfopt.optimizers.space import Integer, Real, Space


class SNESOptions(DistributionOptions):
    """Options of `snes`.

    Attributes:
        population: samples of a generation.
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma`).
        center_rate: learning rate of the center (`eta_mu`).
        deviation_rate: learning rate of the deviations (`eta_sigma`); `None` is the paper's,
            `(3 + ln D) / (5 sqrt(D))`.
    """

    deviation: float = Field(1.0, gt=0)
    center_rate: float = Field(1.0, gt=0)
    deviation_rate: float | None = Field(None, gt=0)


class SNES(SearchDistribution):
    """Natural evolution strategy with a separable normal distribution.

    References: Schaul, Glasmachers, Schmidhuber 2011, "High dimensions and heavy tails for natural evolution
        strategies", GECCO, algorithm 1 and table 1; Wierstra et al. 2014, JMLR 15, algorithm 6.
    """

    options_class = SNESOptions
    options: SNESOptions
    space: ClassVar[Space] = {
        "population": Integer(16, 256, log=True),
        "deviation": Real(0.2, 2.0, log=True),
        "center_rate": Real(0.3, 2.0, log=True),
        "deviation_rate": Real(0.005, 0.5, log=True),
    }

    def _moments(self) -> dict[str, Tensor]:
        return {"deviation": self.options.deviation * self._scale}

    def _sample(self, rows: Tensor) -> None:
        passes.spread(self._center, self._vectors["deviation"], self._draws.normal_(rows))

    def _update(self, samples: Tensor, loss: Tensor) -> None:
        options, center, deviation = self.options, self._center, self._vectors["deviation"]
        weight = utilities_by_rank(loss, snes_utilities(len(loss)).to(loss)).to(samples)
        # With s = (x - c) / sigma and utilities that sum to 0: sum u s and sum u (s**2 - 1), both times sigma**2.
        first, second = passes.weighted_moments(samples, center, weight)
        rate = options.deviation_rate or natural_rate(len(center))
        center.add_(first, alpha=options.center_rate)
        deviation.mul_(second.div_(deviation.square()).mul_(rate / 2).exp_())


def snes_utilities(population: int) -> Tensor:
    """`(P,)` utilities by rank, best first: `max(0, ln(P/2 + 1) - ln k)`, of sum 1, less `1/P`: they sum to zero.

    References: Schaul et al. 2011, table 1.
    """
    rank = torch.arange(1, population + 1, dtype=torch.float64)
    raw = (math.log(population / 2 + 1) - rank.log()).clamp_(min=0)
    return raw / raw.sum() - 1 / population


def natural_rate(dim: int) -> float:
    """The deviations' learning rate `(3 + ln D) / (5 sqrt(D))` (Schaul et al. 2011, table 1)."""
    return (3 + math.log(dim)) / (5 * math.sqrt(dim))
