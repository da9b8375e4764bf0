from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gfopt.diagnostics import TRANSFORMATIONS, invariances
from gfopt.errors import NetworkError
from gfopt.nn import MLP, NormalizedLinear

# Rows of the invariance matrix (those for batch, layer and weight as in table 1 of Ba et al. 2016, arXiv:1607.06450):
# weight scaled, each row scaled, inputs scaled, each sample scaled, inputs shifted, each sample shifted.
ORDER = ("weight_scale", "row_scale", "data_scale", "sample_scale", "data_shift", "sample_shift")
MATRIX = {
    "none":    "n n n n n n",
    "batch":   "Y Y Y n Y n",
    "layer":   "Y n Y Y n n",
    "rms":     "Y n Y Y n n",
    "weight":  "Y Y n n n n",
    "cosine":  "Y Y Y Y n n",
    "pearson": "Y Y Y Y n Y",
}  # fmt: skip


def table(rows, output="layer", layer=1):
    """Transformation to row, of one layer and output."""
    return {row.transformation: row for row in rows if (row.output, row.layer) == (output, layer)}


@pytest.mark.parametrize("norm", list(MATRIX))
def test_a_layer_has_its_row_of_the_matrix(norm):
    network = NormalizedLinear(6, 5, norm, gain=False, shift=False, eps=1e-12)
    x = torch.randn(12, 6)
    rows = table(invariances(network, x))
    found = ["Y" if rows[name].despite_eps else "n" for name in ORDER]
    assert found == MATRIX[norm].split()
    assert not rows["weight_sign"].despite_eps
    h = network.double()(x.double())  # h(-W) = -h(W), whatever the norm
    assert rows["weight_sign"].change == pytest.approx(
        float((2 * h.detach()).abs().max() / (h - h.mean(0)).detach().abs().max()), rel=1e-5
    )
    assert all(row.despite_eps or row.change > 0.1 for row in rows.values())
    assert {row.eps for row in rows.values()} == {1e-12}


def test_torchs_own_layers_show_at_the_networks_output():
    """The linear layer itself scales; what stands behind it takes the scale away."""
    network = nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))
    rows = invariances(network, torch.randn(16, 6))
    assert not table(rows)["row_scale"].despite_eps
    assert table(rows, "network")["row_scale"].invariant
    assert not table(rows, "network", layer=2)["row_scale"].despite_eps
    whole = table(rows, "network", layer=0)
    assert whole["data_scale"].invariant
    assert whole["data_shift"].despite_eps
    assert not whole["sample_scale"].despite_eps
    assert not whole["weight_scale"].despite_eps


def test_relu_passes_on_the_scale_of_all_layers_but_not_their_invariance():
    network = MLP(6, 3, hidden=[5, 4], activation="relu", norm="layer", shift=False).double()
    rows = invariances(network, torch.randn(16, 6))
    assert [row.name for row in rows if row.transformation == "weight_sign" and row.output == "layer"] == [
        "layers.0",
        "layers.1",
        "layers.2",
    ]
    assert table(rows, "network", layer=2)["weight_scale"].invariant
    assert not table(rows, "network", layer=3)["weight_scale"].despite_eps


def test_eps_that_decides_is_told_from_no_invariance():
    network = NormalizedLinear(6, 5, "batch")
    with torch.no_grad():
        network.weight *= 1e-3  # standard deviations near sqrt(eps)
    row = table(invariances(network, torch.randn(16, 6)))["weight_scale"]
    assert not row.despite_eps
    assert row.change > 0.1
    assert row.invariant
    assert row.eps == 1e-5


def test_every_transformation_has_a_meaning_and_is_there():
    rows = invariances(nn.Linear(3, 2), torch.randn(8, 3))
    seen = defaultdict(set)
    for row in rows:
        seen[row.output, row.layer].add(row.transformation)
    weights = {"weight_scale", "row_scale", "weight_sign"}
    assert seen == {
        ("layer", 1): set(TRANSFORMATIONS),
        ("network", 1): weights,
        ("network", 0): set(TRANSFORMATIONS),
    }


def test_changes_by_hand():
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(2.0)
    rows = table(invariances(network, torch.tensor([[1.0], [-3.0]])))
    # Outputs 2 and -6 lie 4 from their mean.
    assert rows["weight_scale"].change == pytest.approx(2 * 6 / 4)  # 3 times is a change by twice
    assert rows["row_scale"].change == pytest.approx(0.5 * 6 / 4)  # the first factor is 0.5
    assert rows["data_shift"].change == pytest.approx(0.5 * 2 * 2 / 4)  # half a standard deviation, 2
    factor = 0.5 + 2.5 * ((5**0.5 - 1) / 2)
    assert rows["sample_scale"].change == pytest.approx((factor - 1) * 6 / 4)


def test_pictures(pictures):
    network, inputs = pictures
    rows = invariances(network, inputs)
    channel = table(rows, "network")
    assert channel["row_scale"].invariant  # BatchNorm over each channel; dropout is off
    assert not table(rows)["data_shift"].despite_eps  # padding with zeros sees the shift
    assert invariances(network.eval(), inputs) == rows  # as in training, whatever the mode


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.memory = nn.LSTM(4, 3, batch_first=True)
        self.head = parametrizations.weight_norm(nn.Linear(3, 2, bias=False))

    def forward(self, words):
        return self.head(self.memory(self.embed(words))[0][:, -1])


def test_words_have_no_scale_and_parametrized_weights_do():
    rows = invariances(Words(), torch.arange(14).reshape(2, 7) % 7)
    assert [row.name for row in rows if (row.transformation, row.output) == ("weight_sign", "layer")] == [
        "embed",
        "memory",
        "head",
    ]
    assert set(table(rows, "network", 0)) == {"weight_scale", "row_scale", "weight_sign"}
    assert set(table(rows)) == set(table(rows, "network", 0))
    assert set(table(rows, layer=2)) == set(TRANSFORMATIONS)


def test_self_attention_has_one_input():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.look = nn.MultiheadAttention(4, 2, bias=False, batch_first=True)

        def forward(self, x):
            return self.look(x, x, x, need_weights=False)[0]

    rows = invariances(Attention(), torch.randn(3, 5, 4))
    assert table(rows)["data_scale"].change == pytest.approx(table(rows, "network", 0)["data_scale"].change)
    assert table(rows)["sample_shift"].change > 0.1


def test_tied_weights_are_scaled_together():
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    network[1].weight = network[0].weight
    x = torch.randn(8, 3)
    rows = invariances(network, torch.cat([x, -x]))  # outputs with mean 0
    assert table(rows, "network", 0)["weight_scale"].change == pytest.approx(8)  # 3 x 3 - 1
    assert table(rows, "network", 1)["weight_sign"].despite_eps  # twice the sign is no change


def test_a_broken_network_is_not_invariant():
    class Broken(nn.Linear):
        def forward(self, x):
            return super().forward(x) * float("nan")

    assert not any(row.despite_eps or row.invariant for row in invariances(Broken(3, 2), torch.randn(8, 3)))


def test_zeros_stay_zeros():
    network = nn.Linear(3, 2, bias=False)
    row = table(invariances(network, torch.zeros(8, 3)))["weight_scale"]
    assert (row.change, row.despite_eps) == (0.0, True)


def test_the_network_is_left_as_it_was(pictures, assert_untouched):
    network, inputs = pictures
    network.eval()
    assert_untouched(network, lambda: invariances(network, inputs))


def test_a_network_without_weights_is_refused():
    with pytest.raises(NetworkError, match="a layer with weights"):
        invariances(nn.Tanh(), torch.ones(2, 2))


def test_a_vanishing_signal_is_no_invariance():
    """The output hardly moves with the first layers; what it still tells of the samples moves as much as it is."""
    torch.manual_seed(0)
    network = MLP(6, 3, hidden=[5] * 6, activation="sigmoid")
    rows = invariances(network, torch.randn(16, 6))
    assert not any(row.invariant for row in rows)
    normed = invariances(MLP(6, 3, hidden=[5] * 6, activation="sigmoid", norm="batch"), torch.randn(16, 6))
    scaled = [row for row in normed if row.transformation == "row_scale" and row.layer > 0]
    assert [row.invariant for row in scaled] == [True, True] * 6 + [False, False]
