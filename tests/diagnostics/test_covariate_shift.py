import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gfopt.diagnostics import input_drift, internal_covariate_shift
from gfopt.errors import NetworkError, ShapeError
from gfopt.nn import ParameterLayout
from gfopt.problems import SupervisedProblem


def after_one_step(problem, seed, learning_rate=0.1):
    """Start, and the parameters after a step of gradient descent on the whole training set."""
    start = problem.initial(1, seed)[0]
    return start, start - learning_rate * problem.evaluate(start[None], gradient=True).gradient[0]


def shifts(problem, before, after):
    return internal_covariate_shift(*problem.training_view(before), before, after, problem.groups)


@pytest.fixture(scope="module")
def digits():
    """Digits, 3 x 50 tanh, without and with BatchNorm."""
    spec = {"kind": "mlp", "hidden": [50, 50, 50], "activation": "tanh"}
    return {norm: SupervisedProblem({**spec, "norm": norm}, "digits", device="cpu") for norm in ("none", "batch")}


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_without_a_step_there_is_no_shift(digits, norm):
    start = digits[norm].initial(1, 0)[0]
    for row in shifts(digits[norm], start, start):  # exactly
        assert (row.ics_l2, row.ics_relative, row.ics_cosine) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_first_layer_has_none_by_definition(digits, norm):
    rows = shifts(digits[norm], *after_one_step(digits[norm], 0))
    assert [row.layer for row in rows] == [1, 2, 3, 4]
    assert (rows[0].ics_l2, rows[0].ics_cosine) == (0.0, 1.0)
    assert all(row.ics_l2 > 0 for row in rows[1:])


def test_batch_norm_does_not_reduce_it(digits):
    """The direction of Santurkar et al. 2018, arXiv:1805.11604, at equal learning rates.

    Other code measured, for layers 2 to 4 and a step at rate 0.1: none 0.023, 0.046, 0.066; BatchNorm 0.197, 0.282,
    0.343; cosines above 0.998 against 0.94 to 0.98.
    """
    mean = {}
    for norm, problem in digits.items():
        rows = [shifts(problem, *after_one_step(problem, seed)) for seed in range(3)]
        mean[norm] = np.array([[(r.ics_relative, r.ics_cosine) for r in run[1:]] for run in rows]).mean(0)
    relative, cosines = ({norm: values[:, k] for norm, values in mean.items()} for k in (0, 1))
    assert (np.abs(relative["none"] - [0.02, 0.04, 0.06]) < [0.01, 0.02, 0.03]).all()
    assert (np.abs(relative["batch"] - [0.17, 0.26, 0.32]) < [0.08, 0.08, 0.10]).all()
    assert (relative["batch"] > 3 * relative["none"]).all()
    assert (cosines["none"] > 0.995).all()
    assert ((cosines["batch"] > 0.9) & (cosines["batch"] < 0.995)).all()


class TwoLayers(nn.Module):
    """A BatchNorm with gains between two layers; the head is declared first."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(4)
        self.body = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.body(x))))


def test_gradients_are_those_of_plain_autograd():
    network = TwoLayers().double()
    inputs, labels = torch.randn(8, 3, dtype=torch.float64), torch.randint(2, (8,))
    layout = ParameterLayout.of(network)
    before, after = torch.randn(2, layout.dim, dtype=torch.float64)
    rows = internal_covariate_shift(network, inputs, lambda o: F.cross_entropy(o, labels), before, after, layout.groups)
    assert [(row.layer, row.name) for row in rows] == [(1, "body"), (2, "head")]

    def gradient_of_head(lower):
        layout.assign(network, lower)
        values = layout.unflatten(before)
        with torch.no_grad():
            network.head.weight.copy_(values["head.weight"])
            network.head.bias.copy_(values["head.bias"])
        network.zero_grad()
        F.cross_entropy(network(inputs), labels).backward()
        return torch.cat([p.grad.flatten() for p in network.head.parameters()])

    now, then = gradient_of_head(before), gradient_of_head(after)
    assert rows[1].ics_l2 == pytest.approx(float((now - then).norm()), rel=1e-9)
    assert rows[1].ics_relative == pytest.approx(float((now - then).norm() / now.norm()), rel=1e-9)
    assert rows[1].ics_cosine == pytest.approx(float(F.cosine_similarity(now, then, dim=0)), rel=1e-9)


def test_tied_and_frozen_layers():
    network = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    network[2].weight = network[0].weight
    network[4].requires_grad_(False)
    layout = ParameterLayout.of(network)
    before, after = torch.randn(2, layout.dim)
    inputs = torch.randn(8, 3)

    def loss(outputs):
        return outputs.square().mean()

    rows = internal_covariate_shift(network, inputs, loss, before, after, layout.groups)
    # The tied weight is the second layer's own, so only the first one's bias moves below it.
    assert [row.name for row in rows] == ["0", "2"]
    assert rows[1].ics_l2 > 0
    only_weight = before.clone()
    only_weight[layout.groups[0].slice] = after[layout.groups[0].slice]
    again = internal_covariate_shift(network, inputs, loss, before, only_weight, layout.groups)
    assert [row.ics_l2 for row in again] == [0.0, 0.0]


def test_a_layer_without_gradient_has_no_relative_shift():
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    layout = ParameterLayout.of(network)
    before = torch.zeros(layout.dim)
    rows = internal_covariate_shift(
        network, torch.ones(4, 3), lambda o: (0 * o).mean(), before, before + 1, layout.groups
    )
    assert all(row.ics_l2 == 0 for row in rows)
    assert all(math.isnan(row.ics_relative) and math.isnan(row.ics_cosine) for row in rows)


def test_drift_of_the_input_by_hand():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    groups = ParameterLayout.of(network).groups
    inputs = torch.tensor([[1.0, 0.0], [-1.0, 2.0], [1.0, 4.0], [-1.0, 6.0]])
    before = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    after = torch.tensor([2.0, 0.0, 0.0, 2.0, 1.0, 1.0])
    first, second = input_drift(network, inputs, before, after, groups)
    assert (first.layer, first.name, first.input_mean_drift, first.input_variance_drift) == (1, "0", 0.0, 0.0)
    # Means (0, 3) become (0, 6), variances (1, 5) become (4, 20); the mean variance before is 3.
    assert second.input_mean_drift == pytest.approx(math.sqrt((0 + 9) / 2) / math.sqrt(3))
    assert second.input_variance_drift == pytest.approx(math.sqrt((9 + 225) / 2) / 3)


def test_batch_norm_keeps_the_moments_of_the_layer_behind_it():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    layout = ParameterLayout.of(network)
    before = layout.flatten(network)
    after = before.clone()
    after[layout.groups[0].slice] *= 5
    rows = input_drift(network, torch.randn(32, 3, dtype=torch.float64), before, after, layout.groups)
    assert rows[1].input_mean_drift < 1e-6
    assert rows[1].input_variance_drift < 1e-3  # eps


def test_channels_of_pictures_are_features(pictures):
    network, inputs = pictures
    groups = ParameterLayout.of(network).groups
    before = ParameterLayout.of(network).flatten(network)
    rows = input_drift(network, inputs, before, before + 0.1, groups)
    assert [row.name for row in rows] == ["conv", "head"]
    assert rows[0].input_mean_drift == 0 < rows[1].input_mean_drift


def test_a_constant_input_has_no_deviation_to_compare_with():
    network = nn.Sequential(nn.Linear(2, 2))
    vector = torch.zeros(6)
    row = input_drift(network, torch.ones(4, 2), vector, vector, ParameterLayout.of(network).groups)[0]
    assert math.isnan(row.input_mean_drift)
    assert math.isnan(row.input_variance_drift)


@pytest.mark.parametrize("look", [internal_covariate_shift, input_drift])
def test_the_network_is_left_as_it_was(pictures, assert_untouched, look):
    network, inputs = pictures
    layout = ParameterLayout.of(network)
    before, after = torch.randn(2, layout.dim)
    loss = [lambda o: o.square().mean()] if look is internal_covariate_shift else []
    assert_untouched(network, lambda: look(network, inputs, *loss, before, after, layout.groups))


def test_what_cannot_be_measured_is_refused():
    network = nn.Linear(2, 2)
    groups = ParameterLayout.of(network).groups
    with pytest.raises(ShapeError, match=r"after: expected shape \(6,\)"):
        input_drift(network, torch.ones(4, 2), torch.zeros(6), torch.zeros(5), groups)
    gains = nn.LayerNorm(2)
    vector, groups = torch.zeros(4), ParameterLayout.of(gains).groups
    with pytest.raises(NetworkError, match="a layer with weights"):
        input_drift(gains, torch.ones(4, 2), vector, vector, groups)
    with pytest.raises(NetworkError, match="a layer with weights"):
        internal_covariate_shift(gains, torch.ones(4, 2), lambda o: o.mean(), vector, vector, groups)
