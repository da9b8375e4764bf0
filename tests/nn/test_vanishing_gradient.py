"""Reference values of vanishing and exploding gradients: how the backward signal changes from layer to layer.

The expected ranges are wide around measured values (depth 20, width 64, cross-entropy of random labels, 256
samples); where a theory gives the value, the comment says which.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gfopt.nn import MLP, make_activation

DEPTH, WIDTH, SAMPLES = 20, 64, 256


def backward_gain(seed, **options):
    """Factor per layer by which `|dL/dz|` grows toward the input: e^-slope of its logarithm by depth."""
    torch.manual_seed(seed)
    network = MLP(WIDTH, 10, hidden=[WIDTH] * DEPTH, **options)
    inputs, labels = torch.randn(SAMPLES, WIDTH), torch.randint(10, (SAMPLES,))
    signals = []

    def keep(module, arguments, output):
        output.retain_grad()
        signals.append(output)

    for layer in network.layers[:-1]:
        layer.register_forward_hook(keep)
    F.cross_entropy(network(inputs), labels).backward()
    sizes = torch.stack([z.grad.double().norm() for z in signals]).log()
    depth = torch.arange(DEPTH, dtype=torch.float64)
    depth -= depth.mean()
    return math.exp(-float((depth * sizes).sum() / depth.square().sum()))


def geometric_mean(**options):
    return math.prod(backward_gain(seed, **options) for seed in range(3)) ** (1 / 3)


def normal(variance):
    return {"kind": "normal", "scale": math.sqrt(variance)}


@pytest.mark.parametrize(
    ("low", "high", "options"),
    [
        (0.18, 0.30, {"activation": "sigmoid", "init": "glorot"}),  # VG-2: 0.236
        (0.25, 0.38, {"activation": "sigmoid", "init": "he"}),  # 0.315
        (0.10, 0.18, {"activation": "sigmoid"}),  # 0.141
        (0.50, 0.65, {"activation": "tanh"}),  # VG-3: 0.573, near 1/sqrt(3)
        (0.88, 1.00, {"activation": "tanh", "init": "glorot"}),  # 0.933
        (0.05, 0.10, {"activation": "tanh", "init": normal(1e-4)}),  # 0.080
        (1.30, 1.80, {"activation": "tanh", "init": normal(16 / WIDTH)}),  # 1.535, explodes
        (0.90, 1.10, {"activation": "relu", "init": "he"}),  # VG-4: 1, He et al. 2015
        (0.35, 0.46, {"activation": "relu"}),  # sqrt(1/6): half the units, Var w = 1 / (3 n)
        (0.90, 1.10, {"activation": "leaky_relu", "init": "he"}),  # VG-5
        (0.53, 0.62, {"activation": "identity"}),  # VG-9: 1/sqrt(3)
        (0.90, 1.20, {"activation": "sigmoid", "norm": "batch"}),  # VG-6: 1.032
        (1.15, 1.27, {"activation": "relu", "norm": "batch"}),  # VG-8: sqrt(pi / (pi - 1)) = 1.211
        (0.30, 0.50, {"activation": "sigmoid", "norm": "layer"}),  # 0.40: not cured
        (0.18, 0.32, {"activation": "sigmoid", "norm": "weight"}),  # 0.24
        (0.03, 0.10, {"activation": "sigmoid", "norm": "cosine"}),  # 0.06: worse than none
        (0.90, 1.20, {"activation": "tanh", "norm": "cosine"}),  # 1.00
    ],
)
def test_backward_gain_per_layer(low, high, options):
    assert low < geometric_mean(**options) < high


def test_batch_norm_makes_the_scale_of_the_weights_irrelevant():
    small = geometric_mean(activation="tanh", norm="batch", init=normal(1e-4))
    large = geometric_mean(activation="tanh", norm="batch", init=normal(16 / WIDTH))
    assert small == pytest.approx(large, rel=0.05)  # VG-6; eps is not yet negligible at the smaller one


def test_the_slope_of_a_squashing_function_bounds_the_signal():
    z = torch.linspace(-6, 6, 1201, dtype=torch.float64, requires_grad=True)  # VG-1
    for name, highest in (("sigmoid", 0.25), ("tanh", 1.0)):
        slope = torch.autograd.grad(make_activation(name)(z).sum(), z)[0]
        assert slope.max() == pytest.approx(highest, abs=1e-9)
        assert z[slope.argmax()].item() == pytest.approx(0.0, abs=1e-9)


def test_a_dead_relu_layer_has_no_gradient_at_all():
    network = MLP(4, 2, hidden=[8], activation="relu")
    with torch.no_grad():
        network.layers[0].shift.fill_(-100.0)
    network(torch.randn(16, 4)).square().sum().backward()
    assert network.layers[0].weight.grad.abs().max() == 0
    assert isinstance(network.activations[0], nn.ReLU)
