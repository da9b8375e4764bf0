"""Convolutional networks, plain and residual: their formulas, their sizes, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from gfopt import registry
from gfopt.errors import GfoptError, NetworkError, ShapeError
from gfopt.nn import (
    CNN,
    CNNOptions,
    ParameterLayout,
    ResidualCNN,
    ResidualCNNOptions,
    build_network,
    initial_vectors,
)
from gfopt.nn.pictures import Pool

NORMS = registry.norms.names()
KINDS = ["pre-activation", "post-activation", "plain"]
PICTURE = (2, 6, 8)


def pictures(count=9, shape=PICTURE):
    return torch.randn(count, *shape, dtype=torch.float64)


def cnn(**options):
    return CNN(PICTURE, 3, **{"channels": [4, 6], "hidden": [8], **options}).double()


def residual_cnn(**options):
    """A network whose gains and shifts are not 1 and 0."""
    network = ResidualCNN(PICTURE, 3, **{"channels": [4, 6], **options}).double()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    return network


def standardized(z):
    axes = (0, 2, 3)
    return (z - z.mean(axes, keepdim=True)) / torch.sqrt(z.var(axes, correction=0, keepdim=True) + 1e-5)


def affine(z, layer):
    return z * layer.gain.reshape(-1, 1, 1) + layer.shift.reshape(-1, 1, 1)


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_plain_network_is_torchs_own_layers(pool, padding):
    network = CNN((2, 12, 14), 3, channels=[4, 6], hidden=[5], pool=pool, padding=padding, activation="relu").double()
    border = {"same": 1, "valid": 0}[padding]
    pooling = nn.MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2)
    flat = {"same": 6 * 3 * 3, "valid": 6 * 1 * 2}[padding]
    twin = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=border), nn.ReLU(), pooling,
        nn.Conv2d(4, 6, 3, padding=border), nn.ReLU(), pooling,
        nn.Flatten(), nn.Linear(flat, 5), nn.ReLU(), nn.Linear(5, 3),
    ).double()  # fmt: skip
    for mine, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        theirs.data.copy_(mine)
    x = pictures(5, (2, 12, 14))
    torch.testing.assert_close(network(x), twin(x), rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(network(x), twin(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 3, 5, 7), (3, 2, 2)])
def test_pooling_is_torchs_with_and_without_a_gradient(kind, shape):
    pool, theirs = Pool(kind), nn.MaxPool2d(2) if kind == "max" else nn.AvgPool2d(2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    mine = pool(x)
    torch.testing.assert_close(mine, theirs(x), rtol=0, atol=1e-15)
    weight = torch.randn_like(mine)
    slopes = [torch.autograd.grad(out, x, weight)[0] for out in (mine, theirs(x))]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-15)
    with torch.no_grad():
        assert torch.equal(pool(x), mine)
        x.view(-1)[0] = torch.nan
        assert pool(x).isnan().sum() == 1


def test_names_and_shapes_are_a_contract():
    network = build_network({"kind": "cnn", "input_shape": [1, 8, 8], "out_features": 10, "norm": "batch"})
    assert {n: tuple(p.shape) for n, p in network.named_parameters()} == {
        "convolutions.0.weight": (8, 1, 3, 3),
        "convolutions.0.gain": (8,),
        "convolutions.0.shift": (8,),
        "convolutions.1.weight": (16, 8, 3, 3),
        "convolutions.1.gain": (16,),
        "convolutions.1.shift": (16,),
        "hidden.0.weight": (32, 64),
        "hidden.0.gain": (32,),
        "hidden.0.shift": (32,),
        "head.weight": (10, 32),
        "head.shift": (10,),
    }


def test_the_norm_stands_ahead_of_the_activation_or_behind_it():
    x = pictures()
    for position in ("pre", "post"):
        network = cnn(norm="batch", norm_position=position, hidden=[], channels=[4])
        layer = network.convolutions[0]
        z = F.conv2d(x, layer.weight, padding=1)
        if position == "pre":
            h = torch.tanh(affine(standardized(z), layer))
        else:
            h = affine(standardized(torch.tanh(z + layer.shift[:, None, None])), network.norms[0])
        expected = network.head(F.max_pool2d(h, 2).flatten(1))
        torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_fits_into_pictures(norm):
    network = cnn(norm=norm)
    norm_class = registry.norms.get(norm)
    assert all(type(layer.norm) is norm_class for layer in network.convolutions)
    dense = registry.norms.get("none") if norm_class.pictures_only else norm_class
    assert type(network.hidden[0].norm) is dense
    assert type(network.head.norm) is registry.norms.get("none")
    for position in ("pre", "post") if norm_class.acts_on == "activations" else ("pre",):
        assert torch.isfinite(cnn(norm=norm, norm_position=position)(pictures())).all()
    for kind in KINDS:
        assert residual_cnn(norm=norm, block=kind)(pictures()).shape == (9, 3)


def test_each_layer_may_have_its_own_norm():
    network = cnn(norm=["instance", {"kind": "group", "groups": 3}, "layer"])
    kinds = [type(layer.norm).__name__ for layer in (*network.convolutions, *network.hidden)]
    assert kinds == ["InstanceNorm", "GroupNorm", "LayerNorm"]
    stages = residual_cnn(norm=["batch", "instance"]).blocks
    assert [type(b.activations[1].norm.norm).__name__ for b in stages] == ["BatchNorm", "InstanceNorm"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_residual_network_is_its_formula(kind):
    """Two stages of one block with batch norm, written out with torch's functions."""
    network = residual_cnn(norm="batch", block=kind)
    pre, first, second = kind == "pre-activation", *network.blocks
    x = pictures()

    def unit(h, layer, stride=1, size=1):
        z = F.conv2d(h, layer.weight, stride=stride, padding=size)
        return z if pre else affine(standardized(z), layer)

    def active(z, ahead):
        return torch.tanh(affine(standardized(z), ahead.norm)) if pre else torch.tanh(z)

    def block(h, part, stride):
        ahead, behind = part.activations
        one = active(h, ahead) if pre else h
        middle = unit(one, part.layers[0], stride)
        branch = unit(active(middle, behind) if pre else torch.tanh(middle), part.layers[1])
        if kind == "plain":
            return torch.tanh(branch)
        skip = h if part.shortcut is None else unit(one, part.shortcut, stride, size=0)
        return skip + branch if pre else torch.tanh(skip + branch)

    h = unit(x, network.stem)
    h = h if pre else torch.tanh(h)
    h = block(block(h, first, 1), second, 2)
    h = active(h, network.head_activation) if pre else h
    assert h.shape == (9, 6, 3, 4)
    torch.testing.assert_close(network(x), network.head(h.mean((2, 3))), rtol=0, atol=1e-12)


def test_a_shortcut_stands_only_where_the_shape_changes():
    network = ResidualCNN((1, 8, 8), 10, channels=[4, 4, 8], blocks=2)
    assert [block.shortcut is None for block in network.blocks] == [True, True, False, True, False, True]
    assert all(b.shortcut is None for b in ResidualCNN((1, 8, 8), 10, block="plain").blocks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["none", "batch", "weight", "filter_response"])
def test_no_parameter_is_dead(kind, norm):
    network = residual_cnn(norm=norm, block=kind)
    F.cross_entropy(network(pictures(32)), torch.randint(3, (32,))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 1e-10, name


@pytest.mark.parametrize("norm", NORMS)
def test_a_branch_of_zeros_is_the_identity(norm):
    network = ResidualCNN(PICTURE, 3, channels=[4], blocks=2, norm=norm, zero_last=True).double()
    x = pictures(shape=(4, 6, 8))
    assert torch.equal(nn.Sequential(*network.blocks)(x), x)


@pytest.mark.parametrize("name", ["cnn", "residual_cnn"])
def test_build_is_the_protocol_of_networks(name):
    spec = {"kind": name, "input_shape": [1, 8, 8], "out_features": 10}
    network = build_network(spec)
    assert type(network) is registry.networks.get(name)
    assert isinstance(network.options, network.options_class)
    x = torch.randn(4, 1, 8, 8)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), build_network(spec)):
        assert torch.equal(twin(x), network(x))
    assert network(torch.randn(0, 1, 8, 8)).shape == (0, 10)
    layout = ParameterLayout.of(network)
    drawn = initial_vectors(network, layout, 3, 0)
    assert torch.equal(initial_vectors(network, layout, 2, 0), drawn[:2])
    assert not torch.equal(drawn[0], drawn[1])
    with pytest.raises(NetworkError, match=network.options_class.__name__):
        network.build(object(), (1, 8, 8), 2)


@pytest.mark.parametrize("name", ["cnn", "residual_cnn"])
def test_what_is_no_picture_is_refused(name):
    spec = {"kind": name, "out_features": 10}
    for size in ({"in_features": 64}, {"input_shape": [64]}):
        with pytest.raises(
            NetworkError, match=r"\(channels, height, width\), got `\(64,\)`\. .*digits_images has them"
        ):
            build_network({**spec, **size})
    with pytest.raises(NetworkError, match=r"Pictures of one channel have the shape \(1, 8, 8\)"):
        build_network({**spec, "input_shape": [8, 8]})
    network = build_network({**spec, "input_shape": [1, 8, 8]})
    with pytest.raises(ShapeError, match=r"pictures of shape \(B, 1, 8, 8\), got shape \(5, 64\)"):
        network(torch.randn(5, 64))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": []}, ["channels", "at least 1"]),
        ({"channels": [4, 0]}, ["channels.1", "greater than 0", "got 0"]),
        ({"kernel": 4}, ["kernel", "odd", "got 4", "Use 5"]),
        ({"pool": "min"}, ["pool", "'max' or 'mean'", "'min'"]),
        ({"hiden": [3]}, ["Did you mean 'hidden'?"]),
        ({"norm": ["batch"]}, ["norm", "each of the 3 layers", "1"]),
        ({"norm": ["batch", "batch", "instance"]}, ["hidden.0", "'instance'", "a dense layer"]),
        ({"norm": "group", "channels": [4, 5]}, ["channels.1", "divisor of the 5 units"]),
        ({"norm": "weight", "norm_position": "post"}, ["weight, which acts on weights"]),
        ({"channels": [4, 4, 4, 4]}, ["channels.3", "at least 2 x 2 pixels ahead", "1 x 1", "fewer convolutions"]),
        ({"padding": "valid"}, ["channels.1", "at least 4 x 4 pixels ahead", "3 x 3", "padding: same"]),
        ({"padding": "valid", "kernel": 9}, ["channels.0", "at least 10 x 10", "8 x 8"]),
    ],
)
def test_wrong_options_of_a_cnn_are_refused(options, words):
    with pytest.raises(NetworkError) as caught:
        CNN((1, 8, 8), 10, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"blocks": 0}, ["blocks", "greater than 0"]),
        ({"norm": ["batch"]}, ["norm", "each of the 2 layers"]),
        ({"norm": "group", "channels": [4, 5]}, ["channels.1", "divisor of the 5 units"]),
        ({"norm": "batch", "zero_last": True, "gain": False, "block": "plain"}, ["channels.0", "zero_last", "gain"]),
        ({"norm": "instance", "channels": [4] * 4}, ["channels.3", "several positions for 'instance'", "1 x 1"]),
        ({"norm": "filter_response", "channels": [4] * 4}, ["channels.3", "'filter_response'", "1 x 1"]),
    ],
)
def test_wrong_options_of_a_residual_cnn_are_refused(options, words):
    with pytest.raises(NetworkError) as caught:
        ResidualCNN((1, 8, 8), 10, **options)
    for word in words:
        assert word in str(caught.value)


def test_options_alone_refuse_what_needs_no_picture():
    for options in ({"kernel": 4}, {"norm": ["batch"]}, {"norm": "group", "channels": [4, 5]}):
        with pytest.raises((ValidationError, GfoptError)):
            CNNOptions(**options)
    for options in (CNNOptions(norm=["instance", "batch", "none"]), ResidualCNNOptions(norm="weight", init="he")):
        assert type(options).model_validate(options.model_dump()) == options
