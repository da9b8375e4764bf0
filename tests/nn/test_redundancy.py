"""Neutral directions: what is counted does change nothing, and nothing else is counted."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from gfopt import registry
from gfopt.nn import MLP, ParameterLayout, redundant_genes, with_neutral
from gfopt.nn.normalization import RowStatistics

NORMS = tuple(name for name in registry.norms.names() if not registry.norms.get(name).pictures_only)


def _network(norm):
    # The identity has no symmetries of its own that are not those of the norm, once the head is frozen.
    network = MLP(7, 3, hidden=[6], activation="sin", norm=norm, gain=False, shift=False, eps=1e-12).double()
    network.layers[1].requires_grad_(False)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.track_running_stats, part.running_mean, part.running_var = False, None, None
        elif isinstance(part, RowStatistics):
            part.remember = False
    return network


@pytest.mark.parametrize("norm", NORMS)
def test_counted_directions_are_the_null_space_of_the_jacobian(norm):
    network = _network(norm)
    layout = ParameterLayout.of(network)
    groups = with_neutral(layout.groups, network, lambda _: True)
    x = torch.randn(40, 7, dtype=torch.float64)

    def outputs(vector):
        return functional_call(network, layout.unflatten(vector), (x,)).flatten()

    jacobian = torch.autograd.functional.jacobian(outputs, layout.flatten(network))
    values = torch.linalg.svdvals(jacobian)
    rank = int((values > 1e-8 * values[0]).sum())
    assert redundant_genes(groups, network) == layout.dim - rank


def test_a_group_says_what_is_neutral():
    network = MLP(5, 3, hidden=[4, 4, 4], norm=["batch", "layer", "none"])
    groups = with_neutral(ParameterLayout.of(network).groups, network, lambda _: True)
    assert {g.name: g.neutral for g in groups if g.neutral} == {
        "layers.0.weight": "rows",
        "layers.1.weight": "matrix",
    }
    assert redundant_genes(groups, network) == 4 + (4 + 1)
    without = with_neutral(ParameterLayout.of(network).groups, network, lambda norm: not norm.of_batch)
    assert redundant_genes(without, network) == 4 + 1
