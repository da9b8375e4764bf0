"""Each normalization against its formula in numpy, against torch's own layers, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from normalization_formulas import standardized
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from gfopt import registry
from gfopt.errors import NetworkError
from gfopt.nn import Normalization, NormalizedLinear, check_norm

NORMS = tuple(name for name in registry.norms.names() if not registry.norms.get(name).pictures_only)
WITHOUT_GAIN = ("none", "mean")


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(st.integers(2, 9), st.integers(2, 7), st.sampled_from([4, 6])),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    eps=st.sampled_from([1e-12, 1e-5, 1e-1]),
    seed=st.integers(0, 2**31),
    affine=st.tuples(st.booleans(), st.booleans()),
)
@pytest.mark.parametrize("norm", NORMS)
def test_layer_equals_its_formula(norm, sizes, scale, eps, seed, affine):
    batch, inputs, units = sizes
    if norm == "whitening":  # of a singular covariance the root magnifies rounding errors
        batch, inputs = batch + 2 * units, inputs + units
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(batch, inputs)) * scale, rng.normal(size=(units, inputs))
    g, b = rng.normal(size=units), rng.normal(size=units)
    gain, shift = affine
    layer = NormalizedLinear(inputs, units, norm, gain, shift, eps).double()
    with torch.no_grad():
        for parameter, value in ((layer.weight, w), (layer.gain, g), (layer.shift, b)):
            if parameter is not None:
                parameter.copy_(torch.from_numpy(value))
    if norm == "batch_renorm":  # nothing to correct towards
        layer.norm.statistics.remember = False
    has_gain = gain and norm not in WITHOUT_GAIN
    expected = (g if has_gain else 1.0) * standardized(norm, x[:, None], w, eps)[:, 0] + (b if shift else 0.0)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), expected, rtol=1e-7, atol=1e-7)


def test_gain_and_shift_exist_only_where_they_do_something(norm):
    layer = NormalizedLinear(5, 4, norm)
    assert layer.weight.shape == (4, 5)
    assert layer.shift.shape == (4,)
    assert (layer.gain is None) == (norm in WITHOUT_GAIN)
    gain = [] if norm in WITHOUT_GAIN else ["gain"]
    assert [n for n, _ in layer.named_parameters()] == ["weight", *gain, "shift"]
    bare = NormalizedLinear(5, 4, norm, gain=False, shift=False)
    assert [n for n, _ in bare.named_parameters()] == ["weight"]


def test_no_parameter_is_dead(norm, make_layer):
    # A bias in front of a batch norm would have a gradient of exactly 0.
    layer = make_layer(norm)
    x, c = torch.randn(16, 5, dtype=torch.float64), torch.randn(16, 6, dtype=torch.float64)
    (torch.tanh(layer(x)) * c).sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.abs().min() > 1e-6, name


def test_reset_parameters_draws_weights_and_restores_gain_and_shift(norm, make_layer):
    layer = make_layer(norm)
    before = layer.weight.detach().clone()
    layer.reset_parameters()
    assert not torch.equal(layer.weight, before)
    if norm == "none":
        assert 0 < layer.shift.abs().max() <= 5**-0.5
        return
    if layer.gain is not None:
        assert torch.equal(layer.gain, torch.ones_like(layer.gain))
    assert torch.equal(layer.shift, torch.zeros_like(layer.shift))


def test_none_is_torchs_linear_from_the_same_seed():
    torch.manual_seed(3)
    ours = NormalizedLinear(7, 4)
    torch.manual_seed(3)
    theirs = nn.Linear(7, 4)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.shift, theirs.bias)
    x = torch.randn(5, 7)
    assert torch.equal(ours(x), theirs(x))


# -- torch's own layers --


def test_batch_equals_torchs_layer_with_running_statistics_and_in_evaluation(make_layer):
    layer = make_layer("batch", eps=1e-4)
    theirs = nn.BatchNorm1d(6, eps=1e-4).double()
    with torch.no_grad():
        theirs.weight.copy_(layer.gain)
        theirs.bias.copy_(layer.shift)
    for _ in range(3):
        x = torch.randn(8, 5, dtype=torch.float64)
        torch.testing.assert_close(layer(x), theirs(x @ layer.weight.T))
    statistics = layer.norm.statistics
    torch.testing.assert_close(statistics.running_mean, theirs.running_mean)
    torch.testing.assert_close(statistics.running_var, theirs.running_var)
    assert statistics.num_batches_tracked == 3
    layer.eval(), theirs.eval()
    torch.testing.assert_close(layer(x), theirs(x @ layer.weight.T))
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]))  # BN-8: a row alone is the row among others


def test_batch_statistics_are_torchs_layer_without_parameters():
    layer = NormalizedLinear(4, 3, "batch", eps=1e-3)
    found = [m for m in layer.modules() if isinstance(m, _BatchNorm)]
    assert [type(m) for m in found] == [nn.BatchNorm1d]
    assert found[0].eps == 1e-3
    assert list(found[0].parameters()) == []
    assert set(dict(layer.named_buffers())) == {
        f"norm.statistics.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")
    }


def test_running_variance_is_the_unbiased_one_though_the_biased_normalizes():
    layer = NormalizedLinear(3, 2, "batch").double()  # BN-7
    x = torch.randn(6, 3, dtype=torch.float64)
    layer(x)
    z = (x @ layer.weight.T).detach()
    torch.testing.assert_close(layer.norm.statistics.running_var, 0.9 + 0.1 * z.var(0, correction=1))


def test_layer_equals_torchs(make_layer):
    layer, x = make_layer("layer"), torch.randn(8, 5, dtype=torch.float64)
    expected = F.layer_norm(x @ layer.weight.T, (6,), layer.gain, layer.shift, 1e-5)
    torch.testing.assert_close(layer(x), expected)


def test_rms_equals_torchs(make_layer):
    layer, x = make_layer("rms"), torch.randn(8, 5, dtype=torch.float64)
    theirs = nn.RMSNorm(6, eps=1e-5).double()
    with torch.no_grad():
        theirs.weight.copy_(layer.gain)
    torch.testing.assert_close(layer(x), theirs(x @ layer.weight.T) + layer.shift)


def test_weight_equals_torchs_parametrization(make_layer):
    layer, x = make_layer("weight"), torch.randn(8, 5, dtype=torch.float64)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(5, 6).double())
    with torch.no_grad():
        theirs.parametrizations.weight.original0.copy_(layer.gain[:, None])
        theirs.parametrizations.weight.original1.copy_(layer.weight)
        theirs.bias.copy_(layer.shift)
    torch.testing.assert_close(layer(x), theirs(x))


def test_cosine_and_pearson_equal_torchs_similarity_and_correlation(make_layer):
    x = torch.randn(8, 5, dtype=torch.float64)
    for norm in ("cosine", "pearson"):
        layer = make_layer(norm, gain=False, shift=False)
        if norm == "cosine":
            expected = F.cosine_similarity(x[:, None], layer.weight[None], dim=-1)
        else:
            expected = torch.corrcoef(torch.cat([x, layer.weight]))[:8, 8:]
        torch.testing.assert_close(layer(x), expected)
        assert layer(100 * x).abs().max() <= 1 + 1e-6  # CN-1


# -- edges --


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["zero weight", "zero input", "constant input", "one unit for all", "tiny", "huge"])
def test_degenerate_values_give_finite_outputs_and_gradients(norm, case, dtype):
    layer = NormalizedLinear(5, 6, norm).to(dtype)
    x = torch.randn(4, 5, dtype=dtype)
    with torch.no_grad():
        if case == "zero weight":
            layer.weight[0] = 0
        elif case == "zero input":
            x[1] = 0
        elif case == "constant input":
            x[:] = 0.3
        elif case == "one unit for all":
            layer.weight[:] = layer.weight[0].clone()
        else:
            layer.weight.mul_(1e-12 if case == "tiny" else 1e6)
    x.requires_grad_()
    out = layer(x)
    torch.tanh(out).sum().backward()
    assert out.isfinite().all()
    for tensor in (x, *layer.parameters()):
        assert tensor.grad.isfinite().all()


def test_a_constant_feature_is_normalized_to_its_shift():
    layer = NormalizedLinear(3, 4, "batch").double()  # BN-11
    out = layer(torch.full((8, 3), 0.7, dtype=torch.float64))
    torch.testing.assert_close(out, layer.shift.expand(8, -1), atol=1e-9, rtol=0)


def test_a_zero_vector_gives_the_shift(make_layer):
    for norm in ("weight", "cosine", "pearson"):
        layer = make_layer(norm)
        with torch.no_grad():
            layer.weight[2] = 0
        out = layer(torch.randn(4, 5, dtype=torch.float64))
        assert torch.equal(out[:, 2], layer.shift[2].expand(4))


@pytest.mark.parametrize("norm", [n for n in NORMS if not registry.norms.get(n).of_batch])
def test_a_sample_alone_equals_its_row_in_a_batch(norm, make_layer):
    layer, x = make_layer(norm), torch.randn(8, 5, dtype=torch.float64)  # LN-4
    torch.testing.assert_close(layer(x[3:4]), layer(x)[3:4])


def test_batch_outputs_are_bounded_by_the_batch_size():
    layer = NormalizedLinear(3, 4, "batch", eps=1e-12).double()  # BN-9
    for n in (2, 5, 17):
        x = torch.zeros(n, 3, dtype=torch.float64)
        x[0] = 100 * torch.randn(3, dtype=torch.float64)
        out = layer(x).abs()
        torch.testing.assert_close(out.max(), torch.tensor((n - 1) ** 0.5, dtype=torch.float64))


def test_gain_root_of_variance_and_shift_mean_undo_the_norm():
    layer = NormalizedLinear(3, 4, "batch").double()  # GEN-1
    x = torch.randn(20, 3, dtype=torch.float64) + 2
    z = (x @ layer.weight.T).detach()
    with torch.no_grad():
        layer.gain.copy_((z.var(0, correction=0) + 1e-5).sqrt())
        layer.shift.copy_(z.mean(0))
    torch.testing.assert_close(layer(x), z, rtol=1e-12, atol=1e-12)


def forget(module):
    if hasattr(module, "num_batches_tracked"):
        module.reset_parameters()


def test_axes_between_batch_and_features_count_as_rows(norm, make_layer):
    layer, x = make_layer(norm), torch.randn(3, 4, 5, dtype=torch.float64)
    together = layer(x)
    layer.norm.apply(forget)
    torch.testing.assert_close(together, layer(x.reshape(12, 5)).reshape(3, 4, 6))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((4, 1, "layer"), ["out_features", "at least 2 units", "'layer'", "got 1"]),
        ((1, 4, "pearson"), ["in_features", "at least 2 inputs", "'pearson'", "got 1"]),
        ((4, 3, "btach"), ["known norm", "'btach'", "Did you mean 'batch'?"]),
        ((4, 3, None), ["known norm", "None"]),
        ((0, 3, "none"), ["in_features", "positive whole number", "got 0"]),
        ((4, -1, "batch"), ["out_features", "positive whole number", "got -1"]),
        ((4, 2.5, "batch"), ["out_features", "positive whole number", "got 2.5"]),
        ((True, 3, "none"), ["in_features", "got True"]),
        ((4, 3, "batch", True, True, 0.0), ["eps", "positive number", "got 0.0"]),
        ((4, 3, "batch", True, True, float("nan")), ["eps", "got nan"]),
    ],
)
def test_a_layer_that_cannot_work_is_refused(arguments, words):
    with pytest.raises(NetworkError) as caught:
        NormalizedLinear(*arguments)
    for word in words:
        assert word in str(caught.value)


def test_check_norm_knows_every_norm_before_the_inputs_are_known(norm):
    assert issubclass(check_norm(norm, None, 4), Normalization)
    assert check_norm(norm, np.int64(3), 4) is registry.norms.get(norm)
