"""Attention in a population equals the same networks one by one, whatever fused kernels torch has for one."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.batchable import batchable
from gfopt.nn import ParameterLayout

LENGTH, WIDTH = 5, 8


class Attends(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)[0].mean(1)


class Encodes(nn.Module):
    """With `still` the encoder stays in evaluation mode, where torch takes its fast path."""

    def __init__(self, still, layers=1, **options):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, **{"dropout": 0.0, **options})
        self.encoder = layer if layers == 1 else nn.TransformerEncoder(layer, layers)
        self.still = still

    def train(self, mode=True):
        super().train(mode)
        if self.still:
            self.encoder.eval()
        return self

    def forward(self, x):
        return self.encoder(x).mean(1)


NETWORKS = {
    "attention": lambda: Attends(False),
    "attention with weights": lambda: Attends(True),
    "training": lambda: Encodes(False),
    "evaluation": lambda: Encodes(True),
    "evaluation with dropout": lambda: Encodes(True, dropout=0.1),
    "stack": lambda: Encodes(True, 2),
}


def criterion(outputs):
    return outputs.square().mean((-1, -2))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_population_equals_the_users_own_module_one_by_one(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(NETWORKS[name](), nn.Linear(WIDTH, 2)).double().train()
        module = prepare(network, "batch")
        batchable(module)
        layout = ParameterLayout.of(module)
        population = 0.3 * torch.randn(5, layout.dim, dtype=torch.float64)
        inputs = torch.randn(6, LENGTH, WIDTH, dtype=torch.float64)
    switches = (torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = PopulationEngine(module, layout, inputs)
        losses, slopes = engine.gradients(population, inputs, criterion)
        torch.testing.assert_close(engine.losses(population, inputs, criterion), losses, rtol=1e-10, atol=1e-12)
    assert engine.strategy == "vmap"
    assert switches == (torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled())
    plain = PopulationEngine(copy.deepcopy(network), layout, inputs, strategy="loop")
    expected, gradients = plain.gradients(population, inputs, criterion)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slopes, gradients, rtol=1e-9, atol=1e-12)


def test_switches_come_back_when_the_layer_fails():
    layer = nn.MultiheadAttention(WIDTH, 2)
    batchable(layer)
    with pytest.raises(AssertionError, match="embedding dimension"):
        layer(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3))
    assert torch.backends.mha.get_fastpath_enabled()


class CallsAttention(nn.Module):
    """Attention that is no layer: a user's own call of torch's function."""

    def __init__(self):
        super().__init__()
        self.project, self.head = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, 2, WIDTH // 2)).permute(2, 0, 3, 1, 4)
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).mean(1))


def test_a_users_own_call_of_attention_is_batched_without_falling_back():
    torch.manual_seed(0)
    network = CallsAttention()
    layout = ParameterLayout.of(network)
    population, x = 0.3 * torch.randn(4, layout.dim), torch.randn(6, LENGTH, WIDTH)
    engine = PopulationEngine(prepare(network, "batch"), layout, x)
    assert engine.strategy == "vmap"
    together = engine.losses(population, x, criterion)  # a fallback's warning would be an error
    alone = torch.cat([engine.losses(row[None], x, criterion) for row in population])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
