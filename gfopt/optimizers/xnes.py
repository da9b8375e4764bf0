"""Exponential natural evolution strategy: a center and a full covariance, moved along the natural gradient."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers._distribution import DistributionOptions, SearchDistribution, utilities_by_rank
from gfopt.optimizers.snes import snes_utilities
from gfopt.optimizers.space import Integer, Real, Space


class XNESOptions(DistributionOptions):
    """Options of `xnes`.

    Attributes:
        population: samples of a generation.
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma`).
        center_rate: learning rate of the center (`eta_mu`).
        size_rate: learning rate of the distribution's size (`eta_sigma`); `null` is the paper's,
            `(9 + 3 ln D) / (5 D sqrt(D))`.
        shape_rate: learning rate of its shape (`eta_B`); `null` is the same.
    """

    deviation: float = Field(1.0, gt=0)
    center_rate: float = Field(1.0, gt=0)
    size_rate: float | None = Field(None, gt=0)
    shape_rate: float | None = Field(None, gt=0)


class XNES(SearchDistribution):
    """Natural evolution strategy with a full covariance matrix; its memory and time grow with `D^2`.

    Samples are `x_i = c + s (A z_i)` (`s` the scale, `z_i` normal, `A = sigma B`). With utilities `u` by rank,
    `G = sum u_i z_i`, `M = sum u_i (z_i z_i' - I)`, its trace `tr` and `M_0 = M - tr/D I`: `c = c + eta_mu s (A G)`
    and `A = A exp(eta_sigma tr / (2 D)) exp(eta_B M_0 / 2)`.

    `M` has at most the rank `P`: its exponential is found in the span of the samples.

    References: Glasmachers, Schaul, Yi, Wierstra, Schmidhuber 2010, "Exponential natural evolution strategies", GECCO,
        algorithm 1 and table 1; Wierstra et al. 2014, JMLR 15, algorithm 5.
    """

    options_class = XNESOptions
    options: XNESOptions
    max_dim = 4096
    space: ClassVar[Space] = {
        "population": Integer(16, 256, log=True),
        "deviation": Real(0.1, 2.0, log=True),
        "center_rate": Real(0.3, 2.0, log=True),
    }

    def _moments(self) -> dict[str, Tensor]:
        return {"transform": torch.diag(torch.full_like(self._center, self.options.deviation))}

    def _sample(self, rows: Tensor) -> None:
        noise = self._draws.normal_(torch.empty_like(rows))
        torch.addcmul(self._center, noise @ self._vectors["transform"].mT, self._scale, out=rows)

    def _update(self, samples: Tensor, loss: Tensor) -> None:
        options, dim, transform = self.options, len(self._center), self._vectors["transform"]
        after = self._draws.state_dict()
        self._draws.load_state_dict(self._before)
        noise = self._draws.normal_(torch.empty_like(samples))  # the same again
        self._draws.load_state_dict(after)
        weight = utilities_by_rank(loss, snes_utilities(len(loss)).to(loss)).to(samples)
        self._center.addcmul_(transform @ (weight @ noise), self._scale, value=options.center_rate)
        size = options.size_rate or exponential_rate(dim)
        shape = options.shape_rate or exponential_rate(dim)
        # Utilities sum to 0: no identity is to be subtracted.
        trace = float((weight * noise.square().sum(dim=1)).sum())
        transform += exponential_change(transform, noise, weight * (shape / 2))
        transform *= math.exp((size - shape) * trace / (2 * dim))


def exponential_change(transform: Tensor, noise: Tensor, weight: Tensor) -> Tensor:
    """`A exp(Z' W Z) - A` for `(D, D)` `A`, `(P, D)` `Z` and the diagonal `(P,)` of `W`, in `O(D^2 P)`.

    With `Z' = Q R`, `exp(Z' W Z) = I + Q (exp(R W R') - I) Q'`.
    """
    basis, upper = torch.linalg.qr(noise.mT)
    values, vectors = torch.linalg.eigh(upper * weight @ upper.mT)
    turned = basis @ vectors
    change: Tensor = (transform @ turned * torch.expm1(values)) @ turned.mT
    return change


def exponential_rate(dim: int) -> float:
    """The learning rate `(9 + 3 ln D) / (5 D sqrt(D))` of size and shape (Glasmachers et al. 2010, table 1)."""
    return (9 + 3 * math.log(dim)) / (5 * dim * math.sqrt(dim))
