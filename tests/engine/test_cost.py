"""Operations per sample against counts by hand and published ratios."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gfopt.engine import measure_cost
from gfopt.errors import NetworkError
from gfopt.nn import build_network


def mlp(in_features, out_features, **options):
    return build_network({"kind": "mlp", "in_features": in_features, "out_features": out_features, **options})


def total(outputs):
    return outputs.sum()


def test_an_mlp_costs_two_operations_per_weight():
    cost = measure_cost(mlp(64, 10, hidden=[32]), torch.randn(16, 64), total)
    assert cost.forward == 2 * (64 * 32 + 32 * 10)
    # Backward: every weight's gradient, and the hidden layer's; the inputs need none.
    assert cost.backward == 2 * (64 * 32 + 32 * 10) + 2 * 32 * 10


def test_the_backward_to_forward_ratio_is_measured_not_assumed():
    """(forward + backward) / forward is 2.15 for 784-128-128-10, not 3: the input needs no gradient."""
    cost = measure_cost(mlp(784, 10, hidden=[128, 128]), torch.randn(8, 784), total)
    assert 1 + cost.backward / cost.forward == pytest.approx(2.15, abs=0.005)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_elementwise_normalization_counts_nothing(norm):
    plain = measure_cost(mlp(20, 3, hidden=[8]), torch.randn(16, 20), total)
    assert measure_cost(mlp(20, 3, hidden=[8], norm=norm), torch.randn(16, 20), total) == plain


def test_a_recurrent_layer_counts_all_its_gates():
    lstm = nn.LSTM(8, 32, batch_first=True)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = lstm

        def forward(self, x):
            return self.lstm(x)[0][:, -1]

    cost = measure_cost(Last(), torch.randn(4, 20, 8), total)
    assert cost.forward == 20 * 2 * 4 * 32 * (8 + 32)  # steps x multiply-add x gates x units x (inputs + units)


def test_attention_is_counted_though_its_kernel_is_fused():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    cost = measure_cost(Attend(), torch.randn(2, 5, 8), total)
    projections, products = 2 * 5 * 8 * (3 * 8 + 8), 2 * 2 * 5 * 5 * 8
    assert cost.forward == projections + products


class Elementwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 4))

    def forward(self, x):
        return (x.unsqueeze(-1) * self.scale).sum(-1)


def test_a_layer_whose_work_cannot_be_counted_is_named():
    with pytest.raises(NetworkError, match=r"layer '1' \(Elementwise\)"):
        measure_cost(nn.Sequential(nn.Linear(4, 4), Elementwise()), torch.randn(2, 4), total)
    with pytest.raises(NetworkError, match="Elementwise cannot be counted"):
        measure_cost(Elementwise(), torch.randn(2, 4), total)


def test_without_a_loss_there_is_no_backward_pass():
    assert measure_cost(mlp(4, 2, hidden=[3]), torch.randn(2, 4), None).backward == 0


def test_the_module_and_the_random_numbers_are_left_alone():
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 2))
    before = {n: t.clone() for n, t in module.state_dict().items()}
    state = torch.get_rng_state()
    measure_cost(module, torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), total)
    assert all(t.equal(before[n]) for n, t in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())
    assert torch.get_rng_state().equal(state)
