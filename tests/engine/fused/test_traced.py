"""Networks of a user's own class: what their forward does is read off it, or the reason why it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.criterion import Criterion
from gfopt.nn import ParameterLayout
from gfopt.problems.losses import CrossEntropy

ROWS, TARGETS = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
CRITERION = Criterion(CrossEntropy(), TARGETS, kind="cross_entropy")


class Written(nn.Module):
    """What most people write."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class WithSkip(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.inner, self.head = nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = self.stem(torch.flatten(x, 1)).relu()
        x = x + F.leaky_relu(self.inner(self.norm(x)), negative_slope=0.3)
        return self.head(x)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Written(), nn.BatchNorm1d(3), nn.Sigmoid())
        self.head = nn.Linear(3, 3, bias=False)

    def forward(self, x):
        return self.head(F.gelu(self.body(x)))


class Same(nn.Module):
    """One layer, used twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.sigmoid(self.layer(torch.sigmoid(self.layer(x)))))


@pytest.mark.parametrize("network", [Written, WithSkip, Nested, Same])
def test_a_chain_of_known_layers_is_compiled_and_equals_the_module(network):
    torch.manual_seed(1)
    module = prepare(network(), "batch")
    layout = ParameterLayout.of(module)
    population = layout.flatten(module) + 0.5 * torch.randn(5, layout.dim)
    engine = PopulationEngine(module, layout, ROWS)
    assert engine.strategy == "fused", engine.plan
    double = prepare(network(), "batch").double()
    loop = PopulationEngine(double, layout, ROWS.double(), strategy="loop")
    expected = loop.losses(population.double(), ROWS.double(), CRITERION)
    torch.testing.assert_close(engine.losses(population, ROWS, CRITERION).double(), expected, rtol=2e-6, atol=0)


class Branches(Written):
    def forward(self, x):
        h = self.first(x)
        return self.second(torch.tanh(h) if float(h.mean()) > 0 else torch.sin(h))


class TwoBranches(Written):
    def forward(self, x):
        return self.second(torch.tanh(self.first(x)) * torch.sigmoid(self.first(x)))


class Overwrites(Written):
    """The skip around the first activation is overwritten by it."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        h = self.first(x)
        return self.second(h + self.act(h))


class ReturnsInner(Written):
    def forward(self, x):
        h = self.first(x)
        self.second(h)
        return h


class Broadcasts(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.many = nn.Linear(6, 1), nn.Linear(1, 3)

    def forward(self, x):
        x = self.one(x)
        return x + self.many(x)


class OfTorch(Written):
    def __init__(self):
        super().__init__()
        self.shrink = nn.Softshrink()

    def forward(self, x):
        return self.second(self.shrink(self.first(x)))


class Scales(Written):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Branches, "depends on values"),
        (TwoBranches, "has no compiled form|computed aside|skip"),
        (Overwrites, "something else than its layers"),
        (ReturnsInner, "computed aside|used twice|returns something else"),
        (Broadcasts, "a sum of 1 and 3 features"),
        (OfTorch, "Softshrink has no compiled form"),
        (Scales, "computed aside"),
    ],
)
@pytest.mark.filterwarnings("ignore::gfopt.errors.SlowPathWarning")
def test_what_is_no_chain_says_why_and_is_evaluated_right(network, reason):
    import re

    torch.manual_seed(1)
    module = network()
    layout = ParameterLayout.of(module)
    population = layout.flatten(module) + 0.5 * torch.randn(5, layout.dim)
    engine = PopulationEngine(module, layout, ROWS)
    assert engine.strategy != "fused"
    assert re.search(reason, engine.plan.reasons["fused"]), engine.plan.reasons
    loop = PopulationEngine(network().double(), layout, ROWS.double(), strategy="loop")
    expected = loop.losses(population.double(), ROWS.double(), CRITERION)
    torch.testing.assert_close(engine.losses(population, ROWS, CRITERION).double(), expected, rtol=1e-5, atol=0)


def test_tracing_leaves_the_module_and_global_randomness_alone():
    class Counts(Written):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    module = Counts()
    before = torch.get_rng_state()
    engine = PopulationEngine(module, ParameterLayout.of(module), ROWS)
    assert engine.strategy == "fused"
    assert float(module.calls) == 0
    assert torch.get_rng_state().equal(before)
