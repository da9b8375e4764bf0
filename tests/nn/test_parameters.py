from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gfopt.errors import NetworkError, ShapeError
from gfopt.nn import MLP, ParameterLayout
from gfopt.types import Group


class Tied(nn.Module):
    """Two names for one weight, a scalar, a frozen parameter and a buffer."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 3, bias=False)
        self.decoder = nn.Linear(3, 3)
        self.decoder.weight = self.encoder.weight
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.fixed = nn.Parameter(torch.ones(4), requires_grad=False)
        self.register_buffer("count", torch.zeros(5))


def test_declared_order_tied_once_frozen_and_buffers_never():
    layout = ParameterLayout.of(Tied())
    assert layout.groups == (
        Group("temperature", slice(0, 1), ()),
        Group("encoder.weight", slice(1, 10), (3, 3)),
        Group("decoder.bias", slice(10, 13), (3,)),
    )
    assert layout.names == ("temperature", "encoder.weight", "decoder.bias")
    assert layout.dim == 13


def test_no_buffer_of_batch_norm_is_a_gene():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert ParameterLayout.of(network).dim == 9 + 6  # of 13 numbers in the BatchNorm, 6 are parameters
    assert sum(b.numel() for b in network.buffers()) == 7


@settings(max_examples=25, deadline=None)
@given(widths=st.lists(st.integers(1, 6), min_size=2, max_size=5), norm=st.sampled_from(["none", "batch", "rms"]))
def test_slices_tile_the_vector_and_values_come_back(widths, norm):
    network = MLP(widths[0], widths[-1], hidden=widths[1:-1], norm=norm)
    layout = ParameterLayout.of(network)
    assert [i for g in layout.groups for i in range(g.slice.start, g.slice.stop)] == list(range(layout.dim))
    assert layout.dim == sum(p.numel() for p in network.parameters())
    vector = torch.randn(layout.dim)
    layout.assign(network, vector)
    assert torch.equal(layout.flatten(network), vector)
    for name, tensor in layout.unflatten(vector).items():
        assert torch.equal(tensor, network.get_parameter(name))


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_unflatten_gives_views_of_any_leading_shape(lead):
    layout = ParameterLayout.of(Tied())
    vectors = torch.randn(*lead, 13)
    parts = layout.unflatten(vectors)
    assert {n: tuple(t.shape) for n, t in parts.items()} == {
        "temperature": lead, "encoder.weight": (*lead, 3, 3), "decoder.bias": (*lead, 3),
    }  # fmt: skip
    parts["encoder.weight"][..., 0, 1] = 7.0
    assert (vectors[..., 2] == 7.0).all()


def test_flatten_copies_and_assign_copies():
    network = nn.Linear(2, 2)
    layout = ParameterLayout.of(network)
    vector = layout.flatten(network)
    assert not vector.requires_grad
    vector += 1
    assert not torch.equal(layout.flatten(network), vector)
    weight = network.weight
    layout.assign(network, vector.double())
    vector += 1
    assert network.weight is weight  # in place: whoever holds the parameter sees it
    assert weight.dtype == torch.float32
    torch.testing.assert_close(layout.flatten(network), vector - 1)
    assert weight.requires_grad


def test_wrong_shapes_are_refused():
    layout = ParameterLayout.of(nn.Linear(2, 2))
    for wrong in (torch.zeros(5), torch.zeros(6, 1), torch.zeros(())):
        with pytest.raises(ShapeError, match=r"expected shape \(\.\.\., 6\)"):
            layout.unflatten(wrong)
        with pytest.raises(ShapeError, match=r"expected shape \(6,\)"):
            layout.assign(nn.Linear(2, 2), wrong)
    with pytest.raises(NetworkError, match=r"weight: expected shape \(2, 2\), got `\(2, 3\)`"):
        layout.flatten(nn.Linear(3, 2))
    with pytest.raises(NetworkError, match="a parameter 'weight'"):
        layout.flatten(nn.ReLU())


@pytest.mark.parametrize(
    ("trainable", "names"),
    [
        ("layers.1.*", ["layers.1.weight", "layers.1.shift"]),
        ("*.shift", ["layers.0.shift", "layers.1.shift"]),
        (["*.shift", "layers.0.*"], ["layers.0.weight", "layers.0.shift", "layers.1.shift"]),
        (lambda name: name.endswith("weight"), ["layers.0.weight", "layers.1.weight"]),
        ("*", ["layers.0.weight", "layers.0.shift", "layers.1.weight", "layers.1.shift"]),
    ],
)
def test_patterns_choose_genes_and_the_rest_is_frozen(trainable, names):
    network = MLP(3, 2, hidden=[4])
    layout = ParameterLayout.of(network, trainable)
    assert list(layout.names) == names
    frozen = layout.frozen(network)
    assert sorted([*frozen, *names]) == sorted(n for n, _ in network.named_parameters())
    assert not any(t.requires_grad for t in frozen.values())
    assert all(t.data_ptr() == network.get_parameter(n).data_ptr() for n, t in frozen.items())


def test_a_pattern_means_frozen_parameters_too_and_any_name_of_a_tied_one():
    network = Tied()
    assert ParameterLayout.of(network, "fixed").names == ("fixed",)
    assert ParameterLayout.of(network, "decoder.weight").names == ("encoder.weight",)
    assert ParameterLayout.of(network, lambda name: name == "decoder.weight").names == ("encoder.weight",)
    assert set(ParameterLayout.of(network).frozen(network)) == {"fixed"}


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        ("head.*", ["trainable", "'head.*'", "layers.0.weight, layers.0.shift"]),
        (["*.shift", "nose"], ["trainable", "'nose'"]),
        ([], ["parameters to train", "layers.0.weight"]),
        (lambda name: False, ["parameters to train"]),
    ],
)
def test_a_choice_of_nothing_is_refused(trainable, words):
    with pytest.raises(NetworkError) as caught:
        ParameterLayout.of(MLP(3, 2, hidden=[4]), trainable)
    for word in words:
        assert word in str(caught.value)


def test_networks_without_real_parameters_are_refused():
    with pytest.raises(NetworkError, match="parameters to train"):
        ParameterLayout.of(nn.ReLU())
    with pytest.raises(NetworkError, match="parameters to train"):
        ParameterLayout.of(nn.Linear(2, 2).requires_grad_(False))
    complex_network = nn.Module()
    complex_network.weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(NetworkError, match="real numbers"):
        ParameterLayout.of(complex_network)


def test_a_lazy_parameter_is_refused():
    module = nn.Module()
    module.weight = nn.UninitializedParameter()
    with pytest.raises(NetworkError, match="Run one batch"):
        ParameterLayout.of(module)
