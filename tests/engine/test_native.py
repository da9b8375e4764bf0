"""Chains of layers on stacked weights equal the same networks one by one, whatever stands among the layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.native import native_forward
from gfopt.nn import NormalizedLinear, NormLayer, ParameterLayout

MEMBERS, ROWS = 5, 12


class Tripled(nn.Linear):
    """A layer that is known, but does something else."""

    def forward(self, x):
        return 3 * super().forward(x)


class Attention(nn.Module):
    """Torch's fused kernel for it cannot be batched."""

    def forward(self, x):
        pairs = x.reshape(len(x), 3, 2)
        return F.scaled_dot_product_attention(pairs, pairs, pairs).flatten(1)


class Steps(nn.Module):
    """Rows of features as sequences."""

    def forward(self, x):
        return x.reshape(len(x), 2, 3)


def layer_twice():
    layer, act = nn.Linear(6, 6), nn.Tanh()
    return nn.Sequential(layer, act, layer, act, nn.Linear(6, 3))


def tied():
    network = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
    network[2].weight = network[0].weight
    return network


def freeze(network, *names):
    for name in names:
        network.get_parameter(name).requires_grad_(False)
    return network


NETWORKS = {
    "a layer and an activation twice": layer_twice,
    "tied": tied,
    "subclass": lambda: nn.Sequential(nn.Linear(6, 6), Tripled(6, 3)),
    "layer norm": lambda: nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6, eps=0.1), nn.Linear(6, 3)),
    "layer norm without affine": lambda: nn.Sequential(
        nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 6), nn.LayerNorm(6, bias=False), nn.Linear(6, 3)
    ),
    "layer norm first": lambda: nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3)),
    "rms norm": lambda: nn.Sequential(nn.RMSNorm(6), nn.Linear(6, 6), nn.RMSNorm(6, eps=0.1), nn.Linear(6, 3)),
    "rms norm without affine": lambda: nn.Sequential(
        nn.Linear(6, 6), nn.RMSNorm(6, elementwise_affine=False), nn.Linear(6, 3)
    ),
    "no dropout": lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.0), nn.Linear(6, 3)),
    "nested": lambda: nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Tanh(), layer_twice()), nn.Linear(3, 3)),
    "attention": lambda: nn.Sequential(nn.Linear(6, 6), Attention(), nn.Linear(6, 3)),
    "gated": lambda: nn.Sequential(nn.Linear(6, 6), nn.GLU(), nn.PReLU(3), nn.BatchNorm1d(3), nn.Linear(3, 3)),
    "sequences": lambda: nn.Sequential(
        nn.Linear(6, 6),
        Steps(),
        nn.Linear(3, 4),
        nn.LayerNorm((2, 4)),
        nn.BatchNorm1d(2),
        nn.Flatten(),
        nn.Linear(8, 3),
    ),
    "frozen": lambda: freeze(
        nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.BatchNorm1d(6), Tripled(6, 6), nn.Linear(6, 3)),
        "0.weight",
        "1.bias",
        "2.weight",
        "3.bias",
        "4.bias",
    ),
    "frozen norms": lambda: freeze(
        nn.Sequential(
            NormLayer(6, "layer"), NormalizedLinear(6, 6, norm="batch"), NormLayer(6, "layer"), nn.Linear(6, 3)
        ),
        "0.gain",
        "1.weight",
        "2.gain",
        "2.shift",
    ),
    "frozen head": lambda: freeze(nn.Sequential(nn.Linear(6, 6), Tripled(6, 3)), "1.weight", "1.bias"),
}


def criterion(outputs):
    return (outputs - 0.3).square().mean((-2, -1))


def population_of(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = prepare(make().double(), "batch")
        layout = ParameterLayout.of(module)
        population = 0.5 * torch.randn(MEMBERS, layout.dim, dtype=torch.float64)
        return module, layout, population, torch.randn(ROWS, 6, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_chain_equals_its_networks_one_by_one(name):
    module, layout, population, inputs = population_of(NETWORKS[name])
    engine = PopulationEngine(module, layout, inputs)
    assert (engine.strategy, engine.plan.separate) == ("native", {})
    engine.tile = 3
    loop = PopulationEngine(module, layout, inputs, strategy="loop")
    expected, slopes = loop.gradients(population, inputs, criterion)
    assert expected.unique().numel() == MEMBERS
    torch.testing.assert_close(engine.losses(population, inputs, criterion), expected, rtol=1e-10, atol=1e-12)
    losses, gradients = engine.gradients(population, inputs, criterion)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients, slopes, rtol=1e-9, atol=1e-12)


def test_a_layer_norm_over_the_batch_is_none_over_rows():
    def make():
        return nn.Sequential(nn.Linear(6, 6), nn.LayerNorm((4, 6)), nn.Linear(6, 3))

    module, layout, population, inputs = population_of(make)
    engine = PopulationEngine(module, layout, inputs[:4])
    loop = PopulationEngine(module, layout, inputs[:4], strategy="loop")
    got = engine.losses(population, inputs[:4], criterion)
    torch.testing.assert_close(got, loop.losses(population, inputs[:4], criterion), rtol=1e-10, atol=1e-12)


def test_only_the_unknown_layer_goes_through_vmap(monkeypatch):
    module, layout, population, inputs = population_of(NETWORKS["attention"])
    engine = PopulationEngine(module, layout, inputs)
    through = []
    original = Attention.forward
    monkeypatch.setattr(Attention, "forward", lambda self, x: through.append(x.ndim) or original(self, x))
    monkeypatch.setattr(nn.Linear, "forward", lambda *_: pytest.fail("a known layer ran by itself"))
    engine.losses(population, inputs, criterion)
    assert through == [2]  # once for all members, each of whom it sees alone


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2), nn.Flatten(), nn.Linear(8, 3)),
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 3)),
        lambda: nn.Sequential(nn.Tanh()),
    ],
    ids=["pictures first", "dropout", "no parameters"],
)
def test_networks_with_nothing_to_gain_have_no_chain(make):
    assert native_forward(make()) is None


def test_hooks_that_expect_one_network_have_no_chain():
    network = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    assert native_forward(network) is not None
    network[0].register_forward_hook(lambda _module, _args, out: 2 * out)
    assert native_forward(network) is None
