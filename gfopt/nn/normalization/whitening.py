"""Whitening: units that are not only standardized but uncorrelated over the batch."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import FunctionCtx

from gfopt.nn.normalization.base import NormOptions
from gfopt.nn.normalization.batch import BatchDependent
from gfopt.nn.normalization.per_sample import check_groups
from gfopt.nn.normalization.statistics import RowStatistics, Statistics


class WhiteningOptions(NormOptions):
    """Options of `whitening`.

    Attributes:
        groups: units are whitened within groups; one group costs `O(C^3)`, as many as units is batch normalization.
    """

    groups: int = Field(default=1, ge=1, strict=True)


class IterNormOptions(WhiteningOptions):
    """Options of `iternorm`.

    Attributes:
        groups: units are whitened within groups.
        iterations: Newton steps; the iteration diverges in floating point when it goes on after it has converged.
    """

    iterations: int = Field(default=5, ge=1, le=7, strict=True)


class Whitener(RowStatistics):
    """Mean and inverse square root of the covariance, `S^(-1/2)`, within groups of channels.

    Args:
        channels: `C`.
        eps: added to the variances.
        groups: `G`; they divide `C`.
    """

    def __init__(self, channels: int, eps: float, groups: int) -> None:
        size = channels // groups
        super().__init__({"mean": torch.zeros(channels), "whitening": torch.eye(size).repeat(groups, 1, 1)})
        self.eps = eps
        self.groups = groups

    def collect(self, rows: Tensor) -> Statistics:
        """`mean` `(..., C)` and `whitening` `(..., G, C / G, C / G)`."""
        mean = rows.mean(-2)
        parts = self._parts(rows - mean.unsqueeze(-2))
        covariance = parts.mT @ parts / rows.shape[-2]
        ridge = self.eps * torch.eye(covariance.shape[-1], dtype=rows.dtype, device=rows.device)
        return {"mean": mean, "whitening": self.root(covariance + ridge)}

    def apply_to(self, rows: Tensor, statistics: Statistics) -> Tensor:
        """`S^(-1/2) (z - mu)`."""
        parts = self._parts(rows - statistics["mean"].unsqueeze(-2))
        return (parts @ statistics["whitening"].mT).transpose(-3, -2).reshape(rows.shape)

    def root(self, covariance: Tensor) -> Tensor:
        """`S^(-1/2)` of `(..., c, c)`, by eigenvectors."""
        root: Tensor = InverseSquareRoot.apply(covariance)[0]  # type: ignore[no-untyped-call] # untyped in torch
        return root

    def _parts(self, rows: Tensor) -> Tensor:
        """`(..., N, C)` to `(..., G, N, C / G)`."""
        return rows.reshape(*rows.shape[:-1], self.groups, -1).transpose(-3, -2)


class NewtonWhitener(Whitener):
    """The same by `iterations` Newton steps, which need matrix products only (Huang et al. 2019, eq. 5)."""

    def __init__(self, channels: int, eps: float, groups: int, iterations: int) -> None:
        super().__init__(channels, eps, groups)
        self.iterations = iterations

    def root(self, covariance: Tensor) -> Tensor:
        """About `S^(-1/2)`: `P <- (3 P - P^3 S / tr S) / 2` from the identity, over `sqrt(tr S)`."""
        trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        scaled = covariance / trace
        root = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device).expand_as(covariance)
        for _ in range(self.iterations):
            root = 1.5 * root - 0.5 * root @ root @ root @ scaled
        return root / trace.sqrt()


class InverseSquareRoot(torch.autograd.Function):
    """`S^(-1/2)` of symmetric positive definite matrices, with a gradient that eigenvalues may share.

    The gradient through the eigenvectors has `1 / (l_i - l_j)` in it, which is infinite wherever a batch has fewer
    rows than units. The function itself is smooth: its derivative has divided differences in their place (Daleckii
    and Krein 1965; Higham 2008, Functions of Matrices, theorem 3.11), for this one
    `-1 / (sqrt(l_i) sqrt(l_j) (sqrt(l_i) + sqrt(l_j)))`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The root, and roots of eigenvalues and the eigenvectors for its gradient."""
        # Of what is not finite it is an error, for all members at once; the member's own root is made NaN below.
        values, vectors = torch.linalg.eigh(torch.nan_to_num(matrix, 0.0, 0.0, 0.0))
        # An eigenvalue of rounding errors below 0 counts as the smallest that the type tells from 0.
        floor = values[..., -1:] * torch.finfo(values.dtype).eps + torch.finfo(values.dtype).tiny
        roots = torch.maximum(values, floor).sqrt()
        return (vectors / roots.unsqueeze(-2)) @ vectors.mT + (matrix - matrix), roots, vectors

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: Any, output: Any) -> None:
        """Keep the eigenvalues and vectors."""
        del inputs
        _, roots, vectors = output
        ctx.mark_non_differentiable(roots, vectors)
        ctx.save_for_backward(roots, vectors)

    @staticmethod
    def backward(ctx: Any, root: Tensor, *_: Tensor) -> Tensor:
        """`U (K * (U^T G U)) U^T` with the divided differences `K`."""
        roots, vectors = ctx.saved_tensors
        rows, columns = roots.unsqueeze(-1), roots.unsqueeze(-2)
        differences = -1 / (rows * columns * (rows + columns))
        inner = vectors.mT @ root @ vectors
        return vectors @ (differences * inner) @ vectors.mT  # type: ignore[no-any-return] # untyped in torch


class Whitening(BatchDependent):
    """`S^(-1/2) (z - mu)` over the batch: decorrelated batch norm, ZCA (Huang et al. 2018, arXiv:1804.08450)."""

    options_class = WhiteningOptions
    options: WhiteningOptions
    neutral = "matrix"

    @classmethod
    def check(cls, options: NormOptions, out_features: int, *, pictures: bool = False) -> None:
        """Refuse groups that do not divide the units."""
        del pictures
        check_groups(getattr(options, "groups", 1), out_features)

    @classmethod
    def redundant(cls, inputs: int, units: int, options: NormOptions) -> int:
        """For each group of `h` units the `h (h + 1) / 2` symmetric ways to mix them.

        The result is the orthogonal factor of the polar decomposition of `W S_x^(1/2)`: the symmetric one is lost.
        """
        del inputs
        groups = int(getattr(options, "groups", 1))
        size = units // groups
        return groups * size * (size + 1) // 2

    def make_statistics(self) -> RowStatistics:
        """Means and roots of covariances."""
        return Whitener(self.out_features, self.eps, self.options.groups)


class IterNorm(Whitening):
    """The same by Newton's iteration (Huang et al. 2019, arXiv:1904.03441)."""

    options_class = IterNormOptions
    options: IterNormOptions

    @classmethod
    def redundant(cls, inputs: int, units: int, options: NormOptions) -> int:
        """For each group the size of its weights; what is not yet decorrelated still counts."""
        del inputs, units
        return int(getattr(options, "groups", 1))

    def make_statistics(self) -> RowStatistics:
        """Means and approximate roots."""
        return NewtonWhitener(self.out_features, self.eps, self.options.groups, self.options.iterations)
