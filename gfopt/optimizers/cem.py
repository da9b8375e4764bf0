"""Cross-entropy method: the next generation is drawn from the normal distribution of this one's best."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers import _passes as passes
from gfopt.optimizers._distribution import DistributionOptions, SearchDistribution, utilities_by_rank
from gfopt.optimizers.space import Integer, Real, Space


class CEMOptions(DistributionOptions):
    """Options of `cem`.

    Attributes:
        population: samples of a generation.
        elite_share: share of them that the distribution is fitted to (`rho`).
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma`).
        center_rate: how far the center goes towards the elites' mean (`alpha`).
        deviation_rate: how far the variances go towards the elites' (`beta`).
        noise: standard deviation of what is added to a gene's samples at first, in units of its scale; its variance
            falls in a straight line and is 0 at the end of the budget. It keeps the deviations from shrinking too soon.
    """

    elite_share: float = Field(0.25, gt=0, le=1)
    deviation: float = Field(0.5, gt=0)
    center_rate: float = Field(1.0, gt=0)
    deviation_rate: float = Field(0.1, ge=0, le=1)
    noise: float = Field(0.05, ge=0)


class CEM(SearchDistribution):
    """Fits a normal distribution with a deviation for each gene to the elites of each generation.

    With the mean `m` and the variance `v` of the elites (unbiased, since a variance that is too small by
    `1 / elites` in every generation would soon be none), `c = c + alpha (m - c)` and
    `sigma^2 = sigma^2 + beta (v - sigma^2)`; samples have the variance `sigma^2 + Z_t`.

    References: Rubinstein 1999, Methodology and Computing in Applied Probability 1(2); de Boer, Kroese, Mannor,
        Rubinstein 2005, Annals of Operations Research 134, section 4 (smoothing); Szita and Lorincz 2006, Neural
        Computation 18(12) (extra noise `Z_t` that decreases).
    """

    options_class = CEMOptions
    options: CEMOptions
    space: ClassVar[Space] = {
        "population": Integer(16, 256, log=True),
        "elite_share": Real(0.1, 0.5),
        "deviation": Real(0.1, 2.0, log=True),
        "deviation_rate": Real(0.02, 1.0, log=True),
        "noise": Real(0.01, 0.3, log=True),
    }

    def _moments(self) -> dict[str, Tensor]:
        return {"variance": (self.options.deviation * self._scale).square_()}

    def _sample(self, rows: Tensor) -> None:
        extra = self.options.noise**2 * (1 - self.spent)
        deviation = self._vectors["variance"].addcmul(self._scale, self._scale, value=extra).sqrt_()
        passes.spread(self._center, deviation, self._draws.normal_(rows))

    def _update(self, samples: Tensor, loss: Tensor) -> None:
        options, variance = self.options, self._vectors["variance"]
        elites = min(max(1, round(options.elite_share * len(loss))), int((loss.isfinite()).sum()))
        if elites == 0:
            return
        share = torch.zeros_like(loss)
        share[:elites] = 1 / elites
        offset, square = passes.weighted_moments(samples, self._center, utilities_by_rank(loss, share).to(samples))
        if elites > 1:
            spread = square.addcmul_(offset, offset, value=-1).clamp_(min=0).mul_(elites / (elites - 1))
            variance.lerp_(spread, options.deviation_rate)
        self._center.add_(offset, alpha=options.center_rate)
