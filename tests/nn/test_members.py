"""Every norm for many networks at once: under `torch.func.vmap`, and with stacked parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap


def _stacked(layer, members=3):
    """Parameters and buffers of members that all differ."""
    named = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    stack = {n: t.detach().expand(members, *t.shape).clone() for n, t in named.items()}
    return {n: t + torch.rand_like(t) if t.is_floating_point() else t for n, t in stack.items()}


@pytest.mark.parametrize("training", [True, False])
def test_vmap_equals_the_loop_without_fallbacks(norm, make_layer, training):
    layer = make_layer(norm).train(training)
    stack, x = _stacked(layer), torch.randn(7, 5, dtype=torch.float64)
    loop = [functional_call(layer, {n: t[i].clone() for n, t in stack.items()}, (x,)) for i in range(3)]
    batched = vmap(lambda own: functional_call(layer, own, (x,)))(stack)  # a fallback's warning would be an error
    torch.testing.assert_close(batched, torch.stack(loop), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_stacked_members_equal_the_loop(norm, make_layer, shared, affine):
    layer = make_layer(norm, gain=affine, shift=affine)
    if norm == "batch":  # members need a layer without memory, as the engine puts in
        layer.norm.statistics = nn.BatchNorm1d(6, affine=False, track_running_stats=False)
    elif layer.norm.of_batch:
        layer.norm.statistics.remember = False
    stack = _stacked(layer)
    x = torch.randn(7, 5, dtype=torch.float64) if shared else torch.randn(3, 7, 5, dtype=torch.float64)
    loop = [functional_call(layer, {n: t[i] for n, t in stack.items()}, (x if shared else x[i],)) for i in range(3)]
    together = layer.norm(x, stack["weight"], stack.get("gain"), stack.get("shift"))
    torch.testing.assert_close(together, torch.stack(loop), rtol=0, atol=1e-10)
