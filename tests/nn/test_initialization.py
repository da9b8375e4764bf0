from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gfopt.errors import NetworkError
from gfopt.nn import INITIALIZATIONS, MLP, NormalizedLinear, make_initialization

IN, OUT = 300, 200

VARIANCES = [
    ("torch", 1 / (3 * IN)),
    ("glorot", 2 / (IN + OUT)),
    ("he", 2 / IN),
    ({"kind": "he", "slope": 1.0}, 1 / IN),
    ({"kind": "he", "slope": 0.5}, 2 / (1.25 * IN)),
    ("orthogonal", 1 / IN),  # rows of length 1
    ({"kind": "orthogonal", "gain": 3.0}, 9 / IN),
    ({"kind": "uniform", "scale": 0.6}, 0.36 / 3),
    ({"kind": "normal", "scale": 0.2}, 0.04),
    ("uniform", 0.01 / 3),
    ("normal", 0.01),
]


@pytest.mark.parametrize(("spec", "variance"), VARIANCES)
def test_variance_of_the_weight(spec, variance):
    weight = NormalizedLinear(IN, OUT, init=spec).weight.detach()
    assert float(weight.var()) == pytest.approx(variance, rel=0.03)
    assert abs(float(weight.mean())) < 4 * math.sqrt(variance / (IN * OUT))


def test_every_initialization_has_a_variance_here():
    assert {spec if isinstance(spec, str) else spec["kind"] for spec, _ in VARIANCES} == set(INITIALIZATIONS)


@pytest.mark.parametrize("name", list(INITIALIZATIONS))
def test_only_torchs_own_draws_the_bias(name):
    shift = NormalizedLinear(IN, OUT, init=name).shift.detach()
    if name == "torch":
        assert float(shift.var()) == pytest.approx(1 / (3 * IN), rel=0.3)
        assert shift.abs().max() <= IN**-0.5
    else:
        assert shift.abs().max() == 0


@pytest.mark.parametrize("shape", [(8, 5), (5, 8)])
def test_orthogonal_vectors(shape):
    weight = NormalizedLinear(*shape, init="orthogonal").double().weight.detach()
    product = weight.T @ weight if shape[0] < shape[1] else weight @ weight.T
    torch.testing.assert_close(product.float(), torch.eye(5), rtol=0, atol=1e-5)


def test_uniform_stays_in_its_box_and_fills_it():
    weight = NormalizedLinear(IN, OUT, init={"kind": "uniform", "scale": 0.6}).weight.detach()
    assert 0.599 < weight.abs().max() <= 0.6


def test_he_takes_the_slope_of_the_activation_and_one_for_the_last_layer():
    network = MLP(IN, OUT, hidden=[IN], activation={"kind": "leaky_relu", "slope": 0.5}, init="he")
    hidden, last = (float(layer.weight.detach().var()) for layer in network.layers)
    assert hidden == pytest.approx(2 / (1.25 * IN), rel=0.03)
    assert last == pytest.approx(1 / IN, rel=0.03)
    linear = MLP(IN, OUT, hidden=[IN], activation="identity", init="he")
    assert float(linear.layers[0].weight.detach().var()) == pytest.approx(1 / IN, rel=0.03)
    given = MLP(IN, OUT, hidden=[IN], activation="relu", init={"kind": "he", "slope": 1.0})
    assert float(given.layers[0].weight.detach().var()) == pytest.approx(1 / IN, rel=0.03)


@pytest.mark.parametrize("name", list(INITIALIZATIONS))
def test_drawn_from_torchs_global_generator(name):
    layer = NormalizedLinear(4, 3, init=name)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        layer.reset_parameters()
        draws.append(layer.weight.detach().clone())
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_torch_is_the_default():
    torch.manual_seed(5)
    ours = NormalizedLinear(4, 3).weight
    torch.manual_seed(5)
    assert torch.equal(ours, nn.Linear(4, 3).weight)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("orthgonal", ["known initialization", "Did you mean 'orthogonal'?"]),
        ({"kind": "uniform", "scal": 1}, ["'scal'", "Did you mean 'scale'?"]),
        ({"kind": "normal", "scale": 0}, ["scale", "greater than 0", "got 0"]),
        ({"kind": "normal", "scale": float("inf")}, ["scale", "inf"]),
        (None, ["initialization", "None"]),
    ],
)
def test_wrong_specs_are_refused(spec, words):
    with pytest.raises(NetworkError) as caught:
        make_initialization(spec)
    for word in words:
        assert word in str(caught.value)
