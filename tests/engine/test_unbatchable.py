"""One layer that torch cannot batch runs member by member; the rest of the network stays one computation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from gfopt.engine import PopulationEngine, prepare
from gfopt.errors import SlowPathWarning
from gfopt.nn import ParameterLayout

MEMBERS, TILE = 7, 3  # two full tiles and a last one of one member
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 0, 2])


def criterion(outputs):
    logits = torch.log_softmax(outputs, dim=-1)
    return -logits.gather(-1, TARGETS.expand(outputs.shape[:-1])[..., None])[..., 0].mean(-1)


class Branch(nn.Linear):
    """What it does depends on a value, so that members do different things."""

    def forward(self, x):
        h = super().forward(x)
        return torch.tanh(h) if h.mean() > 0 else torch.sin(3 * h)


class Rescaled(nn.Module):
    """Asks for a number."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return self.gain * x / (1 + float(x.detach().abs().mean()))


class Filled(nn.Module):
    """Writes into a tensor that is the same for all members."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        h = torch.zeros(len(x), 5, dtype=x.dtype)
        h[:, :4] += x @ self.weight
        return h


class Overwrites(nn.Module):
    """Writes over its input."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(5))

    def forward(self, x):
        x += self.shift
        return x * x if x.sum() > 0 else x


class ThroughNumpy(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(5))

    def forward(self, x):
        return torch.as_tensor(np.sin(x.detach().numpy())) + x * self.shift


class Counting(nn.Module):
    """Remembers how often it was called, in both ways that torch allows."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 5)
        self.register_buffer("replaced", torch.zeros(()))
        self.register_buffer("changed", torch.zeros(()))

    def forward(self, x):
        self.replaced = self.replaced + 1
        h = self.linear(x) * self.replaced + float(self.changed.detach())
        self.changed += h.abs().mean()
        return torch.tanh(h)


class Clipped(nn.Linear):
    """Keeps the length of its weights below one by writing to them, as in EEGNet."""

    def forward(self, x):
        if float(self.weight.data.norm()) > 1:
            self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=1)
        return super().forward(x)


class Selects(nn.Module):
    """Returns as many columns as a member's values say."""

    def forward(self, x):
        return x[:, x.mean(0) > 0]


class Level(nn.Module):
    """Returns no tensor."""

    def forward(self, x):
        return float(x.detach().mean())


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.level, self.linear = Level(), nn.Linear(5, 5)

    def forward(self, x):
        h = self.linear(x)
        return h * self.level(h)


class Structured(nn.Module):
    """Takes and returns more than one tensor."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.7))

    def forward(self, pair, *, sign, name):
        first, second = pair
        big = float(first.detach().mean()) > 0
        return {"sum": first + sign * second * self.gain, "rest": (first if big else second, name)}


class OfStructure(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.middle = nn.Linear(5, 5), nn.Linear(5, 5), Structured()

    def forward(self, x):
        found = self.middle((self.left(x), self.right(x)), sign=-1, name="middle")
        assert found["rest"][1] == "middle"
        return found["sum"] * found["rest"][0]


class Twice(nn.Module):
    """Uses one layer two times."""

    def __init__(self, layer):
        super().__init__()
        self.inner, self.between = layer, nn.Linear(5, 5)

    def forward(self, x):
        return self.inner(torch.relu(self.between(self.inner(x))))


class Tied(nn.Module):
    """Shares a weight between a layer that can be batched and one that cannot."""

    def __init__(self):
        super().__init__()
        self.plain, self.branch = nn.Linear(5, 5), Branch(5, 5)
        self.branch.weight = self.plain.weight

    def forward(self, x):
        return self.branch(torch.tanh(self.plain(x)))


class Bounded(nn.Module):
    """A parametrization that asks for a number."""

    def forward(self, weight):
        return weight / max(1.0, float(weight.detach().abs().max()))


def parametrized():
    linear = nn.Linear(5, 5)
    parametrize.register_parametrization(linear, "weight", Bounded())
    return linear


def hooked():
    linear = nn.Linear(5, 5)
    linear.register_forward_hook(lambda _module, _args, out: out if float(out.detach().mean()) > 0 else 2 * out)
    return linear


class Noted(nn.Module):
    """How often it is called, and with how many numbers for all that Python can tell."""

    def __init__(self, features=5):
        super().__init__()
        self.linear, self.calls = nn.Linear(features, 5), []

    def forward(self, x):
        self.calls.append(tuple(x.shape))
        return self.linear(x)

    def __deepcopy__(self, memo):
        return self  # the copies that an engine makes are counted too


class Own(nn.Module):
    """Not an `nn.Sequential`: the whole of it goes through `torch.func.vmap`."""

    def __init__(self, middle):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(5, 5), middle, nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.middle(torch.sin(self.first(x))))


LAYERS = {
    "branch": (lambda: Branch(5, 5), ["middle"]),
    "number": (Rescaled, ["middle"]),
    "fills": (Filled, ["middle"]),
    "overwrites": (Overwrites, ["middle"]),
    "numpy": (ThroughNumpy, ["middle"]),
    "buffers": (Counting, ["middle"]),
    "clipped": (lambda: Clipped(5, 5), ["middle"]),
    "no tensor": (Block, ["middle"]),
    "structured": (OfStructure, ["middle.middle"]),
    "twice": (lambda: Twice(Branch(5, 5)), ["middle.inner"]),
    "buffers-twice": (lambda: Twice(Counting()), ["middle.inner"]),
    "tied": (Tied, ["middle.branch"]),
    "parametrization": (parametrized, ["middle.parametrizations.weight.0"]),
    "hook": (hooked, ["middle"]),
    "several": (lambda: nn.Sequential(Branch(5, 5), nn.Linear(5, 5), Rescaled()), ["middle.0", "middle.2"]),
}


def in_sequential(middle):
    return nn.Sequential(nn.Linear(5, 5), nn.Softplus(), middle, nn.Linear(5, 3))


def population_of(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().double()
        module = prepare(network, "batch")
        layout = ParameterLayout.of(module)
        population = 0.5 * torch.randn(MEMBERS, layout.dim, dtype=torch.float64)
        inputs = torch.randn(len(TARGETS), 5, dtype=torch.float64)
    return module, layout, population, inputs


def engines(module, layout, inputs):
    """The engine, and the loop that it must equal."""
    with pytest.warns(SlowPathWarning, match="member by member") as caught:
        engine = PopulationEngine(module, layout, inputs)
    assert len(caught) == 1
    engine.tile = TILE
    return engine, PopulationEngine(module, layout, inputs, strategy="loop")


def assert_equal_engines(engine, loop, population, inputs):
    expected, slopes = loop.gradients(population, inputs, criterion)
    torch.testing.assert_close(engine.losses(population, inputs, criterion), expected, rtol=1e-10, atol=1e-12)
    losses, gradients = engine.gradients(population, inputs, criterion)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients, slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_the_rest_stays_batched_and_everything_equals_one_by_one(name):
    layer, separate = LAYERS[name]
    module, layout, population, inputs = population_of(lambda: Own(layer()))
    engine, loop = engines(module, layout, inputs)
    assert engine.strategy == "vmap"
    assert list(engine.plan.separate) == separate
    before = population.clone()
    assert_equal_engines(engine, loop, population, inputs)
    assert population.equal(before)


@pytest.mark.parametrize("name", LAYERS)
def test_known_layers_of_a_sequential_stay_native(name):
    layer, separate = LAYERS[name]
    expected = "vmap" if name == "hook" else "native"  # hooks look at one network's numbers
    module, layout, population, inputs = population_of(lambda: in_sequential(layer()))
    engine, loop = engines(module, layout, inputs)
    assert engine.strategy == expected
    assert list(engine.plan.separate) == [path.replace("middle", "2", 1) for path in separate]
    assert_equal_engines(engine, loop, population, inputs)


def test_a_layer_ahead_of_all_genes_runs_once_for_all_members():
    class Numbers(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x / float(x.abs().max())

    calls = []
    module, layout, population, inputs = population_of(lambda: nn.Sequential(Numbers(), nn.Linear(5, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = PopulationEngine(module, layout, inputs)
    engine.tile = MEMBERS
    calls.clear()
    losses = engine.losses(population, inputs, criterion)
    assert len(calls) == 1
    torch.testing.assert_close(
        losses, PopulationEngine(module, layout, inputs, strategy="loop").losses(population, inputs, criterion)
    )


def test_the_good_layers_run_once_for_each_tile():
    good, bad = Noted(), Branch(5, 5)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.good, self.bad, self.last = good, bad, nn.Linear(5, 3)

        def forward(self, x):
            return self.last(self.bad(self.good(x)))

    module, layout, population, inputs = population_of(Network)
    engine, _ = engines(module, layout, inputs)
    good.calls.clear()
    engine.losses(population[:6], inputs, criterion)
    assert len(good.calls) == 2  # tiles, not members
    good.calls.clear()
    engine.gradients(population[:6], inputs, criterion)
    assert len(good.calls) == 2


def test_the_warning_and_the_plan_name_the_layer_and_the_reason():
    module, layout, _, inputs = population_of(lambda: Own(Branch(5, 5)))
    with pytest.warns(SlowPathWarning, match=r"layer middle alone is evaluated member by member.*data-dependent"):
        engine = PopulationEngine(module, layout, inputs)
    assert "layer middle member by member: vmap: It looks like" in str(engine.plan)
    assert engine.reason == ""


def test_a_forced_strategy_separates_the_same_layers_and_says_nothing():
    module, layout, population, inputs = population_of(lambda: Own(Branch(5, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = PopulationEngine(module, layout, inputs, strategy="vmap")
        engine.losses(population, inputs, criterion)
    assert list(engine.plan.separate) == ["middle"]


def test_streams_of_rows_reach_the_layer_too():
    module, layout, population, inputs = population_of(lambda: Own(Branch(5, 5)))
    engine, loop = engines(module, layout, inputs)
    rows = torch.stack([inputs.roll(shift, 0) for shift in range(MEMBERS)])
    got = engine.gradients_of_streams(population, rows, [criterion] * MEMBERS, [0] * MEMBERS)
    expected = loop.gradients_of_streams(population, rows, [criterion] * MEMBERS, [0] * MEMBERS)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_dropout_in_such_a_layer_is_the_same_for_all_members_and_seeded():
    class Drops(Branch):
        def __init__(self):
            super().__init__(5, 5)
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            return self.dropout(super().forward(x))

    module, layout, population, inputs = population_of(lambda: Own(nn.Sequential(Drops(), nn.Dropout(0.5))))
    engine, loop = engines(module, layout, inputs)
    state = torch.get_rng_state()
    same = population[:1].expand(MEMBERS, -1)
    losses = engine.losses(same, inputs, criterion, seed=1)
    assert losses.unique().numel() == 1
    assert not engine.losses(same, inputs, criterion, seed=2).equal(losses)
    expected = loop.losses(population, inputs, criterion, seed=1)
    torch.testing.assert_close(engine.losses(population, inputs, criterion, seed=1), expected, rtol=1e-10, atol=0)
    assert torch.get_rng_state().equal(state)


def test_members_that_turn_out_to_differ_are_evaluated_one_by_one():
    """At the examined weights every member keeps all columns; later one does not."""

    class Takes(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.full((5,), 100.0))
            self.select = Selects()

        def forward(self, x):
            return self.select(x + self.shift)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.takes, self.last = Takes(), nn.Linear(1, 3)

        def forward(self, x):
            return self.last(self.takes(x).sum(1, keepdim=True))

    module, layout, population, inputs = population_of(Network)
    engine, loop = engines(module, layout, inputs)
    assert list(engine.plan.separate) == ["takes.select"]
    assert_equal_engines(engine, loop, population, inputs)


def test_a_network_that_reads_what_a_layer_overwrote_stays_a_loop():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.middle, self.last = nn.Linear(5, 5), Overwrites(), nn.Linear(5, 3)

        def forward(self, x):
            h = self.first(x)
            return self.last(self.middle(h) - h)

    module, layout, population, inputs = population_of(Network)
    engine, loop = engines(module, layout, inputs)
    assert engine.strategy == "loop"
    assert not engine.plan.separate
    assert "write over" in engine.plan.reasons["vmap"]
    torch.testing.assert_close(
        engine.losses(population, inputs, criterion), loop.losses(population, inputs, criterion), rtol=1e-10, atol=0
    )


def test_the_users_module_is_left_alone():
    module, layout, population, inputs = population_of(lambda: Own(Counting()))
    kinds = [type(part) for part in module.modules()]
    state = {name: t.clone() for name, t in module.state_dict().items()}
    engine, _ = engines(module, layout, inputs)
    engine.gradients(population, inputs, criterion)
    assert [type(part) for part in engine.module.modules()] == kinds
    assert all(t.equal(state[name]) for name, t in module.state_dict().items())
