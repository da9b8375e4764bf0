from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gfopt.errors import NetworkError
from gfopt.nn import ACTIVATIONS, MLP, is_differentiable, make_activation

FORMULAS = {
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "relu": lambda z: max(0.0, z),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "sin": math.sin,
    "step": lambda z: 1.0 if z >= 0 else 0.0,
    "identity": lambda z: z,
}

DERIVATIVE_AT_ZERO = [  # torch's conventions, and the one that can be asked for
    ("relu", 0.0),
    ({"kind": "leaky_relu", "slope": 0.1}, 0.1),
    ({"kind": "leaky_relu", "slope": 0.1, "at_zero": "one"}, 1.0),
    ("elu", 1.0),
    ("gelu", 0.5),
    ("sigmoid", 0.25),
    ("tanh", 1.0),
    ("sin", 1.0),
    ("identity", 1.0),
]


def test_every_activation_has_a_formula_here():
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
@settings(max_examples=30, deadline=None)
@given(z=st.floats(-20, 20))
def test_values(name, z):
    out = make_activation(name)(torch.tensor([z], dtype=torch.float64))
    assert out.item() == pytest.approx(FORMULAS[name](z), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("spec", "expected"), DERIVATIVE_AT_ZERO)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_derivative_at_zero(spec, expected, zero):
    z = torch.tensor([zero], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(make_activation(spec)(z).sum(), z)[0].item() == pytest.approx(expected)


@pytest.mark.parametrize("at_zero", ["torch", "one"])
@pytest.mark.parametrize("slope", [0.0, 0.1, 2.0, -0.5])
def test_leaky_relu_keeps_its_slope_also_beyond_one(slope, at_zero):
    # max(slope * z, z) would give 2 and -1 at z = 1 and -1 for slope 2.
    activation = make_activation({"kind": "leaky_relu", "slope": slope, "at_zero": at_zero})
    assert activation(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1.0, -slope])


@settings(max_examples=30, deadline=None)
@given(c=st.floats(1e-3, 1e3), z=st.floats(-1e3, 1e3))
@pytest.mark.parametrize("spec", ["relu", {"kind": "leaky_relu", "at_zero": "one"}])
def test_positive_homogeneity(spec, c, z):
    activation, z = make_activation(spec), torch.tensor([z], dtype=torch.float64)
    torch.testing.assert_close(activation(c * z), c * activation(z))


def test_only_step_is_not_differentiable():
    assert [name for name in ACTIVATIONS if not is_differentiable(make_activation(name))] == ["step"]
    assert not is_differentiable(MLP(3, 2, hidden=[4], activation="step"))
    assert is_differentiable(MLP(3, 2, hidden=[], activation="step"))  # it has no hidden unit that steps


def test_torchs_own_modules_are_used_where_they_exist():
    expected = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}
    assert {name: type(make_activation(name)) for name in expected} == expected
    assert make_activation({"kind": "leaky_relu", "slope": 0.3}).negative_slope == 0.3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tahn", ["known activation", "'tahn'", "Did you mean 'tanh'?"]),
        ({"kind": "leaky_relu", "slop": 0.1}, ["known option", "'slop'", "Did you mean 'slope'?"]),
        ({"kind": "tanh", "slope": 0.1}, ["known option", "'slope'"]),
        ({"kind": "leaky_relu", "slope": "steep"}, ["slope", "number", "'steep'"]),
        ({"kind": "leaky_relu", "slope": float("nan")}, ["slope", "nan"]),
        ({"kind": "leaky_relu", "at_zero": "half"}, ["at_zero", "'torch' or 'one'", "'half'"]),
        ({"slope": 0.1}, ["kind", "{'slope': 0.1}"]),
        (3, ["name", "got 3"]),
    ],
)
def test_wrong_specs_are_refused(spec, words):
    with pytest.raises(NetworkError) as caught:
        make_activation(spec)
    for word in words:
        assert word in str(caught.value)
