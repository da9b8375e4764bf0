"""Every norm in a convolution: against the definition on unfolded patches, torch's own layers, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from normalization_formulas import standardized
from torch import nn
from torch.func import functional_call, vmap

from gfopt import registry
from gfopt.errors import NetworkError
from gfopt.nn import NormalizedConv2d, NormLayer

WITHOUT_GAIN = ("none", "mean")


def pictures(count=6, channels=3, height=7, width=6):
    return torch.randn(count, channels, height, width, dtype=torch.float64)


def patches(x, kernel, stride, padding):
    """`(B, L, C k k)` in plain loops."""
    x = np.pad(x.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows = range(0, x.shape[2] - kernel + 1, stride)
    columns = range(0, x.shape[3] - kernel + 1, stride)
    found = [x[:, :, i : i + kernel, j : j + kernel].reshape(len(x), -1) for i in rows for j in columns]
    return np.stack(found, axis=1), (len(rows), len(columns))


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_layer_equals_its_formula_on_patches(picture_norm, stride, padding, make_convolution):
    layer = make_convolution(picture_norm, stride=stride, padding=padding)
    if picture_norm == "batch_renorm":
        layer.norm.statistics.remember = False
    if picture_norm == "ghost":
        layer.norm.statistics.size = 100
    x = pictures()
    rows, (height, width) = patches(x, 3, stride, padding)
    z = standardized(picture_norm, rows, layer.weight.detach().flatten(1).numpy(), 1e-5)
    gain = 1.0 if picture_norm in WITHOUT_GAIN else layer.gain.detach().numpy()
    expected = gain * z + layer.shift.detach().numpy()
    if picture_norm == "filter_response":
        expected = np.maximum(expected, layer.norm.threshold.detach().numpy())
    expected = expected.transpose(0, 2, 1).reshape(6, 4, height, width)
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-8, atol=1e-8)


def test_layers_that_torch_has_are_equal_to_its_own(make_convolution):
    x = pictures()
    theirs = {
        "batch": nn.BatchNorm2d(4, affine=False),
        "layer": nn.GroupNorm(1, 4, affine=False),
        "group": nn.GroupNorm(2, 4, affine=False),
        "instance": nn.InstanceNorm2d(4),
    }
    for norm, torchs in theirs.items():
        layer = make_convolution(norm, gain=False, shift=False)
        convolved = nn.functional.conv2d(x, layer.weight)
        torch.testing.assert_close(layer(x), torchs.double()(convolved), msg=norm)


def test_training_remembers_and_evaluation_uses_it(picture_norm, make_convolution):
    layer, x = make_convolution(picture_norm), pictures(9)
    if not layer.norm.of_batch:
        torch.testing.assert_close(layer(x)[2:3], layer(x[2:3]))
        return
    before = {n: b.clone() for n, b in layer.named_buffers()}
    layer(x)
    assert all(not torch.equal(b, before[n]) for n, b in layer.named_buffers())
    layer.eval()
    torch.testing.assert_close(layer(x)[2:3], layer(x[2:3]))


def test_vmap_equals_the_loop(picture_norm, make_convolution):
    layer, x = make_convolution(picture_norm), pictures()
    named = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    stack = {n: t.detach().expand(3, *t.shape).clone() for n, t in named.items()}
    stack = {n: t + torch.rand_like(t) if t.is_floating_point() else t for n, t in stack.items()}
    loop = [functional_call(layer, {n: t[i].clone() for n, t in stack.items()}, (x,)) for i in range(3)]
    batched = vmap(lambda own: functional_call(layer, own, (x,)))(stack)
    torch.testing.assert_close(batched, torch.stack(loop), rtol=0, atol=1e-9)


def test_norms_of_pictures_are_refused_in_dense_layers():
    for norm in ("instance", "filter_response"):
        assert registry.norms.get(norm).pictures_only
        with pytest.raises(NetworkError, match=r"norm: expected a convolution .* Use layer, group or rms"):
            NormLayer(4, norm)


def test_constant_pictures_and_single_samples_are_finite(picture_norm):
    layer = NormalizedConv2d(2, 4, 3, padding=1, norm=picture_norm)
    for x in (torch.zeros(2, 2, 4, 4), torch.full((2, 2, 4, 4), 0.3), torch.randn(1, 2, 4, 4)):
        x.requires_grad_()
        out = layer(x)
        torch.tanh(out).sum().backward()
        assert out.isfinite().all()
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_the_kernel_may_be_a_rectangle():
    layer = NormalizedConv2d(2, 4, (3, 1), stride=(2, 1), padding=(1, 0), norm="cosine")
    expected = nn.Conv2d(2, 4, (3, 1), stride=(2, 1), padding=(1, 0))(torch.randn(5, 2, 7, 6)).shape
    assert layer(torch.randn(5, 2, 7, 6)).shape == expected


def test_one_channel_of_a_picture_is_no_layer_of_one_unit():
    x = torch.randn(5, 1, 6, 6)
    for norm in ("layer", "pearson", "centred_weight", "weight_standardization", {"kind": "group", "groups": 1}):
        layer = NormalizedConv2d(1, 1, 3, norm=norm)
        assert layer(x).std() > 0.01
        assert layer.norm.in_features == 9
