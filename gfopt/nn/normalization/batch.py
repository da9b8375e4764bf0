"""Batch normalization and its nearest relatives: statistics of each channel over the rows of a batch."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor, nn

from gfopt.nn.normalization.base import ActivationNorm, NormOptions
from gfopt.nn.normalization.products import DENSE, Product
from gfopt.nn.normalization.statistics import Means, Moments, RowStatistics, Statistics
from gfopt.nn.normalization.weights import lengths, over_length


class BatchDependent(ActivationNorm):
    """Standardizes by statistics of the batch, which `statistics` gathers, remembers and applies.

    Attributes:
        statistics: holds what is remembered, as buffers that are never genes; its `reset_parameters` forgets them.
            Whoever evaluates populations swaps it for one without memory; only such a one takes stacked members.
    """

    of_batch = True
    statistics: nn.Module

    def __init__(
        self, in_features: int, out_features: int, eps: float = 1e-5, options: NormOptions | None = None
    ) -> None:
        super().__init__(in_features, out_features, eps, options)
        self.statistics = self.make_statistics()

    @abstractmethod
    def make_statistics(self) -> nn.Module:
        """A layer without parameters that has seen no batch."""

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over every axis but the channels and, if there is one, that of the members."""
        standardized: Tensor
        if members:
            standardized = self.statistics(z)
            return standardized
        last = z.movedim(-1 - positions, -1)
        rows = self.statistics(last.flatten(0, -2), last.shape[1:-1].numel())
        standardized = rows.reshape(last.shape).movedim(-1, -1 - positions)
        return standardized


class BatchNorm(BatchDependent):
    """`mu`, `sigma^2 - eps`: mean and variance over the batch (Ioffe & Szegedy 2015, arXiv:1502.03167).

    `statistics` is torch's own layer without parameters.
    """

    neutral = "rows"

    def make_statistics(self) -> nn.Module:
        """Torch's layer; it takes positions too."""
        return nn.BatchNorm1d(self.out_features, eps=self.eps, affine=False)

    def normalize(
        self, z: Tensor, gain: Tensor | None, shift: Tensor | None, *, positions: int = 0, members: bool = False
    ) -> Tensor:
        """`g * (z - mu) / sigma + b`, in one pass where a layer without memory stands in for `statistics`."""
        fused = getattr(self.statistics, "forward_members" if members else "normalize", None)
        if fused is None:
            return super().normalize(z, gain, shift, positions=positions, members=members)
        if members:
            gain, shift = (v.expand(len(z), -1) if v is not None and v.ndim == 1 else v for v in (gain, shift))
            together: Tensor = fused(z, gain, shift)
            return together
        channels: Tensor = fused(_channels_second(z, positions), gain, shift)
        return _channels_back(channels, z, positions)

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over every axis but the channels and, if there is one, that of the members."""
        if members:  # members become channels, so that nobody's statistics see another's rows
            channels: Tensor = self.statistics(z.transpose(0, 1).flatten(1))
            return channels.reshape(z.shape[1], z.shape[0], z.shape[2]).transpose(0, 1)
        return _channels_back(self.statistics(_channels_second(z, positions)), z, positions)


def _channels_second(z: Tensor, positions: int) -> Tensor:
    """`(B, C)`, or `(B, C, L)` with all other axes in one, as torch's layer wants it."""
    if z.ndim == 2:
        return z
    return z.movedim(-1 - positions, 1).flatten(2)


def _channels_back(channels: Tensor, z: Tensor, positions: int) -> Tensor:
    if z.ndim == 2:
        return channels
    return channels.reshape(z.movedim(-1 - positions, 1).shape).movedim(1, -1 - positions)


class MeanOnlyBatchNorm(BatchDependent):
    """`mu`: mean over the batch, `sigma = 1` (Salimans & Kingma 2016, section 2.2)."""

    has_gain = False

    def make_statistics(self) -> RowStatistics:
        """The means."""
        return Means(self.out_features)


class WeightMeanNorm(MeanOnlyBatchNorm):
    """Weight normalization followed by mean-only batch normalization (Salimans & Kingma 2016, section 2.2)."""

    has_gain = True
    acts_on = "both"
    neutral = "rows"

    def forward(
        self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None, product: Product = DENSE
    ) -> Tensor:
        """`g w / |w| x - mu + b`."""
        rows = product.matrix(weight)
        directions = over_length(rows, lengths(rows, self.eps), gain)
        return super().forward(x, product.from_matrix(directions, weight), None, shift, product)


class GhostOptions(NormOptions):
    """Options of `ghost`.

    Attributes:
        size: rows of a ghost batch; the last one takes what is left over.
    """

    size: int = Field(default=32, ge=2, strict=True)


class GhostMoments(Moments):
    """Moments of the whole batch for evaluation; in training those of each ghost batch of `size` samples."""

    def __init__(self, channels: int, eps: float, size: int) -> None:
        super().__init__(channels, eps)
        self.size = size

    def forward(self, rows: Tensor, per_sample: int = 1) -> Tensor:
        """Each ghost batch by its own moments; the averages are those of the whole batch."""
        if not self.training or self.reference_rows:
            return super().forward(rows, per_sample)
        if self.remember:
            self._average(self.collect(rows))
        samples = rows.shape[-2] // per_sample
        ghosts = max(1, samples // self.size)
        ends = [(i + 1) * self.size * per_sample for i in range(ghosts - 1)]
        parts = torch.tensor_split(rows, ends, dim=-2)
        return torch.cat([self.apply_to(part, self.collect(part)) for part in parts], dim=-2)


class GhostBatchNorm(BatchDependent):
    """Batch normalization over parts of the batch (Hoffer et al. 2017, arXiv:1705.08741)."""

    options_class = GhostOptions
    options: GhostOptions
    neutral = "rows"

    def make_statistics(self) -> RowStatistics:
        """Moments of each part."""
        return GhostMoments(self.out_features, self.eps, self.options.size)


class RenormOptions(NormOptions):
    """Options of `batch_renorm`.

    Attributes:
        r_max: bound of the correction of the standard deviation, between `1 / r_max` and `r_max`.
        d_max: bound of the correction of the mean, in standard deviations.
    """

    r_max: float = Field(default=3.0, ge=1)
    d_max: float = Field(default=5.0, ge=0)


class RenormMoments(Moments):
    """Moments of the batch, corrected towards remembered ones within bounds.

    A population remembers nothing: there the reference rows take the place of the running averages, and without
    reference rows nothing is corrected, which is batch normalization.
    """

    def __init__(self, channels: int, eps: float, options: RenormOptions) -> None:
        super().__init__(channels, eps)
        self.options = options

    def forward(self, rows: Tensor, per_sample: int = 1) -> Tensor:
        """`(z - mu_B) / sigma_B * r + d`, with no gradient through `r` and `d`."""
        if not self.training:
            return super().forward(rows, per_sample)
        found = self.collect(rows)
        standardized = self.apply_to(rows, found)
        kept = self._kept(rows, per_sample)
        if kept is not None:
            sigma, size = (torch.sqrt(s["var"].detach() + self.eps) for s in (found, kept))
            offset = (found["mean"].detach() - kept["mean"]) / size
            r = (sigma / size).clamp(1 / self.options.r_max, self.options.r_max)
            d = offset.clamp(-self.options.d_max, self.options.d_max)
            standardized = standardized * r.unsqueeze(-2) + d.unsqueeze(-2)
        if self.remember:
            self._average(found)
        return standardized

    def _kept(self, rows: Tensor, per_sample: int) -> Statistics | None:
        if self.remember:
            return self.stored()
        if not self.reference_rows:
            return None
        found = self.collect(rows[..., : self.reference_rows * per_sample, :])
        return {name: value.detach() for name, value in found.items()}


class BatchRenorm(BatchDependent):
    """Batch normalization corrected towards the running averages (Ioffe 2017, arXiv:1702.03275)."""

    options_class = RenormOptions
    options: RenormOptions
    neutral = "rows"

    def make_statistics(self) -> RowStatistics:
        """Corrected moments."""
        return RenormMoments(self.out_features, self.eps, self.options)
