from __future__ import annotations

import copy
import math
import pickle
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from gfopt import registry
from gfopt.errors import GfoptError, NetworkError, ShapeError
from gfopt.nn import MLP, MLPOptions, NormalizedLinear, ParameterLayout, initial_vectors
from gfopt.nn.normalization import RowStatistics


def _forgetful(part):
    """What the engine swaps in: statistics of the batch at hand."""
    if isinstance(part, nn.BatchNorm1d):
        part.track_running_stats, part.running_mean, part.running_var = False, None, None
    elif isinstance(part, RowStatistics):
        part.remember = False


def test_forward_is_layer_by_layer(norm):
    network = MLP(6, 3, hidden=[6, 4], activation="tanh", norm=norm).double()
    x = torch.randn(7, 6, dtype=torch.float64)
    first, second, last = network.layers
    network.apply(_forgetful)
    torch.testing.assert_close(network(x), last(torch.tanh(second(torch.tanh(first(x))))))


def test_plain_network_equals_numpy():
    network = MLP(6, 3, hidden=[5], activation="sigmoid").double()
    x = np.random.default_rng(0).normal(size=(4, 6))
    w1, b1, w2, b2 = (p.detach().numpy() for p in network.parameters())
    expected = (1 / (1 + np.exp(-(x @ w1.T + b1)))) @ w2.T + b2
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach(), expected, rtol=1e-12)


def test_names_and_shapes_are_a_contract():
    network = MLP(6, 3, hidden=[5], norm="batch")
    assert {n: tuple(p.shape) for n, p in network.named_parameters()} == {
        "layers.0.weight": (5, 6),
        "layers.0.gain": (5,),
        "layers.0.shift": (5,),
        "layers.1.weight": (3, 5),
        "layers.1.shift": (3,),
    }


@pytest.mark.parametrize("depth", [0, 1, 2, 9])
def test_any_depth(depth):
    network = MLP(6, 3, hidden=[4] * depth, norm="layer")
    assert len(network.layers) == depth + 1
    assert len(network.activations) == depth
    assert network(torch.randn(2, 6)).shape == (2, 3)


def test_no_hidden_layer_is_a_linear_model():
    network = MLP(6, 3, hidden=[], activation="relu", norm="batch")
    x = torch.randn(5, 6)
    assert torch.equal(network(x), F.linear(x, network.layers[0].weight, network.layers[0].shift))


def test_the_last_layer_is_plain_so_that_it_can_fit(norm):
    network = MLP(6, 10, hidden=[8], norm=norm)
    assert network.layers[-1].gain is None
    with torch.no_grad():
        network.layers[-1].shift[0] = 100.0
    logits = network(torch.randn(32, 6))
    bound = math.log(1 + 9 * math.exp(-2))  # CN-5: what logits in [-1, 1] cannot fall below
    assert bound == pytest.approx(0.797, abs=1e-3)
    assert F.cross_entropy(logits, torch.zeros(32, dtype=torch.long)) < bound


def test_samples_of_any_rank_are_flattened():
    network = MLP(12, 3)
    x = torch.randn(5, 3, 4)
    assert torch.equal(network(x), network(x.reshape(5, 12)))
    assert MLP(1, 2)(torch.randn(5)).shape == (5, 2)
    assert network(torch.randn(0, 12)).shape == (0, 3)
    with pytest.raises(ShapeError, match=r"12 numbers, got shape \(5, 13\)"):
        network(torch.randn(5, 13))


def test_build_is_the_protocol_of_networks():
    assert registry.networks.get("mlp") is MLP
    network = MLP.build(MLPOptions(hidden=[7], norm="rms"), (2, 3, 4), 5)
    assert network.layers[0].weight.shape == (7, 24)
    assert network.options == MLPOptions(hidden=(7,), norm="rms")
    with pytest.raises(NetworkError, match="MLPOptions"):
        MLP.build(object(), (3,), 2)


def test_options_reach_every_hidden_layer(norm):
    network = MLP(6, 3, hidden=[6, 4], norm=norm, gain=False, shift=False, eps=0.25)
    for layer in network.layers[:-1]:
        assert (layer.gain, layer.shift, layer.norm.eps) == (None, None, 0.25)
        assert type(layer.norm) is registry.norms.get(norm)
    assert network.layers[-1].shift is not None


def test_the_norm_may_differ_from_layer_to_layer():
    network = MLP(6, 3, hidden=[4, 6, 5], norm=["batch", {"kind": "group", "groups": 3}, "none"])
    assert [layer.norm.options.kind for layer in network.layers] == ["batch", "group", "none", "none"]
    assert network.layers[1].norm.options.groups == 3


def test_a_norm_behind_the_activation():
    network = MLP(6, 3, hidden=[5, 4], activation="sigmoid", norm="batch", norm_position="post").double()
    x = torch.randn(9, 6, dtype=torch.float64)
    first, second, last = network.layers
    assert {type(layer.norm).__name__ for layer in network.layers} == {"Identity"}
    behind = [nn.BatchNorm1d(n).double() for n in (5, 4)]
    h = behind[1](torch.sigmoid(second(behind[0](torch.sigmoid(first(x))))))
    torch.testing.assert_close(network(x), last(h))
    network.apply(_forgetful)
    layout = ParameterLayout.of(network)
    population = initial_vectors(network, layout, 4, 0)
    together = functional_call(network, layout.unflatten(population), (x,))
    for row, out in zip(population, together, strict=True):
        layout.assign(network, row)
        torch.testing.assert_close(out, network(x), rtol=0, atol=1e-10)


def test_vmap_equals_the_loop(norm):
    network = MLP(6, 3, hidden=[6, 4], norm=norm).double()
    layout = ParameterLayout.of(network)
    population = initial_vectors(network, layout, 4, 0)
    x = torch.randn(9, 6, dtype=torch.float64)
    buffers = {n: b.expand(4, *b.shape).clone() for n, b in network.named_buffers()}
    together = vmap(lambda p, b: functional_call(network, {**p, **b}, (x,)))(layout.unflatten(population), buffers)
    for row, out in zip(population, together, strict=True):
        member = copy.deepcopy(network)
        layout.assign(member, row)
        torch.testing.assert_close(out, member(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("trainable", ["*", "layers.0.*", "layers.1.*", "layers.2.*", "*.weight", "*.shift", "*.gain"])
def test_stacked_members_equal_the_loop_whatever_is_trained(norm, trainable):
    if norm in ("none", "mean") and trainable == "*.gain":
        trainable = "layers.1.weight"
    network = MLP(6, 3, hidden=[6, 4], norm=norm).double()
    network.apply(_forgetful)
    layout = ParameterLayout.of(network, trainable)
    population = torch.randn(4, layout.dim, dtype=torch.float64)
    x = torch.randn(4, 6, dtype=torch.float64)  # as many rows as members, so that a mixed-up axis still fits
    together = functional_call(network, layout.unflatten(population), (x,))
    for row, out in zip(population, together, strict=True):
        member = copy.deepcopy(network)
        layout.assign(member, row)
        torch.testing.assert_close(out, member(x), rtol=0, atol=1e-10)


def test_copies_and_pickles(norm):
    network = MLP(6, 3, hidden=[4], norm=norm, activation={"kind": "leaky_relu", "at_zero": "one"}).eval()
    x = torch.randn(5, 6)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(x), network(x))


def test_options_survive_their_own_dump():
    options = MLPOptions(hidden=[3], activation={"kind": "leaky_relu", "slope": 0.3}, init="he", norm="batch")
    dump = options.model_dump()
    assert dump["activation"] == {"kind": "leaky_relu", "slope": 0.3, "at_zero": "torch"}
    assert MLPOptions.model_validate(dump) == options
    assert MLPOptions.model_validate_json(options.model_dump_json()) == options


def test_options_have_a_schema_that_takes_names_and_mappings():
    properties = MLPOptions.model_json_schema()["properties"]
    assert "tanh" in properties["activation"]["anyOf"][0]["enum"]
    assert "he" in properties["init"]["anyOf"][0]["enum"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hiden": [3]}, ["known option", "'hiden'", "Did you mean 'hidden'?"]),
        ({"hidden": [3, 0]}, ["hidden.1", "greater than 0", "got 0"]),
        ({"hidden": [3, -2]}, ["hidden.1", "got -2"]),
        ({"hidden": [2.5]}, ["hidden.0", "whole number", "2.5"]),
        ({"hidden": ["a"]}, ["hidden.0", "whole number", "'a'"]),
        ({"hidden": 3}, ["hidden", "a list", "got 3"]),
        ({"norm": "btch"}, ["norm", "known norm", "Did you mean 'batch'?"]),
        ({"norm": 3}, ["norm", "known norm", "got 3"]),
        ({"norm": ["batch"], "hidden": [3, 3]}, ["norm", "each of the 2 layers", "got `1`"]),
        ({"norm": "weight", "norm_position": "post"}, ["norm", "acts on activations", "weight"]),
        ({"norm": {"kind": "group", "groups": 3}, "hidden": [6, 4]}, ["hidden.1", "groups", "divisor"]),
        ({"norm": "layer", "hidden": [4, 1]}, ["hidden.1", "at least 2 units", "'layer'", "got 1"]),
        ({"norm": "pearson", "hidden": [1, 4]}, ["hidden.1", "at least 2 inputs", "'pearson'", "got 1"]),
        ({"activation": "tahn"}, ["activation", "Did you mean 'tanh'?"]),
        ({"init": {"kind": "normal", "scale": -1}}, ["init", "scale", "got -1"]),
        ({"eps": 0}, ["eps", "greater than 0"]),
        ({"gain": "maybe"}, ["gain", "true or false", "'maybe'"]),
        ({"shift": 1}, ["shift", "true or false", "got 1"]),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(NetworkError) as caught:
        MLP(4, 2, **options)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises((ValidationError, GfoptError)):  # the options alone refuse it too, before there is a network
        MLPOptions(**options)


def test_a_norm_too_wide_for_the_inputs_names_the_layer():
    with pytest.raises(NetworkError, match=r"hidden\.0: in_features: .*at least 2 inputs.*'pearson'"):
        MLP(1, 2, norm="pearson")


def test_a_registered_norm_of_somebody_else_works(monkeypatch):
    point = EntryPoint("none2", "gfopt.nn.normalization:Identity", registry.norms.group)
    monkeypatch.setitem(registry.norms._own, "none2", point)
    assert isinstance(MLP(4, 2, norm="none2").layers[0], NormalizedLinear)
    assert isinstance(MLP(4, 2).layers, nn.ModuleList)


def test_inputs_may_be_normalized_ahead_of_the_first_layer():
    network = MLP(6, 3, hidden=[], input_norm="layer").double()
    x = 1000 * torch.randn(7, 6, dtype=torch.float64) + 50
    last = network.layers[0]
    torch.testing.assert_close(network(x), last(F.layer_norm(x, (6,))))
    assert [n for n, _ in network.named_parameters()] == ["layers.0.weight", "layers.0.shift"]
    with pytest.raises(NetworkError, match="input_norm: norm: expected one that acts on activations"):
        MLP(6, 3, input_norm="cosine")


def test_a_cosine_as_output_wants_a_gain():
    network = MLP(6, 3, hidden=[4], output_norm="cosine")
    assert network.layers[-1].gain.shape == (3,)
    with pytest.raises(NetworkError, match=r"output_norm: expected a gain for outputs between -1 and 1"):
        MLP(6, 3, hidden=[4], output_norm="cosine", gain=False)
    assert MLP(6, 4, output_norm={"kind": "group", "groups": 2}).layers[-1].norm.options.groups == 2


def test_dropout_stands_behind_every_hidden_activation():
    network = MLP(6, 3, hidden=[50, 50], dropout=0.5)
    seen = []
    network.dropout.register_forward_hook(lambda m, a, out: seen.append(out))
    network(torch.randn(4, 6))
    assert [float((h == 0).double().mean()) > 0.3 for h in seen] == [True, True]
    assert MLP(6, 3).dropout is None
