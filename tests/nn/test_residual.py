"""Residual networks: the formulas of their blocks, the identity that a skip connection keeps, and its gradient."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F

from gfopt import registry
from gfopt.diagnostics import backward_gain, gradient_flow
from gfopt.errors import GfoptError, NetworkError, ShapeError
from gfopt.nn import MLP, ParameterLayout, ResidualMLP, ResidualOptions, build_network, initial_vectors

DENSE = [name for name in registry.norms.names() if not registry.norms.get(name).pictures_only]
KINDS = ["pre-activation", "post-activation", "plain"]


def residual(in_features=6, out_features=3, **options):
    """A network in float64 whose gains and shifts are not 1 and 0."""
    network = ResidualMLP(in_features, out_features, **{"width": 4, "blocks": 2, **options}).double()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    return network


def rows(count=7, features=6):
    return torch.randn(count, features, dtype=torch.float64)


def standardized(z):
    return (z - z.mean(0)) / torch.sqrt(z.var(0, correction=0) + 1e-5)


@pytest.mark.parametrize("norm", DENSE)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_plain_one_is_an_mlp(norm, layers):
    network = residual(block="plain", norm=norm, layers_per_block=layers, activation="relu")
    twin = MLP(6, 3, hidden=[4] * (1 + 2 * layers), norm=norm, activation="relu").double()
    for mine, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        theirs.data.copy_(mine)
    x = rows()
    torch.testing.assert_close(network(x), twin(x), rtol=0, atol=0)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_pre_activation_block_is_its_formula(layers):
    """x + W2 f(N(W1 f(N(x)))), He et al. 2016, figure 4 (e)."""
    block = residual(norm="batch", layers_per_block=layers).blocks[0]
    x = rows(features=4)
    z = x
    for layer, before in zip(block.layers, block.activations, strict=True):
        z = torch.tanh(standardized(z) * before.norm.gain + before.norm.shift) @ layer.weight.T
    torch.testing.assert_close(block(x), x + z, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_post_activation_block_is_its_formula(layers):
    """f(x + N(W2 f(N(W1 x)))), He et al. 2016, figure 4 (a)."""
    block = residual(norm="batch", layers_per_block=layers, block="post-activation").blocks[0]
    x = rows(features=4)
    normalized = [
        lambda h, layer=layer: standardized(h @ layer.weight.T) * layer.gain + layer.shift for layer in block.layers
    ]
    z = normalized[0](x)
    for step in normalized[1:]:
        z = step(torch.tanh(z))
    torch.testing.assert_close(block(x), torch.tanh(x + z), rtol=0, atol=1e-12)


def test_a_norm_of_weights_acts_in_the_layers_of_every_kind():
    for kind in KINDS:
        block = residual(norm="weight", block=kind).blocks[0]
        x = rows(features=4)
        before = block(x)
        with torch.no_grad():
            for layer in block.layers:
                layer.weight *= 7.0
        torch.testing.assert_close(block(x), before, rtol=1e-12, atol=1e-12)
        assert not any(p.shape == (4,) for p in block.activations.parameters())  # and nothing apart from them
    block, x = residual(norm="weight").blocks[0], rows(features=4)
    first, second = block.layers
    unit = [layer.gain[:, None] * F.normalize(layer.weight) for layer in (first, second)]
    expected = x + torch.tanh(torch.tanh(x) @ unit[0].T + first.shift) @ unit[1].T + second.shift
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["none", "batch", "mean", "whitening", "weight", "layer"])
def test_no_parameter_is_dead(kind, norm):
    """A bias that a norm takes away again would be a gene without any effect."""
    network = residual(norm=norm, block=kind)
    F.cross_entropy(network(rows(32)), torch.randint(3, (32,))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("norm", DENSE)
def test_a_branch_of_zeros_is_the_identity(norm):
    """RES-1: and the gradient passes as it is."""
    network = ResidualMLP(6, 3, width=4, blocks=3, norm=norm, zero_last=True).double()
    x = rows(features=4).requires_grad_()
    y = nn.Sequential(*network.blocks)(x)
    assert torch.equal(y, x)
    signal = torch.randn_like(y)
    assert torch.equal(torch.autograd.grad(y, x, signal)[0], signal)


def test_zeros_stay_when_members_are_drawn():
    network = ResidualMLP(6, 3, width=4, blocks=2, zero_last=True)
    layout = ParameterLayout.of(network)
    drawn = layout.unflatten(initial_vectors(network, layout, 3, 0))
    for block in range(2):
        assert drawn[f"blocks.{block}.layers.1.weight"].abs().max() == 0
        assert drawn[f"blocks.{block}.layers.1.shift"].abs().max() == 0
        assert drawn[f"blocks.{block}.layers.0.weight"].std() > 0
    gains = residual(norm="weight", zero_last=True, block="post-activation").blocks[0].layers
    gains[1].reset_parameters()
    assert gains[1].weight.abs().min() > 0  # a weight that a norm divides by its size is never 0


@pytest.mark.parametrize("norm", ["weight", "batch", "spectral"])
def test_a_norm_cannot_divide_by_a_weight_of_zeros(norm):
    with pytest.raises(NetworkError, match=r"blocks\.0: zero_last: .*a gain under the norm .*Set gain: true"):
        ResidualMLP(6, 3, norm=norm, zero_last=True, gain=False, block="post-activation")
    ResidualMLP(6, 3, norm="batch", zero_last=True, gain=False)  # here the last layer of a branch is a plain one


def gain_per_layer(**options):
    """Geometric mean over three networks of 20 blocks of the factor by which |dL/dz| grows toward the input."""
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = ResidualMLP(64, 10, width=64, blocks=20, layers_per_block=1, **options)
        inputs, labels = torch.randn(256, 64), torch.randint(10, (256,))
        flow = gradient_flow(network, inputs, labels, F.cross_entropy)
        found.append(backward_gain([layer.norm for layer in flow if layer.name.startswith("blocks.")]))
    return math.prod(found) ** (1 / 3)


@pytest.mark.parametrize(
    ("low", "high", "options"),
    [
        # With Var w = 1 / (3 n) a step back multiplies by I + diag(f') W^T: sqrt(1 + E f'^2 / 3) on average.
        (1.00, 1.02, {"activation": "sigmoid"}),  # f' near 1/4: sqrt(1 + 1/48) = 1.010
        (1.04, 1.10, {"activation": "tanh"}),  # 1.064; below sqrt(4/3), which f' = 1 would make of it
        (1.06, 1.10, {"activation": "relu"}),  # half the units pass: sqrt(1 + 1/6) = 1.080
        (1.00, 1.10, {"activation": "tanh", "norm": "batch"}),  # 1.054
        (0.95, 1.06, {"activation": "tanh", "block": "post-activation"}),  # 1.006
        (0.20, 0.30, {"activation": "sigmoid", "block": "post-activation"}),  # the skip itself passes through f'
        (0.50, 0.65, {"activation": "tanh", "block": "plain"}),  # as an MLP: near 1 / sqrt(3)
        (0.10, 0.18, {"activation": "sigmoid", "block": "plain"}),
    ],
)
def test_backward_gain_per_block(low, high, options):
    """RES-2: a clean skip connection never lets the signal vanish."""
    assert low < gain_per_layer(**options) < high


def test_the_jacobian_of_blocks_is_a_product_of_identities_and_branches():
    """RES-3: (I + J2)(I + J1)."""
    first, second = residual(activation="tanh").blocks
    x = rows(1, 4)[0]
    identity = torch.eye(4, dtype=torch.float64)

    def branch(block):
        return lambda h: (block(h[None]) - h[None])[0]

    whole = jacrev(lambda h: second(first(h[None]))[0])(x)
    one, two = jacrev(branch(first))(x), jacrev(branch(second))(first(x[None])[0])
    torch.testing.assert_close(whole, (identity + two) @ (identity + one), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", DENSE)
def test_stacked_members_equal_the_loop(kind, norm):
    network = residual(norm=norm, block=kind)
    for part in network.modules():  # the engine's swap: statistics of the batch at hand
        if isinstance(part, nn.BatchNorm1d):
            part.track_running_stats, part.running_mean, part.running_var = False, None, None
        elif hasattr(part, "remember"):
            part.remember = False
    x = rows(4)  # as many rows as members, so that a mixed-up axis still fits
    for trainable in ("*", "blocks.0.*", "head.*"):
        layout = ParameterLayout.of(network, trainable)
        population = torch.randn(4, layout.dim, dtype=torch.float64)
        together = functional_call(network, layout.unflatten(population), (x,))
        for row, out in zip(population, together, strict=True):
            member = copy.deepcopy(network)
            layout.assign(member, row)
            torch.testing.assert_close(out, member(x), rtol=0, atol=1e-10)


def test_each_block_may_have_its_own_norm():
    network = ResidualMLP(6, 3, width=4, blocks=2, norm=["batch", {"kind": "group", "groups": 2}])
    kinds = [[type(part.norm.norm).__name__ for part in block.activations] for block in network.blocks]
    assert kinds == [["BatchNorm"] * 2, ["GroupNorm"] * 2]
    assert type(network.head_activation.norm.norm).__name__ == "GroupNorm"


def test_build_is_the_protocol_of_networks():
    assert registry.networks.get("residual") is ResidualMLP
    network = build_network({"kind": "residual", "input_shape": [2, 3], "out_features": 5, "width": 7, "norm": "rms"})
    assert network.options == ResidualOptions(width=7, norm="rms")
    assert network(torch.randn(4, 2, 3)).shape == (4, 5)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        x = torch.randn(4, 6)
        assert torch.equal(twin(x), network(x))
    with pytest.raises(NetworkError, match="ResidualOptions"):
        ResidualMLP.build(object(), (3,), 2)
    with pytest.raises(ShapeError, match=r"6 numbers, got shape \(5, 13\)"):
        network(torch.randn(5, 13))


def test_options_survive_their_own_dump():
    options = ResidualOptions(block="post-activation", norm=["batch", "none", "layer", "rms"], init="he")
    assert ResidualOptions.model_validate(options.model_dump()) == options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"block": "pre"}, ["block", "pre-activation", "'pre'"]),
        ({"layers_per_block": 3}, ["layers_per_block", "1 or 2", "got 3"]),
        ({"blocks": 0}, ["blocks", "greater than 0", "got 0"]),
        ({"width": 2.5}, ["width", "whole number", "2.5"]),
        ({"widht": 2}, ["widht", "Did you mean 'width'?"]),
        ({"norm": ["batch", "batch"]}, ["norm", "each of the 4 layers", "2"]),
        ({"norm": "group", "width": 5}, ["blocks.0", "groups", "divisor of the 5 units"]),
        ({"norm": "instance"}, ["blocks.0", "'instance'", "a dense layer"]),
        ({"norm": "layer", "width": 1}, ["blocks.0", "at least 2 units", "got 1"]),
        ({"zero_last": 1}, ["zero_last", "true or false", "got 1"]),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(NetworkError) as caught:
        ResidualMLP(4, 2, **options)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises((ValidationError, GfoptError)):
        ResidualOptions(**options)


def test_an_input_too_narrow_for_the_norm_names_the_layer():
    with pytest.raises(NetworkError, match=r"stem: in_features: .*at least 2 inputs.*'pearson'"):
        ResidualMLP(1, 2, norm="pearson")
