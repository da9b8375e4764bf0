"""Losses and outputs of the compiled loop equal the plain module in float64, one member after the other."""

from __future__ import annotations

import pytest
import torch
from fused_cases import case, check, classes, network, random, values
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gfopt.engine.fused.arrays import REGISTER_ROWS, tile_rows
from gfopt.errors import ShapeError
from gfopt.nn.activations import LeakyReLUOneAtZero, Sin, Step

BATCHES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 47, 48, 49, 50]
ACTIVATIONS = {
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "relu": nn.ReLU(),
    "leaky": nn.LeakyReLU(0.2),
    "leaky, steep": LeakyReLUOneAtZero(1.7),
    "elu": nn.ELU(0.7),
    "selu": nn.SELU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "softplus": nn.Softplus(),
    "hardtanh": nn.Hardtanh(),
    "sin": Sin(),
    "step": Step(),
    "identity": nn.Identity(),
}


@pytest.mark.parametrize("batch", BATCHES)
def test_every_batch_size(batch):
    for norm in ["none"] if batch == 1 else ["none", "batch"]:  # of one row there is no variance
        found = case(network("mlp", 5, 3, hidden=[6], norm=norm), random(batch, 5))
        check(found, classes(batch, 3))


@pytest.mark.parametrize("width", range(1, 10))
def test_every_width(width):
    """The last units of a layer are computed two at a time, and one."""
    check(case(network("mlp", 3, width, hidden=[width, 10 - width]), random(26, 3)), classes(26, width))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name):
    net = nn.Sequential(nn.Linear(4, 7), ACTIVATIONS[name], nn.Linear(7, 3))
    check(case(net, 2 * random(33, 4), members=8, spread=1.0), classes(33, 3))


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("batch", [5, 24, 31])
def test_squared_error(columns, batch):
    found = case(network("mlp", 4, columns, hidden=[5]), random(batch, 4))
    check(found, values(batch, columns))


def test_squared_error_of_plain_numbers():
    found = case(network("mlp", 4, 1, hidden=[5]), random(9, 4))
    column = values(9, 1)
    flat = values(9, 1)
    object.__setattr__(flat, "targets", column.targets[:, 0])
    assert found.losses(flat).equal(found.losses(column))


@pytest.mark.parametrize("make", [classes, values])
def test_weights_of_samples(make):
    weight = torch.tensor([0.0, 0.5, 2.0, 0.0, 1.0]).repeat(5)
    found = case(network("mlp", 4, 3, hidden=[5]), random(25, 4))
    check(found, make(25, 3, weight=weight))


def test_a_sample_without_weight_counts_as_nothing_whatever_it_is():
    inputs = random(10, 4)
    found = case(network("mlp", 4, 3, hidden=[5]), inputs)
    weight = torch.ones(10)
    weight[3] = 0
    before = found.losses(classes(10, 3, weight=weight))
    inputs[3] = torch.inf
    assert found.losses(classes(10, 3, weight=weight)).equal(before)


def test_weights_that_sum_to_nothing_give_no_number():
    found = case(network("mlp", 4, 3, hidden=[5]), random(10, 4))
    assert found.losses(classes(10, 3, weight=torch.zeros(10))).isnan().all()


@pytest.mark.parametrize("ahead", [1, 8, 30])
@pytest.mark.parametrize("make", [classes, values])
def test_rows_ahead_are_in_no_loss(ahead, make):
    found = case(network("mlp", 4, 3, hidden=[5]), random(42, 4))
    check(found, make(42, 3, ahead=ahead))


def test_a_wide_layer_reads_its_weights_for_more_samples_at_once():
    found = case(network("mlp", 300, 3, hidden=[300], norm="batch"), random(100, 300), members=2, spread=0.02)
    assert found.engine.plan.rows > REGISTER_ROWS
    check(found, classes(100, 3))


def test_samples_of_any_shape_are_flattened():
    inputs = random(11, 2, 3)
    check(case(network("mlp", 6, 3, hidden=[5]), inputs), classes(11, 3))
    check(case(nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), inputs), classes(11, 3))


@pytest.mark.parametrize("spread", [1e-6, 1e-3, 10.0, 1e3, 1e6])
def test_tiny_and_huge_weights(spread):
    found = case(network("mlp", 4, 3, hidden=[5, 5]), random(20, 4), spread=spread)
    found.population.sub_(found.layout.flatten(found.module))  # nothing but the noise
    check(found, classes(20, 3), rtol=2e-5)


def test_signals_that_vanish_keep_their_digits():
    net = nn.Sequential(*[part for _ in range(12) for part in (nn.Linear(4, 4, bias=False), nn.Tanh())])
    found = case(net, random(9, 4), spread=0.0)
    found.population.mul_(0.01)
    exact = found.outputs_of_loop()
    assert 0 < exact.abs().max() < 1e-20
    outputs = found.engine.outputs(found.population, found.inputs).double()
    torch.testing.assert_close(outputs, exact, rtol=1e-4, atol=1e-5 * float(exact.abs().max()))


@pytest.mark.parametrize("rows", [1437, 20_000])
def test_equal_losses_of_many_samples_add_up(rows):
    """Adding one number again and again rounds in one direction; in single precision that shows."""
    found = case(nn.Linear(2, 10), random(rows, 2), members=1)
    found.population.zero_()
    torch.testing.assert_close(found.losses(classes(rows, 10)), torch.tensor([10.0]).log(), rtol=2e-7, atol=0)


layers = st.lists(st.integers(1, 9), max_size=3)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    hidden=layers, inputs=st.integers(1, 9), outputs=st.integers(1, 5), batch=st.integers(1, 60),
    activation=st.sampled_from(["tanh", "sigmoid", "relu", "gelu", "elu", "sin"]), regression=st.booleans(),
)  # fmt: skip
def test_any_mlp(hidden, inputs, outputs, batch, activation, regression):
    found = case(network("mlp", inputs, outputs, hidden=hidden, activation=activation), random(batch, inputs))
    check(found, (values if regression else classes)(batch, outputs))


def test_what_does_not_fit_is_refused_before_it_is_read():
    found = case(network("mlp", 4, 3, hidden=[5]), random(10, 4))
    engine, good, inputs, criterion = found.engine, found.population, found.inputs, classes(10, 3)
    wrong = [
        (good[:, :-1], inputs, criterion, r"population: expected .*\(P, 43\).*\(3, 42\)"),
        (good.double(), inputs, criterion, "population: expected torch.float32.*torch.float64"),
        (good, inputs[:, :3], criterion, r"inputs: expected .*\(S, B, 4\)"),
        (good, inputs.double(), criterion, "inputs: expected torch.float32"),
        (good, inputs, classes(9, 3), r"targets: expected 10 rows, 1 columns, got `\(9, 1\)`"),
        (good, inputs, values(10, 2), r"targets: expected 10 rows, 3 columns, got `\(10, 2\)`"),
    ]
    for population, rows, loss, message in wrong:
        with pytest.raises(ShapeError, match=message):
            engine.losses(population, rows, loss)
    with pytest.raises(ShapeError, match="members: expected a number of members for each of 1 streams, 3 in all"):
        engine.losses_of_streams(good, inputs[None], [criterion], [2], [0])


def test_what_carries_gradients_is_taken_as_it_is():
    found = case(network("mlp", 4, 3, hidden=[5]), random(10, 4))
    before = found.losses(classes(10, 3))
    losses = found.engine.losses(found.population.requires_grad_(), found.inputs.requires_grad_(), classes(10, 3))
    assert losses.equal(before)
    assert not losses.requires_grad


@pytest.mark.parametrize(
    ("samples", "rows"), [(1, 8), (8, 8), (9, 16), (16, 16), (17, 24), (25, 16), (48, 24), (1437, 24)]
)
def test_the_tile_wastes_little_on_padding(samples, rows):
    assert tile_rows(samples, 64, 4096) == rows


def test_the_tile_grows_with_the_weights_and_within_the_cache():
    assert tile_rows(1024, 256, 784 * 256) == 4 * REGISTER_ROWS
    assert tile_rows(1024, 2**14, 784 * 256) == REGISTER_ROWS
    assert tile_rows(30, 256, 784 * 256) == 16
