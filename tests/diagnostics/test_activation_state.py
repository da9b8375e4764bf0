import math

import pytest
import torch
from torch import nn

from gfopt.diagnostics import LayerSaturation, saturation
from gfopt.diagnostics.activations import slope
from gfopt.nn import MLP, make_activation
from gfopt.nn.activations import LeakyReLUOneAtZero, Sin, Step


def of_values(activation, values):
    """The saturation of one activation on rows that reach it unchanged."""
    return saturation(nn.Sequential(activation), torch.as_tensor(values, dtype=torch.float64))[0]


@pytest.mark.parametrize(
    ("activation", "edge"),
    [
        # |z| where f' = 0.01: s (1 - s) = 0.01 and 1 - tanh^2 = 0.01 solved by hand.
        (nn.Sigmoid(), math.log((1 + math.sqrt(0.96)) / (1 - math.sqrt(0.96)))),
        (nn.Tanh(), math.atanh(math.sqrt(0.99))),
        (nn.Hardtanh(), 1.0),
    ],
)
def test_the_edge_of_saturation(activation, edge):
    inside, outside = edge * (1 - 1e-6), edge * (1 + 1e-6)
    values = [[inside, -inside, outside, -outside, 2 * outside]]
    assert of_values(activation, values).saturation_fraction == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("activation", "fraction"),
    [
        (nn.ReLU(), 0.5),
        (nn.ReLU(inplace=True), 0.5),
        (nn.LeakyReLU(0.1), 0.0),
        (LeakyReLUOneAtZero(0.001), 0.5),
        (nn.PReLU(init=0.3).double(), 0.0),
        (nn.ELU(), 0.25),
        (Sin(), 0.0),
        (Step(), 1.0),
    ],
)
def test_share_of_flat_entries(activation, fraction):
    assert of_values(activation, [[-9.0, -1.0], [1.0, 2.0]]).saturation_fraction == fraction


@pytest.mark.parametrize(
    ("activation", "dead"),
    [
        (nn.ReLU(), [True, False, False, False]),
        (nn.Sigmoid(), [False, False, False, False]),
        (nn.LeakyReLU(), [False, False, False, False]),
        (Step(), [True, True, False, False]),  # no gradient anywhere, and yet two units tell rows apart
    ],
)
def test_dead_units_pass_nothing_on_for_any_row(activation, dead):
    values = [[-1.0, 1.0, -2.0, 3.0], [-2.0, 0.5, 5.0, -1.0], [-3.0, 2.0, 1.0, 2.0]]
    assert of_values(activation, values).dead_share == sum(dead) / 4


def test_a_unit_beyond_reach_is_dead_and_so_is_a_constant_one():
    assert of_values(nn.Sigmoid(), [[30.0, 1.0, -2.0], [-30.0, 1.0, 0.0]]).dead_share == pytest.approx(2 / 3)
    assert of_values(nn.Tanh(), [[0.5, 1.0]]).dead_share == 0  # one row is not constant, it is one row


def test_units_of_sequences_and_pictures():
    linear = nn.Linear(3, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(3))
        linear.bias.copy_(torch.tensor([0.0, 0.0, -10.0]))
    steps = torch.randn(4, 5, 3)
    assert saturation(nn.Sequential(linear, nn.ReLU()), steps)[0].dead_share == pytest.approx(1 / 3)
    for conv, rows in ((nn.Conv2d(1, 4, 3), torch.randn(2, 1, 5, 5)), (nn.Conv1d(1, 4, 3), torch.randn(2, 1, 5))):
        with torch.no_grad():
            conv.bias.copy_(torch.tensor([9.0, -9.0, 9.0, -9.0]))
        assert saturation(nn.Sequential(conv, nn.ReLU()), rows)[0].dead_share == 0.5


def test_rows_are_numbered_by_the_layer_before():
    network = MLP(3, 2, hidden=[4, 4], activation="tanh", norm="batch")
    rows = saturation(network, torch.randn(16, 3))
    assert [(row.layer, row.name) for row in rows] == [(1, "activations.0"), (2, "activations.1")]
    assert saturation(nn.Sequential(nn.Tanh(), nn.Linear(3, 2)), torch.randn(4, 3))[0].layer == 0
    assert saturation(nn.Linear(3, 2), torch.randn(4, 3)) == []


def test_a_network_that_drifts_into_saturation():
    network = MLP(8, 2, hidden=[32], activation="sigmoid").double()
    inputs, shares = torch.randn(64, 8, dtype=torch.float64), []
    for factor in (1, 10, 100):
        own = MLP(8, 2, hidden=[32], activation="sigmoid").double()
        own.load_state_dict({k: factor * v for k, v in network.state_dict().items()})
        shares.append(saturation(own, inputs)[0].saturation_fraction)
    assert shares[0] == 0 < shares[1] < 0.6 < 0.8 < shares[2]


def test_what_softmax_does_is_no_saturation():
    class Normalize(nn.Module):
        def forward(self, z):
            return z / z.norm(dim=-1, keepdim=True)

    network = nn.Sequential(nn.Linear(3, 3), Normalize(), nn.Softmax(-1), nn.Dropout(), nn.Identity())
    assert saturation(network, torch.randn(4, 3)) == []


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "relu", "gelu", "elu", "sin", "leaky_relu"])
def test_the_slope_is_the_difference_quotient(kind):
    activation, z = make_activation(kind), torch.linspace(-3.05, 2.95, 61, dtype=torch.float64)
    quotient = (activation(z + 1e-6) - activation(z - 1e-6)) / 2e-6
    torch.testing.assert_close(slope(activation, z), quotient, rtol=1e-6, atol=1e-8)


def test_the_network_is_left_as_it_was(pictures, assert_untouched):
    network, inputs = pictures
    assert_untouched(network, lambda: saturation(network, inputs))
    assert [row.name for row in saturation(network, inputs)] == ["relu"]
    assert isinstance(saturation(network, inputs)[0], LayerSaturation)
