"""What each normalization does not see: the invariance matrix, and what follows from it for gradients.

Rows for batch, layer and weight norm agree with Table 1 of Ba, Kiros & Hinton 2016, arXiv:1607.06450.
"""

from __future__ import annotations

import pytest
import torch

from gfopt import registry
from gfopt.nn import NormalizedLinear

# (weight, inputs) -> (weight, inputs); `r(n)` draws n positive factors that differ much.
TRANSFORMATIONS = {
    "weight scaled": lambda w, x, r: (3.7 * w, x),
    "each row scaled": lambda w, x, r: (w * r(len(w))[:, None], x),
    "same vector added to all rows": lambda w, x, r: (w + r(w.shape[1]), x),
    "constant added to each row": lambda w, x, r: (w + r(len(w))[:, None], x),
    "inputs scaled": lambda w, x, r: (w, 3.7 * x),
    "same vector added to all samples": lambda w, x, r: (w, x + r(x.shape[1])),
    "each sample scaled": lambda w, x, r: (w, x * r(len(x))[:, None]),
    "constant added to each sample": lambda w, x, r: (w, x + r(len(x))[:, None]),
    "each feature scaled": lambda w, x, r: (w, x * r(x.shape[1])),
}

# In the order of TRANSFORMATIONS: Y = the standardized output stays the same.
MATRIX = {
    "none":    "n n n n n n n n n",
    "batch":   "Y Y n n Y Y n n n",
    "layer":   "Y n Y n Y n Y n n",
    "rms":     "Y n n n Y n Y n n",
    "weight":  "Y Y n n n n n n n",
    "cosine":  "Y Y n n Y n Y n n",
    "pearson": "Y Y n Y Y n Y Y n",
    "group":   "Y n Y n Y n Y n n",
    "mean":    "n n n n n Y n n n",
    "ghost":   "Y Y n n Y Y n n n",
    "batch_renorm": "Y Y n n Y Y n n n",
    "whitening":    "Y n n n Y Y n n n",
    "iternorm":     "Y n n n Y Y n n n",
    "weight_mean":  "Y Y n n n Y n n n",
    "centred_weight": "Y Y n Y n n n Y n",
    "weight_standardization": "Y Y n Y n n n Y n",
    "spectral": "Y n n n n n n n n",
}  # fmt: skip
CELLS = [
    (norm, name, cell == "Y")
    for norm, row in MATRIX.items()
    for name, cell in zip(TRANSFORMATIONS, row.split(), strict=True)
]
SCALE_INVARIANT = [norm for norm, row in MATRIX.items() if row.startswith("Y")]
ROW_SCALE_INVARIANT = [norm for norm, row in MATRIX.items() if row.startswith("Y Y")]


def factors(n):
    return torch.logspace(-1, 1, n, dtype=torch.float64)[torch.randperm(n)]


@pytest.fixture
def layer_of():
    def make(norm):
        layer = NormalizedLinear(7, 6, norm, gain=False, shift=False, eps=1e-12).double()
        if norm == "batch_renorm":  # what is left of it without a memory
            layer.norm.statistics.remember = False
        return layer

    return make


@pytest.fixture
def x():
    return torch.randn(24, 7, dtype=torch.float64)


def outputs(layer, weight, x):
    return layer.norm(x, weight, None, None)


def loss_gradient(layer, weight, x, direction):
    weight = weight.detach().requires_grad_()
    loss = (torch.sin(outputs(layer, weight, x)) * direction).sum()
    return torch.autograd.grad(loss, weight)[0]


def test_the_matrix_has_every_norm():
    known = {name for name in registry.norms.names() if not registry.norms.get(name).pictures_only}
    assert set(MATRIX) == known


@pytest.mark.parametrize(("norm", "name", "invariant"), CELLS)
def test_invariance(norm, name, invariant, layer_of, x):
    layer = layer_of(norm)
    weight = torch.randn(6, 7, dtype=torch.float64)
    before = outputs(layer, weight, x)
    after = outputs(layer, *TRANSFORMATIONS[name](weight, x, factors))
    change = float((after - before).abs().max())
    assert change < 1e-6 if invariant else change > 0.2


@pytest.mark.parametrize("norm", list(MATRIX))
def test_negative_weights_give_the_negative_output(norm, layer_of, x):
    layer = layer_of(norm)
    torch.testing.assert_close(outputs(layer, -layer.weight, x), -outputs(layer, layer.weight, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", list(MATRIX))
def test_a_norm_says_which_scaling_of_its_weights_is_neutral(norm):
    row = MATRIX[norm]
    neutral = "rows" if row.startswith("Y Y") else "matrix" if row.startswith("Y") else ""
    assert registry.norms.get(norm).neutral == neutral


@pytest.mark.parametrize("norm", SCALE_INVARIANT)
@pytest.mark.parametrize("a", [0.1, 8.0])
def test_gradient_shrinks_as_the_weight_grows(norm, a, layer_of, x):
    layer, direction = layer_of(norm), torch.randn(24, 6, dtype=torch.float64)
    weight = layer.weight.detach()
    small, large = (loss_gradient(layer, w, x, direction) for w in (weight, a * weight))
    torch.testing.assert_close(a * large, small, rtol=1e-5, atol=1e-9)  # eps against a small variance of a group


@pytest.mark.parametrize("norm", SCALE_INVARIANT)
def test_gradient_is_orthogonal_to_the_weight(norm, layer_of, x):
    layer, direction = layer_of(norm), torch.randn(24, 6, dtype=torch.float64)
    weight = layer.weight.detach()
    gradient = loss_gradient(layer, weight, x, direction)
    assert gradient.abs().max() > 1e-2
    products = (weight * gradient).sum(1)
    assert abs(float(products.sum())) < 1e-8
    per_row = bool(products.abs().max() < 1e-8)
    assert per_row == (norm in ROW_SCALE_INVARIANT)  # LN-3: not for layer and rms


@pytest.mark.parametrize("norm", SCALE_INVARIANT)
def test_the_backward_signal_does_not_see_the_size_of_the_weight(norm, layer_of, x):
    layer = layer_of(norm)

    def jacobian(weight):
        return torch.autograd.functional.jacobian(lambda rows: outputs(layer, weight, rows), x)

    weight = layer.weight.detach()
    torch.testing.assert_close(jacobian(5.0 * weight), jacobian(weight), rtol=1e-6, atol=1e-9)  # BN-5


def test_weight_norm_grows_with_every_gradient_step(layer_of, x):
    layer, direction = layer_of("weight"), torch.randn(24, 6, dtype=torch.float64)
    weight = layer.weight.detach()  # WN-3, Pythagoras: the step is orthogonal to the row
    stepped = weight - 0.1 * loss_gradient(layer, weight, x, direction)
    assert (stepped.norm(dim=1) > weight.norm(dim=1)).all()


def test_weight_norm_gradients_are_those_of_the_paper(x):
    layer = NormalizedLinear(7, 6, "weight", eps=1e-12).double()  # WN-1; Salimans & Kingma 2016, eq. 3
    with torch.no_grad():
        layer.gain.uniform_(0.5, 2.0)
    direction = torch.randn(24, 6, dtype=torch.float64)
    (torch.sin(layer(x)) * direction).sum().backward()
    length = layer.weight.detach().norm(dim=1, keepdim=True)
    gain = layer.gain.detach()[:, None]
    w = (gain * layer.weight.detach() / length).requires_grad_()
    of_w = torch.autograd.grad((torch.sin(x @ w.T + layer.shift.detach()) * direction).sum(), w)[0]
    of_gain = (of_w * layer.weight.detach()).sum(1, keepdim=True) / length
    torch.testing.assert_close(layer.gain.grad[:, None], of_gain)
    of_v = gain / length * of_w - gain * of_gain / length**2 * layer.weight.detach()
    torch.testing.assert_close(layer.weight.grad, of_v)


def test_batch_in_evaluation_is_not_scale_invariant(layer_of, x):
    layer = layer_of("batch").eval()  # BN-10: stored statistics must be estimated again
    change = outputs(layer, 2 * layer.weight, x) - outputs(layer, layer.weight, x)
    assert change.abs().max() > 0.2


def test_eps_ends_the_invariance_of_batch_at_small_weights(x):
    # Standard deviation of the output at sigma 0.01, 1e-3, 1e-4 and eps 1e-5: sigma / sqrt(sigma^2 + eps).
    layer = NormalizedLinear(7, 6, "batch", gain=False, shift=False).double()
    weight = layer.weight / (x @ layer.weight.T).std(0, correction=0)[:, None]
    for sigma, expected in ((1e-2, 0.953), (1e-3, 0.302), (1e-4, 0.0316)):
        out = outputs(layer, sigma * weight, x).std(0, correction=0)
        torch.testing.assert_close(out, torch.full_like(out, expected), rtol=2e-3, atol=0)
