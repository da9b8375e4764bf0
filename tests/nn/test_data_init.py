"""Data-dependent initialization: pre-activations start standardized (Salimans & Kingma 2016, section 3)."""

from __future__ import annotations

import torch

import gfopt
from gfopt.nn import MLP, NormalizedConv2d, initialize_from_data, wants_data

NORM = {"kind": "weight", "data_init": True}


def test_pre_activations_start_with_mean_0_and_variance_1():
    network = MLP(6, 3, hidden=[5, 4], norm=NORM).double()  # WN-6
    x = 3 * torch.randn(64, 6, dtype=torch.float64) + 1
    seen = []
    expected_hidden = network.layers[1].weight.detach().clone()
    initialize_from_data(network, x)
    handles = [layer.register_forward_hook(lambda m, a, z: seen.append(z)) for layer in network.layers[:2]]
    network(x)
    for handle in handles:
        handle.remove()
    for z in seen:
        torch.testing.assert_close(z.mean(0), torch.zeros(z.shape[1], dtype=z.dtype), atol=1e-9, rtol=0)
        torch.testing.assert_close(z.var(0, correction=0), torch.ones(z.shape[1], dtype=z.dtype))
    assert torch.equal(network.layers[1].weight, expected_hidden)  # directions are as they were drawn


def test_the_figures_are_those_of_the_paper():
    layer = torch.nn.Sequential(NormalizedConv2d(2, 3, 3, norm=NORM)).double()
    x = torch.randn(8, 2, 6, 6, dtype=torch.float64)
    v = layer[0].weight.detach()
    t = torch.nn.functional.conv2d(x, v / v.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1))
    initialize_from_data(layer, x)
    spread = t.std((0, 2, 3), correction=0)
    torch.testing.assert_close(layer[0].gain.detach(), 1 / spread)
    torch.testing.assert_close(layer[0].shift.detach(), -t.mean((0, 2, 3)) / spread)


def test_a_constant_unit_keeps_its_gain():
    network = MLP(2, 1, hidden=[2], norm=NORM)
    with torch.no_grad():
        network.layers[0].weight[0] = 0
    initialize_from_data(network, torch.randn(9, 2))
    assert network.layers[0].gain[0] == 1
    assert all(p.isfinite().all() for p in network.parameters())


def test_every_member_starts_so_in_a_problem():
    problem = gfopt.SupervisedProblem({"kind": "mlp", "hidden": [5], "norm": NORM}, "iris")
    assert wants_data(problem.module(problem.initial(1, 0)[0]))
    rows = problem.initial(3, 7)
    assert torch.equal(problem.initial(2, 7), rows[:2])
    gain = problem.layout.unflatten(rows)["layers.0.gain"]
    assert (gain != 1).all()
    assert not torch.equal(gain[0], gain[1])
    for row in rows:
        layer = problem.module(row).layers[0]
        z = layer(problem._reference)
        torch.testing.assert_close(z.std(0, correction=0), torch.ones(5), atol=1e-4, rtol=0)


def test_nobody_else_is_touched():
    network = MLP(6, 3, hidden=[5], norm="weight")
    assert not wants_data(network)
    before = [p.detach().clone() for p in network.parameters()]
    initialize_from_data(network, torch.randn(9, 6))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
