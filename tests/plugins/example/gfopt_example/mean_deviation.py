"""Layer normalization by the mean absolute deviation instead of the standard deviation."""

from __future__ import annotations

from torch import Tensor

from gfopt.nn.normalization.base import ActivationNorm


class MeanDeviationNorm(ActivationNorm):
    """`mu`: mean over a sample's units; `sigma - eps`: their mean absolute deviation from it.

    References: Hoffer et al. 2018, "Norm matters", arXiv:1803.01814, section 4 (there over a batch).
    """

    least_units = 2  # one unit is its own mean: always 0
    neutral = "matrix"

    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over the units."""
        del members
        axes = tuple(range(-1 - positions, 0))
        centred = z - z.mean(axes, keepdim=True)
        return centred / (centred.abs().mean(axes, keepdim=True) + self.eps)
