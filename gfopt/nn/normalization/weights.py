"""Normalizations of the weights: what they do, they do once a step, whatever the size of the batch."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.nn.normalization.base import ActsOn, Normalization, NormOptions
from gfopt.nn.normalization.products import DENSE, Product


def lengths(vectors: Tensor, eps: float) -> Tensor:
    """`(..., 1)` Euclidean lengths of `(..., n)` vectors, at least `eps`."""
    # Clamped, no eps inside a root: scaling a vector then changes nothing at all, and zero stays zero.
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return length.clamp_min(eps)


def over_length(rows: Tensor, length: Tensor, gain: Tensor | None) -> Tensor:
    """`(..., out, n)` rows over their lengths, times the gain."""
    return rows / length if gain is None else rows * (gain.unsqueeze(-1) / length)


class WeightReparametrization(Normalization):
    """The side of the family that normalizes the rows of the weight, `(..., out, n)`.

    Sigma is folded, with the gain, into the weight itself: no extra pass over the batch.
    """

    acts_on: ClassVar[ActsOn] = "weights"

    def forward(
        self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None, product: Product = DENSE
    ) -> Tensor:
        """`g * (w - mu) x / sigma + b`, see `Normalization.forward`."""
        return product(x, self.scaled(weight, gain, product), shift)

    def scaled(self, weight: Tensor, gain: Tensor | None, product: Product = DENSE) -> Tensor:
        """The weight that the layer computes with, in the shape of `weight`."""
        return product.from_matrix(self.normalized(product.matrix(weight), gain), weight)

    @abstractmethod
    def normalized(self, rows: Tensor, gain: Tensor | None) -> Tensor:
        """`g (w - mu) / sigma` of `(..., out, n)` rows."""


class DirectionNorm(WeightReparametrization):
    """Keeps only the direction of each unit's weights: `sigma = max(|w|, eps)`.

    Attributes:
        centred: take each vector's mean away first.
        of_input: do to the inputs what is done to the weights.
    """

    centred: ClassVar[bool] = False
    of_input: ClassVar[bool] = False
    neutral = "rows"

    @classmethod
    def redundant(cls, inputs: int, units: int, options: NormOptions) -> int:
        """The size of each row, and its mean where that is taken away."""
        del inputs, options
        return units * (2 if cls.centred else 1)

    def forward(
        self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None, product: Product = DENSE
    ) -> Tensor:
        """`g * (w - mu_w)(x - mu_x) / sigma + b`, see `Normalization.forward`."""
        if not self.of_input:
            return super().forward(x, weight, gain, shift, product)
        vectors = self._centre(product.vectors(x))
        vectors = vectors / self._length(vectors)
        return product.units(DENSE(vectors, self.normalized(product.matrix(weight), gain), shift), x)

    def normalized(self, rows: Tensor, gain: Tensor | None) -> Tensor:
        """`g (w - mu) / max(|w - mu|, eps)` of `(..., out, n)` rows."""
        rows = self._centre(rows)
        return over_length(rows, self._length(rows), gain)

    def _centre(self, vectors: Tensor) -> Tensor:
        return vectors - vectors.mean(-1, keepdim=True) if self.centred else vectors

    def _length(self, vectors: Tensor) -> Tensor:
        return lengths(vectors, self.eps)


class WeightNormOptions(NormOptions):
    """Options of `weight`.

    Attributes:
        data_init: set gain and shift by one batch, so that pre-activations start with mean 0 and variance 1
            (Salimans & Kingma 2016, section 3).
    """

    data_init: bool = Field(default=False, strict=True)


class WeightNorm(DirectionNorm):
    """`mu = 0`, `sigma = |w_i|` over the inputs (Salimans & Kingma 2016, arXiv:1602.07868)."""

    options_class = WeightNormOptions


class CentredWeightNorm(DirectionNorm):
    """The direction of the centred weights, `w_i - mean w_i` (Huang et al. 2017, arXiv:1710.02338)."""

    least_inputs = 2  # one weight is its own mean: always 0
    centred = True


class CosineNorm(DirectionNorm):
    """`mu = 0`, `sigma = |w_i| |x|`: the cosine of weight and input (Luo et al. 2017, arXiv:1702.05870)."""

    acts_on = "both"
    bounded = True
    of_input = True


class PearsonNorm(DirectionNorm):
    """The cosine of centred weight and input: Pearson's correlation (Luo et al. 2017, arXiv:1702.05870)."""

    least_inputs = 2  # one input is its own mean: always 0
    acts_on = "both"
    bounded = True
    centred = True
    of_input = True


class WeightStandardization(DirectionNorm):
    """Each unit's weights with mean 0 and standard deviation 1 (Qiao et al. 2019, arXiv:1903.10520).

    So their length is `sqrt(n)`, and so is the size of `z` on standardized inputs; divided by that, it would be
    `centred_weight`.
    """

    least_inputs = 2
    centred = True

    def _length(self, vectors: Tensor) -> Tensor:
        return lengths(vectors, self.eps) / math.sqrt(vectors.shape[-1])


class SpectralNorm(WeightReparametrization):
    """`sigma`: the largest singular value of the weight (Miyato et al. 2018, arXiv:1802.05957).

    Computed exactly, where the paper follows it by power iterations: those carry a vector from step to step, which a
    genome that is evaluated once does not have.
    """

    neutral = "matrix"

    def normalized(self, rows: Tensor, gain: Tensor | None) -> Tensor:
        """`g W / max(sigma_max, eps)`."""
        # The Gram matrix of the shorter side, whose eigenvalues torch batches; a decomposition of W itself has no
        # finite gradient where it is 0.
        gram = rows @ rows.mT if rows.shape[-2] <= rows.shape[-1] else rows.mT @ rows
        with torch.no_grad():
            # Of what is not finite it is an error, for all members at once; the product with it is NaN anyway.
            leading = torch.linalg.eigh(torch.nan_to_num(gram, 0.0, 0.0, 0.0)).eigenvectors[..., -1:]
        largest: Tensor = (leading * (gram @ leading)).sum((-2, -1)).clamp_min(self.eps**2).sqrt()
        return over_length(rows, largest[..., None, None], gain)
