"""A population as one computation equals the same networks one by one, whatever the network is."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from gfopt import registry
from gfopt.engine import PopulationEngine, prepare
from gfopt.errors import NetworkError, SlowPathWarning
from gfopt.nn import ParameterLayout, build_network
from gfopt.nn.activations import make_activation


def mlp(in_features, out_features, **options):
    return build_network({"kind": "mlp", "in_features": in_features, "out_features": out_features, **options})


TARGETS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 0, 2])


def criterion(outputs):
    logits = torch.log_softmax(outputs, dim=-1)
    return -logits.gather(-1, TARGETS.expand(outputs.shape[:-1])[..., None])[..., 0].mean(-1)


class Counter(nn.Module):
    """Keeps a buffer that changes with every call, and whose value changes the output."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * self.calls


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 3))

    def forward(self, x):
        return self.body(x.unsqueeze(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.lstm(x.unsqueeze(-1))[0][:, -1])


def frozen_first():
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    network[0].requires_grad_(False)
    return network


NETWORKS = {
    "recurrent": Recurrent,
    **{
        f"mlp-{norm}": (lambda norm=norm: mlp(5, 3, hidden=[6, 4], norm=norm))
        for norm in registry.norms.names()
        if not registry.norms.get(norm).pictures_only
    },
    "mlp-linear": lambda: mlp(5, 3, hidden=[]),
    "mlp-without-affine": lambda: mlp(5, 3, hidden=[6], norm="batch", gain=False, shift=False),
    "sequential": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3, bias=False)
    ),
    "sequential-frozen": frozen_first,
    "layernorm": lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(5, 4), nn.Tanh()), nn.Linear(4, 3)),
    "convolutional": Convolutional,
    "tied": Tied,
    "counter": Counter,
}
ACTIVATIONS = [
    "sigmoid",
    "tanh",
    "relu",
    {"kind": "leaky_relu", "slope": 0.1, "at_zero": "one"},
    "gelu",
    "elu",
    "sin",
    "identity",
]


def setup(make, bn_mode="batch", ahead=0):
    torch.manual_seed(0)
    module = prepare(make().double(), bn_mode, ahead)
    layout = ParameterLayout.of(module)
    population = 0.5 * torch.randn(7, layout.dim, dtype=torch.float64)
    inputs = torch.randn(len(TARGETS), 5, dtype=torch.float64)
    return module, layout, population, inputs


def one_by_one(module, layout, population, inputs, gradient=False):
    """The plain way: set the weights, call the module, let autograd work."""
    losses, gradients = [], []
    start = {n: b.clone() for n, b in module.named_buffers()}
    for vector in population:
        layout.assign(module, vector)
        for name, buffer in module.named_buffers():
            buffer.copy_(start[name])
        loss = criterion(module(inputs))
        losses.append(loss.detach())
        if gradient:
            found = torch.autograd.grad(loss, layout.tensors(module), allow_unused=True)
            gradients.append(torch.cat([g.reshape(-1) for g in found]))
    for name, buffer in module.named_buffers():
        buffer.copy_(start[name])
    return torch.stack(losses), torch.stack(gradients) if gradient else None


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("strategy", [None, "vmap", "loop"])
def test_population_equals_one_by_one(name, strategy):
    module, layout, population, inputs = setup(NETWORKS[name])
    expected, slopes = one_by_one(module, layout, population, inputs, gradient=True)
    engine = PopulationEngine(module, layout, inputs, strategy=strategy)
    engine.tile = 3  # 7 members: two full tiles and a last one of one member
    torch.testing.assert_close(engine.losses(population, inputs, criterion), expected, rtol=1e-10, atol=1e-12)
    losses, gradients = engine.gradients(population, inputs, criterion)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients, slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_every_activation_is_the_same_in_a_population(activation):
    module, layout, population, inputs = setup(lambda: mlp(5, 3, hidden=[6], activation=activation))
    expected, _ = one_by_one(module, layout, population, inputs)
    engine = PopulationEngine(module, layout, inputs)
    torch.testing.assert_close(engine.losses(population, inputs, criterion), expected, rtol=1e-10, atol=1e-12)


def test_one_member_equals_the_same_member_in_a_population():
    module, layout, population, inputs = setup(NETWORKS["mlp-batch"])
    engine = PopulationEngine(module, layout, inputs)
    alone = engine.gradients(population[2:3], inputs, criterion)
    together = engine.gradients(population, inputs, criterion)
    torch.testing.assert_close(alone[0][0], together[0][2], rtol=1e-12, atol=0)
    torch.testing.assert_close(alone[1][0], together[1][2], rtol=1e-9, atol=1e-14)


def test_the_fastest_strategy_that_fits_is_taken():
    for name, strategy in {
        "mlp-batch": "native",
        "sequential": "native",
        "nested": "native",
        "convolutional": "vmap",
        "recurrent": "vmap",
    }.items():
        module, layout, _, inputs = setup(NETWORKS[name])
        assert PopulationEngine(module, layout, inputs).strategy == strategy, name


class AsksForANumber(nn.Module):
    """What a network does depends on a value, so that members may do different things."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.body(x)
        return self.head(torch.tanh(h) if float(h.detach().mean()) > 0 else torch.sin(h))


def test_a_layer_that_torch_cannot_batch_runs_in_a_loop_and_says_so_once():
    module, layout, population, inputs = setup(AsksForANumber)
    with pytest.warns(SlowPathWarning, match="member by member") as caught:
        engine = PopulationEngine(module, layout, inputs)
    assert len(caught) == 1
    assert engine.strategy == "loop"
    expected, slopes = one_by_one(module, layout, population, inputs, gradient=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(engine.losses(population, inputs, criterion), expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(engine.gradients(population, inputs, criterion)[1], slopes, rtol=1e-9, atol=1e-12)


def test_a_network_that_does_not_fit_the_rows_is_an_error_that_says_so():
    module, layout, _, _ = setup(NETWORKS["nested"])
    with pytest.raises(NetworkError, match=r"does not accept rows of shape \(9,\)"):
        PopulationEngine(module, layout, torch.zeros(4, 9, dtype=torch.float64))


def test_a_member_that_fails_does_not_touch_the_others():
    module, layout, population, inputs = setup(NETWORKS["mlp-layer"])
    engine = PopulationEngine(module, layout, inputs)
    whole = engine.gradients(population, inputs, criterion)
    broken = population.clone()
    broken[3] = torch.nan
    losses, gradients = engine.gradients(broken, inputs, criterion)
    others = [0, 1, 2, 4, 5, 6]
    assert not torch.isfinite(losses[3])
    torch.testing.assert_close(losses[others], whole[0][others], rtol=0, atol=0)
    torch.testing.assert_close(gradients[others], whole[1][others], rtol=0, atol=0)


def test_dropout_is_one_mask_for_all_members_and_depends_on_the_seed():
    module, layout, population, inputs = setup(
        lambda: nn.Sequential(nn.Linear(5, 40), nn.Dropout(0.5), nn.Linear(40, 3))
    )
    same = population[:1].expand(7, -1)
    before = torch.get_rng_state()
    for strategy in ("vmap", "loop"):
        engine = PopulationEngine(module, layout, inputs, strategy=strategy)
        engine.tile = 3
        losses = engine.losses(same, inputs, criterion, seed=1)
        assert losses.unique().numel() == 1  # common random numbers
        assert engine.losses(same, inputs, criterion, seed=1).equal(losses)
        assert not engine.losses(same, inputs, criterion, seed=2).equal(losses)
    assert torch.get_rng_state().equal(before)


def test_the_tile_depends_on_network_and_batch_alone():
    module, layout, _, inputs = setup(NETWORKS["mlp-none"])
    wide = torch.randn(100_000, 5, dtype=torch.float64)
    assert PopulationEngine(module, layout, inputs).tile == 32
    assert PopulationEngine(module, layout, wide).tile == 1  # 100 000 x 6 numbers of 8 bytes fill a tile


def test_an_empty_population_has_no_losses():
    module, layout, population, inputs = setup(NETWORKS["mlp-none"])
    engine = PopulationEngine(module, layout, inputs)
    assert engine.losses(population[:0], inputs, criterion).shape == (0,)
    losses, gradients = engine.gradients(population[:0], inputs, criterion)
    assert losses.shape == (0,)
    assert gradients.shape == (0, layout.dim)


def test_the_users_module_is_left_alone():
    network = Counter().double()
    layout = ParameterLayout.of(network)
    inputs = torch.randn(len(TARGETS), 5, dtype=torch.float64)
    state = {n: t.clone() for n, t in network.state_dict().items()}
    engine = PopulationEngine(network, layout, inputs)
    engine.gradients(torch.randn(4, layout.dim, dtype=torch.float64), inputs, criterion)
    engine.losses(torch.randn(4, layout.dim, dtype=torch.float64), inputs, criterion)
    assert all(t.equal(state[n]) for n, t in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_step_activation_evaluates_without_a_gradient():
    assert make_activation("step").differentiable is False
    module, layout, population, inputs = setup(lambda: mlp(5, 3, hidden=[6], activation="step"))
    expected, _ = one_by_one(module, layout, population, inputs)
    torch.testing.assert_close(PopulationEngine(module, layout, inputs).losses(population, inputs, criterion), expected)


def test_long_sequences_bound_the_tile_by_what_their_steps_need():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(1, 64, batch_first=True), nn.Linear(64, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    network = Reads()
    tiles = [
        PopulationEngine(prepare(network, "batch"), ParameterLayout.of(network), torch.zeros(64, steps, 1)).tile
        for steps in (4, 500, 2000)
    ]
    assert tiles == [64, 2**28 // (3 * 64 * 500 * 64 * 4), 2**28 // (3 * 64 * 2000 * 64 * 4)]


@pytest.mark.parametrize("norm", ["spectral", "whitening", "iternorm", "batch", "layer"])
@pytest.mark.parametrize("strategy", ["native", "vmap", "loop"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_member_without_finite_weights_fails_alone(norm, strategy, value):
    module, layout, population, inputs = setup(lambda: mlp(5, 3, hidden=[4], norm=norm))
    engine = PopulationEngine(prepare(module, "batch"), layout, inputs, strategy=strategy)
    whole = engine.losses(population, inputs, criterion)
    broken = population.clone()
    broken[2, :7] = value
    losses, gradients = engine.gradients(broken, inputs, criterion)
    others = [i for i in range(len(population)) if i != 2]
    assert not torch.isfinite(losses[2])
    torch.testing.assert_close(losses[others], whole[others], rtol=1e-10, atol=0)
    assert gradients[others].isfinite().all()
