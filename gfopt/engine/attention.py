"""Torch's attention layers in a population: their plain products in place of fused kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

_LAYERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder, nn.TransformerDecoderLayer)


def batchable_attention(module: nn.Module) -> None:
    """Let the attention layers in `module` run without fused kernels, in place.

    In evaluation mode torch takes a fast path that has no derivative; it asks whether parameters require one, and
    those of a population do not seem to under `torch.func.vmap`. Its other fused kernels have no batching rule and
    would run member by member.
    """
    for layer in list(module.modules()):
        if isinstance(layer, _LAYERS) and not isinstance(layer, _Plain):
            layer.__class__ = type(f"Plain{type(layer).__name__}", (_Plain, type(layer)), {})


class _Plain(nn.Module):
    """In front of a layer's own class among its bases."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes, by matrix products and a softmax."""
        with _plain_kernels():
            return super().forward(*args, **kwargs)


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Torch's global switches of fused attention, off for the duration."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
