"""Torch's weight and spectral normalization of a user's layers in a population."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize


def batchable_parametrizations(module: nn.Module) -> None:
    """Give `weight_norm` and `spectral_norm` parametrizations in `module` formulas that can be batched, in place.

    Torch's have none: one is a fused kernel, the other writes the vectors of its power iteration over its buffers.
    Here these start from the stored vectors in every evaluation and nothing is written, so that the loss of a member
    depends on its genome alone.
    """
    for part in module.modules():
        if type(part) is parametrizations._WeightNorm:
            part.__class__ = _PlainWeightNorm
        elif type(part) is parametrizations._SpectralNorm:
            part.__class__ = _PlainSpectralNorm


@torch.no_grad()
def settle(module: nn.Module) -> None:
    """Take the power iterations of every `spectral_norm` that a training pass takes, so that evaluation uses them."""
    for part in list(module.modules()):
        if not parametrize.is_parametrized(part):
            continue
        for name, chain in part.parametrizations.items():  # type: ignore[operator, union-attr] # untyped in torch
            spectral = [one for one in chain if isinstance(one, parametrizations._SpectralNorm)]
            before = [one.training for one in spectral]
            for one in spectral:
                one.train()
            if spectral:
                getattr(part, name)
            for one, mode in zip(spectral, before, strict=True):
                one.train(mode)


class _PlainWeightNorm(parametrizations._WeightNorm):
    """`g v / |v|` (Salimans & Kingma 2016, arXiv:1602.07868)."""

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight; norms are taken over every axis but `dim`, or over all if that is -1."""
        axes = [axis for axis in range(weight_v.ndim) if axis != self.dim]
        length: Tensor = torch.linalg.vector_norm(weight_v, dim=axes, keepdim=True)
        return weight_v * (weight_g / length)


class _PlainSpectralNorm(parametrizations._SpectralNorm):
    """`W / (u^T W v)` with `u`, `v` of the power iteration (Miyato et al. 2018, arXiv:1802.05957, algorithm 1)."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight."""
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._reshape_weight_to_matrix(weight)
        u, v = self._u, self._v
        with torch.no_grad():
            for _ in range(self.n_power_iterations if self.training else 0):
                u = F.normalize(matrix @ v, dim=0, eps=self.eps)
                v = F.normalize(matrix.mT @ u, dim=0, eps=self.eps)
        return weight / (u * (matrix @ v)).sum()
