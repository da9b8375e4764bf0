"""Every normalization that a dense layer can have, compiled, in every network and at every place."""

from __future__ import annotations

import pytest
import torch
from fused_cases import case, check, classes, network, random
from torch import nn

from gfopt import registry
from gfopt.engine import prepare
from gfopt.nn import NormalizedLinear, ParameterLayout

NORMS = [name for name in registry.norms.names() if not registry.norms.get(name).pictures_only]
ALONE = [name for name in NORMS if registry.norms.get(name).acts_on == "activations"]
NOT_COMPILED = {"ghost", "whitening", "iternorm"}
BATCH, INPUTS, CLASSES = 37, 6, 3


def strategy_of(norm):
    return None if norm in NOT_COMPILED else "fused"


def verify(net, norm, inputs=None, **options):
    found = case(net, random(BATCH, INPUTS) if inputs is None else inputs, strategy=strategy_of(norm), **options)
    assert (found.engine.strategy == "fused") is (norm not in NOT_COMPILED), found.engine.plan
    whitens = norm in ("whitening", "iternorm")  # the inverse root of a covariance in float32, not our subject
    check(found, classes(len(found.inputs), CLASSES, ahead=options.get("ahead", 0)), rtol=1e-3 if whitens else 5e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_ahead_of_the_activations_of_an_mlp(norm):
    verify(network("mlp", INPUTS, CLASSES, hidden=[8, 6], norm=norm), norm)


@pytest.mark.parametrize("norm", ALONE)
def test_behind_the_activations_of_an_mlp(norm):
    verify(network("mlp", INPUTS, CLASSES, hidden=[8, 6], norm=norm, norm_position="post"), norm)


@pytest.mark.parametrize("norm", NORMS)
def test_without_gain_and_shift(norm):
    verify(network("mlp", INPUTS, CLASSES, hidden=[8], norm=norm, gain=False, shift=False), norm)


@pytest.mark.parametrize("norm", ALONE)
def test_of_the_inputs(norm):
    inputs = random(BATCH, INPUTS)
    kept = inputs.clone()
    verify(network("mlp", INPUTS, CLASSES, hidden=[8], input_norm=norm), norm, inputs)
    assert inputs.equal(kept)


@pytest.mark.parametrize("norm", [name for name in NORMS if not registry.norms.get(name).of_batch])
def test_of_the_outputs(norm):
    norm_options = {"kind": "group", "groups": 1} if norm == "group" else norm
    verify(network("mlp", INPUTS, CLASSES, hidden=[8], output_norm=norm_options), norm)


@pytest.mark.parametrize("block", ["pre-activation", "post-activation", "plain"])
@pytest.mark.parametrize("norm", [name for name in NORMS if name not in NOT_COMPILED])
def test_in_residual_networks(norm, block):
    for layers in (1, 2):
        net = network(
            "residual", INPUTS, CLASSES, width=6, blocks=2, block=block, layers_per_block=layers, norm=norm,
        )  # fmt: skip
        verify(net, norm)


@pytest.mark.parametrize("norm", ["batch", "mean", "weight_mean", "batch_renorm", "layer", "none"])
def test_statistics_of_reference_rows(norm):
    net = network("mlp", INPUTS, CLASSES, hidden=[8, 6], norm=norm)
    for ahead in (7, 8, 24, 30):
        found = case(net, random(ahead + BATCH, INPUTS), mode="reference", ahead=ahead, strategy=None)
        assert (found.engine.strategy == "fused") is (norm != "batch_renorm")
        check(found, classes(len(found.inputs), CLASSES, ahead=ahead), rtol=5e-6)


def test_fewer_samples_than_reference_rows_are_all_referred_to():
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8], norm="batch"), random(40, INPUTS), mode="reference",
                 ahead=30)  # fmt: skip
    few = found.inputs[:13]
    engine = case(found.module, few, strategy="loop").engine
    expected = engine.outputs(found.population, few)
    torch.testing.assert_close(found.engine.outputs(found.population, few), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mean", [10.0, 100.0])
@pytest.mark.parametrize("rows", [50, 3000])
def test_a_mean_far_from_zero_leaves_the_variance_its_digits(mean, rows):
    """What a mean costs is what the pre-activations have lost already; a difference of squares would lose all."""
    found = case(network("mlp", 4, CLASSES, hidden=[5], norm="batch"), 0.1 * random(rows, 4) + mean)
    check(found, classes(rows, CLASSES), rtol=2e-6 * mean)


def test_a_constant_feature_is_normalized_to_its_shift():
    found = case(network("mlp", 4, CLASSES, hidden=[5], norm="batch"), torch.full((30, 4), 0.7))
    check(found, classes(30, CLASSES), rtol=2e-4)  # rounding over sqrt(eps)


@pytest.mark.parametrize("norm", ["weight", "centred_weight", "weight_standardization", "cosine", "pearson"])
def test_weights_without_length_stay_nothing(norm):
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8], norm=norm), random(BATCH, INPUTS))
    found.population[0, : 8 * INPUTS] = 0
    found.population[1, : 8 * INPUTS] *= 1e-7  # below eps
    found.inputs[:3] = 0
    check(found, classes(BATCH, CLASSES))


@pytest.mark.parametrize("width", [2, 7, 8, 9, 64, 100])
def test_lengths_of_any_number_of_weights(width):
    for norm in ("weight", "centred_weight", "weight_mean"):
        verify(network("mlp", width, CLASSES, hidden=[5], norm=norm), norm, random(BATCH, width))


@pytest.mark.parametrize("norm", ["batch", "layer", "rms", "weight"])
@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_eps_is_the_layers_own(norm, eps):
    verify(network("mlp", INPUTS, CLASSES, hidden=[8], norm=norm, eps=eps), norm)


def test_groups_of_units():
    for groups in (1, 2, 4):
        norm = {"kind": "group", "groups": groups}
        verify(network("mlp", INPUTS, CLASSES, hidden=[8], norm=norm), "group")


USERS = {
    "batch norm of torch": lambda: nn.Sequential(
        nn.Linear(INPUTS, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False),
        nn.ReLU(), nn.Linear(4, CLASSES),
    ),
    "batch norm first and last": lambda: nn.Sequential(
        nn.BatchNorm1d(INPUTS), nn.BatchNorm1d(INPUTS), nn.Linear(INPUTS, CLASSES), nn.BatchNorm1d(CLASSES)
    ),
    "layer norm of torch": lambda: nn.Sequential(
        nn.LayerNorm(INPUTS), nn.Linear(INPUTS, 5), nn.LayerNorm(5, bias=False), nn.GELU(), nn.Linear(5, CLASSES),
        nn.LayerNorm(CLASSES, elementwise_affine=False),
    ),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh()), network("residual", 5, 4, width=4, norm="batch"),
        nn.Identity(), nn.Dropout(0.0), network("mlp", 4, CLASSES, norm="layer"),
    ),
    "activation first": lambda: nn.Sequential(nn.Tanh(), nn.Linear(INPUTS, CLASSES)),
    "no bias": lambda: nn.Sequential(nn.Linear(INPUTS, 5, bias=False), nn.SiLU(), nn.Linear(5, CLASSES, bias=False)),
    "one layer": lambda: nn.Linear(INPUTS, CLASSES),
}  # fmt: skip


@pytest.mark.parametrize("name", USERS)
def test_a_users_own_layers(name):
    torch.manual_seed(0)
    verify(USERS[name](), "none")


def test_a_layer_that_is_used_twice():
    torch.manual_seed(0)
    layer, tanh = nn.Linear(INPUTS, INPUTS), nn.Tanh()
    verify(nn.Sequential(layer, tanh, layer, tanh, nn.Linear(INPUTS, CLASSES)), "none")


def tied(norm):
    """The first two layers have one weight, normalized at the first of its places alone."""
    first, second = NormalizedLinear(INPUTS, INPUTS, norm), nn.Linear(INPUTS, INPUTS)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(INPUTS, CLASSES))


@pytest.mark.parametrize("norm", ["none", "weight", "spectral"])
def test_tied_weights(norm):
    torch.manual_seed(0)
    found = case(tied(norm), random(BATCH, INPUTS), strategy=None)
    assert len(found.layout.groups) == len(ParameterLayout.of(prepare(tied(norm), "batch")).groups)
    check(found, classes(BATCH, CLASSES), rtol=5e-6)


def test_a_spectral_layer_that_is_used_twice():
    torch.manual_seed(0)
    layer = NormalizedLinear(INPUTS, INPUTS, "spectral")
    net = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(INPUTS, CLASSES))
    check(case(net, random(BATCH, INPUTS), strategy=None), classes(BATCH, CLASSES), rtol=5e-6)


def test_weights_are_normalized_in_parts_of_a_large_population(monkeypatch):
    monkeypatch.setattr("gfopt.engine.fused.evaluator.SCALED_BYTES", 2000)
    net = network("mlp", INPUTS, CLASSES, hidden=[8], norm="spectral")
    check(case(net, random(BATCH, INPUTS), members=11), classes(BATCH, CLASSES), rtol=5e-6)
