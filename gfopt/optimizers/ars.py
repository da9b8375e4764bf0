"""Augmented random search: finite differences in the best of several random directions."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers import _passes as passes
from gfopt.optimizers._arrays import without_failures
from gfopt.optimizers._distribution import DistributionOptions, SearchDistribution
from gfopt.optimizers.space import Integer, Real, Space


class ARSOptions(DistributionOptions):
    """Options of `ars`.

    Attributes:
        population: samples of a generation, two on each direction (`2 N`).
        top_share: share of the directions that count: those with the lowest losses (`b / N`).
        deviation: standard deviation of a gene's samples, in units of its scale (`nu`).
        learning_rate: of the center, in units of scale (`alpha`).
    """

    top_share: float = Field(0.5, gt=0, le=1)
    deviation: float = Field(0.2, gt=0)
    learning_rate: float = Field(0.2, gt=0)


class ARS(SearchDistribution):
    """The basic search with top directions, and steps in units of the losses' standard deviation (V1-t).

    With `x_i = c + nu s d_i` and `y_i = c - nu s d_i` (`s` the scale, `d_i` normal), the `b` directions with the lowest
    `min(f(x_i), f(y_i))`, and `std` over their `2 b` losses: `c = c + alpha / (b std) sum (f(y_i) - f(x_i)) s d_i`.
    States of a policy, which V2 normalizes, have no counterpart here. A failed row counts as the highest loss of its
    generation.

    References: Mania, Guy, Recht 2018, arXiv:1803.07055, algorithm 2.
    """

    options_class = ARSOptions
    options: ARSOptions
    space: ClassVar[Space] = {
        "population": Integer(16, 256, log=True),
        "top_share": Real(0.1, 1.0),
        "deviation": Real(0.05, 1.0, log=True),
        "learning_rate": Real(0.05, 2.0, log=True),
    }

    def _moments(self) -> dict[str, Tensor]:
        return {}

    def _sample(self, rows: Tensor) -> None:
        half, deviation = len(rows) // 2, self.options.deviation * self._scale
        passes.spread_mirrored(self._center, deviation, self._draws.normal_(rows[:half]), rows[half:])

    def _update(self, samples: Tensor, loss: Tensor) -> None:
        half, options = len(samples) // 2, self.options
        pairs = without_failures(loss).to(torch.float64).view(2, half)
        count = max(1, round(options.top_share * half))
        top = torch.argsort(pairs.min(dim=0).values, stable=True)[:count]
        spread = pairs[:, top].std(correction=0)
        if spread == 0:
            return
        weight = torch.zeros_like(pairs)
        slope = (pairs[1, top] - pairs[0, top]) / (2 * options.deviation * count * spread)
        weight[0, top], weight[1, top] = slope, -slope  # half of it from either end of a line
        offset, _ = passes.weighted_moments(samples, self._center, weight.view(-1).to(samples))
        self._center.add_(offset, alpha=options.learning_rate)
