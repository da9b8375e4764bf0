"""Statistics of one sample: layer, RMS, group, instance normalization and filter response normalization.

They know nothing of the other rows, so a batch of one works, and training and evaluation are the same.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from gfopt.errors import NetworkError, expectation
from gfopt.nn.normalization.base import ActivationNorm, NormOptions
from gfopt.nn.normalization.products import affine


class LayerNorm(ActivationNorm):
    """`mu`, `sigma^2 - eps`: mean and variance over a sample's units (Ba et al. 2016, arXiv:1607.06450).

    In a convolution over channels and positions.
    """

    least_units = 2  # one unit is its own mean: always 0
    neutral = "matrix"

    @classmethod
    def redundant(cls, inputs: int, units: int, options: NormOptions) -> int:
        """The common size of the weights, and one vector added to every row."""
        del units, options
        return inputs + 1

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over the units."""
        del members
        return F.layer_norm(z, z.shape[-1 - positions :], eps=self.eps)


class RMSNorm(ActivationNorm):
    """`mu = 0`, `sigma^2 - eps`: a sample's mean square (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    neutral = "matrix"

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`z / sigma` over the units."""
        del members
        return F.rms_norm(z, z.shape[-1 - positions :], eps=self.eps)


class GroupOptions(NormOptions):
    """Options of `group`.

    Attributes:
        groups: into how many groups the units fall; their number must be a multiple of it.
    """

    groups: int = Field(default=2, ge=1, strict=True)


class GroupNorm(ActivationNorm):
    """Layer normalization inside each of several groups of units (Wu & He 2018, arXiv:1803.08494)."""

    options_class = GroupOptions
    options: GroupOptions
    least_units = 2
    neutral = "matrix"

    @classmethod
    def check(cls, options: NormOptions, out_features: int, *, pictures: bool = False) -> None:
        """Refuse groups that do not divide the units, or that hold one unit only."""
        groups = getattr(options, "groups", 1)
        check_groups(groups, out_features)
        if out_features // groups < 2 and not pictures:
            fix = f"A group of one unit is always 0. Use at most {out_features // 2} groups, or more units."
            raise NetworkError("groups: " + expectation(f"fewer groups than the {out_features} units", groups, fix))

    @classmethod
    def redundant(cls, inputs: int, units: int, options: NormOptions) -> int:
        """For each group the size of its weights, and one vector added to its rows."""
        del units
        return int(getattr(options, "groups", 1)) * (inputs + 1)

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over the units of a group, and the positions."""
        del members
        channels = z.ndim - 1 - positions
        parts = z.reshape(*z.shape[:channels], self.options.groups, -1, *z.shape[channels + 1 :])
        return F.layer_norm(parts, parts.shape[-1 - positions :], eps=self.eps).reshape(z.shape)


class InstanceNorm(ActivationNorm):
    """Mean and variance over the positions of one channel of one sample (Ulyanov et al. 2016, arXiv:1607.08022)."""

    pictures_only = "its statistics run over the positions of a picture, of which a dense layer has one, always 0"
    neutral = "rows"

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over the positions."""
        del members
        return F.layer_norm(z, z.shape[-positions:], eps=self.eps)


class FilterResponseNorm(ActivationNorm):
    """A channel's mean square over the positions, then a learned floor (Singh & Krishnan 2020, arXiv:1911.09737).

    `h = max(g z / sqrt(mean z^2 + eps) + b, tau)`: the thresholded linear unit stands in for the activation, so the
    network's own should be `identity`.

    Attributes:
        threshold: `(out,)` tau, one for each channel; learned, 0 at the start.
    """

    pictures_only = "its statistic runs over the positions of a picture; of one number it leaves only the sign"
    neutral = "rows"

    def __init__(
        self, in_features: int, out_features: int, eps: float = 1e-5, options: NormOptions | None = None
    ) -> None:
        super().__init__(in_features, out_features, eps, options)
        self.threshold = nn.Parameter(torch.empty(out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The threshold at 0, where the unit is a rectifier."""
        nn.init.zeros_(self.threshold)

    def normalize(
        self, z: Tensor, gain: Tensor | None, shift: Tensor | None, *, positions: int = 0, members: bool = False
    ) -> Tensor:
        """`max(g z / sigma + b, tau)`."""
        response = affine(self.standardize(z, positions=positions, members=members), gain, shift, positions)
        return torch.maximum(response, self.threshold.reshape(-1, *[1] * positions))

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`z / sigma` over the positions."""
        del members
        return F.rms_norm(z, z.shape[-positions:], eps=self.eps)


def check_groups(groups: int, out_features: int) -> None:
    """Refuse a number of groups that does not divide the units.

    Raises:
        NetworkError: naming the numbers that do.
    """
    if out_features % groups:
        fits = [n for n in range(1, out_features) if out_features % n == 0]
        fix = f"Of {out_features}, these are divisors: {', '.join(map(str, fits[:12]))}."
        raise NetworkError("groups: " + expectation(f"a divisor of the {out_features} units", groups, fix))
