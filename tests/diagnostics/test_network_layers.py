import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gfopt.diagnostics.layers import (
    ACTIVATIONS,
    activation_candidates,
    by_unit,
    first_tensor,
    is_elementwise,
    sample_axis,
    weight_names,
    weighted_layers,
)
from gfopt.nn import MLP, NormalizedLinear, make_activation
from gfopt.nn.activations import ACTIVATIONS as NAMED


class Bag(nn.Module):
    """One of everything."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.conv = nn.Conv1d(3, 4, 2)
        self.scale = nn.LayerNorm((4, 2))
        self.memory = nn.GRU(4, 6, num_layers=2)
        self.look = nn.MultiheadAttention(6, 2)
        self.act = nn.Sequential(nn.ReLU(), nn.PReLU(3), nn.Dropout(), nn.Flatten())
        self.pair = nn.Bilinear(2, 3, 4)
        self.spectral = parametrizations.spectral_norm(nn.Linear(3, 2))
        self.norm = nn.BatchNorm1d(4)
        self.own = NormalizedLinear(3, 2, "batch")


def test_layers_with_weights():
    names = [name for name, _ in weighted_layers(Bag())]
    assert names == ["embed", "conv", "memory", "look", "pair", "spectral", "own"]


@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_layers_of_an_mlp(norm):
    assert [name for name, _ in weighted_layers(MLP(4, 2, hidden=[3, 3], norm=norm))] == [
        "layers.0",
        "layers.1",
        "layers.2",
    ]


def test_weights_are_parameters_of_two_axes():
    bag = Bag()
    assert weight_names(bag.own) == ["weight"]
    assert weight_names(bag.conv) == ["weight"]
    assert weight_names(bag.memory) == ["weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"]
    assert weight_names(bag.look) == ["in_proj_weight", "out_proj.weight"]


def test_units_and_samples():
    bag = Bag()
    values = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(by_unit(nn.Linear(4, 4), values), values.reshape(6, 4))
    assert torch.equal(by_unit(bag.conv, values), values.transpose(1, 2).reshape(8, 3))
    assert torch.equal(by_unit(None, values[..., None]), values.transpose(1, 2).reshape(8, 3))
    assert by_unit(bag.pair, values).shape == (6, 4)  # three axes of weights, and yet no positions
    assert sample_axis(bag.memory) == sample_axis(bag.look) == 1
    assert sample_axis(nn.LSTM(2, 2, batch_first=True)) == sample_axis(bag.own) == 0


def test_the_first_tensor_of_an_output():
    tensor = torch.ones(2)
    assert first_tensor(tensor) is tensor
    assert first_tensor((None, (tensor, torch.zeros(1)))) is tensor
    assert first_tensor({"a": 1}) is None


def test_candidates_are_outside_of_layers():
    assert [name for name, _ in activation_candidates(Bag())] == ["act.0", "act.1"]


@pytest.mark.parametrize("kind", list(NAMED))
def test_every_named_activation_but_the_identity_is_found(kind):
    module = nn.Sequential(nn.Linear(2, 2), make_activation(kind))
    z = torch.linspace(-2, 2, 8).reshape(4, 2)
    found = [part for _, part in activation_candidates(module) if is_elementwise(part, z)]
    assert len(found) == (kind != "identity")


def test_torchs_elementwise_activations_are_all_known():
    others = {"GLU", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
    known = {kind.__name__ for kind in ACTIVATIONS} | {"ReLU6"}  # a Hardtanh
    assert known == set(nn.modules.activation.__all__) - others


class Swish(nn.Module):
    def forward(self, z):
        return z * torch.sigmoid(z)


class Normalize(nn.Module):
    def forward(self, z):
        return z / z.norm(dim=-1, keepdim=True)


class Centre(nn.Module):
    def forward(self, z):
        return z - z.mean(0)


class Pool(nn.Module):
    def forward(self, z):
        return z[:, ::2]


def test_an_unknown_module_proves_that_it_is_elementwise():
    z = torch.randn(4, 6)
    assert is_elementwise(Swish(), z)
    assert not is_elementwise(Normalize(), z)
    assert not is_elementwise(Centre(), z)
    assert not is_elementwise(Pool(), z)
    assert not is_elementwise(Swish(), torch.ones(4, dtype=torch.long))
