from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from gfopt.errors import NetworkError
from gfopt.nn import MLP, ParameterLayout, gene_scale, initial_vectors, redraw


class Mixed(nn.Module):
    """A layer that can redraw itself, beside parameters that cannot."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.linspace(-1, 1, 50))
        self.gate = nn.Parameter(torch.full((3,), 0.7))
        self.body = nn.Linear(4, 5)

    def forward(self, x):
        return self.body(x)


class ZeroLast(nn.Module):
    """Its own `reset_parameters` has the last word over that of its parts."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.zeros_(self.last.weight)


def _globals():
    state = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), state[1].tolist(), state[2]


def numpy_network():
    network = nn.Linear(3, 2)
    with torch.no_grad():
        network.bias.copy_(torch.from_numpy(np.random.normal(size=2)))  # noqa: NPY002
        network.weight[0, 0] = random.random()
    return network


NETWORKS = {
    "mlp": lambda: MLP(6, 3, hidden=[5, 4], norm="batch"),
    "mixed": Mixed,
    "zero last": ZeroLast,
    "numpy": numpy_network,
    "lstm": lambda: nn.LSTM(3, 4),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "embedding": lambda: nn.Embedding(7, 3, padding_idx=2),
}


@pytest.fixture(params=list(NETWORKS))
def factory(request):
    return NETWORKS[request.param]


@pytest.fixture(params=["module", "factory"])
def network(request, factory):
    return factory() if request.param == "module" else factory


def test_a_prefix_is_the_smaller_population(network, factory):
    layout = ParameterLayout.of(factory())
    rows = initial_vectors(network, layout, 5, 7)
    assert rows.shape == (5, layout.dim)
    assert torch.equal(initial_vectors(network, layout, 2, 7), rows[:2])
    assert initial_vectors(network, layout, 0, 7).shape == (0, layout.dim)
    assert rows.isfinite().all()
    assert len({tuple(row.tolist()) for row in rows}) == 5
    assert not torch.equal(initial_vectors(network, layout, 5, 8), rows)


def test_nothing_global_moves_and_nothing_global_matters(network, factory):
    layout = ParameterLayout.of(factory())
    before = _globals()
    rows = initial_vectors(network, layout, 2, 7)
    scale = gene_scale(network, layout)
    assert _globals() == before
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    assert torch.equal(initial_vectors(network, layout, 2, 7), rows)
    assert torch.equal(gene_scale(network, layout), scale)


def test_initializations_that_draw_from_numpy_and_random_depend_on_the_seed():
    layout = ParameterLayout.of(numpy_network())
    a, b = (initial_vectors(numpy_network, layout, 2, seed) for seed in (7, 8))
    drawn = [0, 6, 7]  # weight[0, 0] from random, the bias from numpy
    assert (a[:, drawn] != b[:, drawn]).all()


def test_attention_is_redrawn_by_the_method_that_torch_gave_it():
    network = nn.MultiheadAttention(8, 2)
    layout = ParameterLayout.of(network)
    rows = layout.unflatten(initial_vectors(network, layout, 20, 0))["in_proj_weight"]
    assert float(rows.abs().max()) <= math.sqrt(6 / (24 + 8)) + 1e-6  # Glorot's; given values plus noise pass it


def test_a_reset_that_needs_arguments_is_left_alone():
    class Demanding(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def reset_parameters(self, gain):
            nn.init.constant_(self.weight, gain)

    network = Demanding()
    rows = initial_vectors(network, ParameterLayout.of(network), 2, 0)
    assert float((rows - 1).abs().max()) < 0.5
    assert (rows != 1).all()


def test_the_module_itself_is_not_changed(factory):
    module = factory()
    before = {n: t.clone() for n, t in module.state_dict().items()}
    layout = ParameterLayout.of(module)
    initial_vectors(module, layout, 2, 0)
    gene_scale(module, layout)
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())


def test_members_are_what_the_network_would_have_been():
    # Rows redrawn from a module and rows of new modules come from one distribution.
    network = MLP(6, 3, hidden=[50], norm="weight", init="he")
    layout = ParameterLayout.of(network)
    ours = initial_vectors(network, layout, 40, 0)
    new = torch.stack([layout.flatten(MLP(6, 3, hidden=[50], norm="weight", init="he")) for _ in range(40)])
    for group in layout.groups:
        a, b = ours[:, group.slice], new[:, group.slice]
        assert float(a.std()) == pytest.approx(float(b.std()), rel=0.15, abs=1e-9)
        assert float(a.mean()) == pytest.approx(float(b.mean()), abs=0.05)


def test_dtype_is_the_networks():
    network = MLP(3, 2).double()
    layout = ParameterLayout.of(network)
    assert initial_vectors(network, layout, 2, 0).dtype == torch.float64
    assert gene_scale(network, layout).dtype == torch.float64


def test_a_parent_has_the_last_word():
    network = ZeroLast()
    layout = ParameterLayout.of(network)
    rows = layout.unflatten(initial_vectors(network, layout, 3, 0))
    assert rows["last.weight"].abs().max() == 0
    assert rows["first.weight"].std() > 0.1


def test_what_cannot_be_redrawn_keeps_its_value_plus_noise():
    network = Mixed()
    layout = ParameterLayout.of(network)
    rows = layout.unflatten(initial_vectors(network, layout, 200, 0))
    own = float(network.position.detach().std())
    noise = rows["position"] - network.position.detach()
    assert float(noise.std()) == pytest.approx(own / 2, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float((rows["gate"] - 0.7).std()) == pytest.approx(0.1, rel=0.1)
    assert float(rows["body.weight"].abs().max()) <= 0.5  # its own initialization, U(+-1/sqrt 4)


def test_a_parametrized_layer_is_not_taken_for_redrawn():
    # Its reset_parameters writes into a computed weight, which changes nothing.
    network = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    layout = ParameterLayout.of(network)
    rows = layout.unflatten(initial_vectors(network, layout, 4, 0))
    for name, values in rows.items():
        assert values.isfinite().all(), name
        assert values.std(0).min() > 0, name


def test_only_parts_that_hold_genes_are_redrawn():
    class Counting(nn.Linear):
        calls = 0

        def reset_parameters(self):
            type(self).calls += 1
            super().reset_parameters()

    network = nn.ModuleDict({"body": Counting(3, 3), "head": nn.Linear(3, 2)})
    layout = ParameterLayout.of(network, "head.*")
    before = Counting.calls
    assert initial_vectors(network, layout, 3, 0).shape == (3, 8)
    assert Counting.calls == before


def test_gene_scale_is_the_initializations_and_the_weights_where_it_has_none():
    network = MLP(48, 3, hidden=[20], norm="batch")
    layout = ParameterLayout.of(network)
    scale = layout.unflatten(gene_scale(network, layout))
    assert all(float(s.min()) == float(s.max()) for s in scale.values())  # one value for each parameter
    weight = 1 / math.sqrt(3 * 48)  # standard deviation of U(+-1/sqrt 48)
    for name in ("layers.0.weight", "layers.0.gain", "layers.0.shift"):
        assert float(scale[name].mean()) == pytest.approx(weight, rel=0.03)
    assert float(scale["layers.1.weight"].mean()) == pytest.approx(1 / math.sqrt(60), rel=0.05)
    assert float(scale["layers.1.shift"].mean()) == pytest.approx(1 / math.sqrt(60), rel=0.25)


def test_gene_scale_without_any_spread_is_a_tenth():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    layout = ParameterLayout.of(network)
    scale = layout.unflatten(gene_scale(network, layout))
    assert scale["1.weight"].tolist() == scale["1.bias"].tolist() == pytest.approx([0.1] * 4)


def test_a_mean_is_not_a_spread():
    def far_away():
        network = nn.Linear(4, 40)
        with torch.no_grad():
            network.weight.copy_(torch.arange(160.0).reshape(40, 4) + 0.01 * torch.randn(40, 4))
            network.bias.fill_(0.1)  # a constant whose mean does not round to itself
        return network

    layout = ParameterLayout.of(far_away())
    scale = layout.unflatten(gene_scale(far_away, layout))
    assert float(scale["weight"][0, 0]) == pytest.approx(0.01, rel=0.1)
    assert float(scale["bias"][0]) == float(scale["weight"][0, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_has_no_spread(dtype):
    # Not even a rounding error, which would be taken for a scale: var runs Welford's recurrence.
    for draws in (2, 7, 32):
        assert redraw._spread(torch.full((draws, 1000), 0.1, dtype=dtype)) == 0.0


def test_work_is_bounded_for_large_networks(monkeypatch):
    counts = []
    original = redraw.initial_vectors

    def counting(network, layout, count, seed):
        counts.append(count)
        return original(network, layout, count, seed)

    monkeypatch.setattr(redraw, "initial_vectors", counting)
    monkeypatch.setattr(redraw, "MAX_NUMBERS", 100)
    for inputs in (1, 9, 200):
        network = nn.Linear(inputs, 1)
        redraw.gene_scale(network, ParameterLayout.of(network))
    assert counts == [32, 10, 2]


def test_functions_that_return_something_else_are_refused():
    layout = ParameterLayout.of(nn.Linear(3, 2))
    with pytest.raises(NetworkError, match=r"returns an nn\.Module, got 3"):
        initial_vectors(lambda: 3, layout, 1, 0)
    with pytest.raises(NetworkError, match="different kinds"):
        initial_vectors(lambda: nn.Linear(4, 2), layout, 1, 0)


def test_a_module_that_cannot_be_copied_is_refused_with_a_way_out():
    network = nn.Linear(3, 2)
    network.cache = network.weight * 2  # a tensor of a graph cannot be copied
    with pytest.raises(NetworkError, match="Give a function that returns a new module"):
        initial_vectors(network, ParameterLayout.of(network), 1, 0)
