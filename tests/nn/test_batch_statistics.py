"""What each norm gathers from a batch: whitening, ghost batches, renormalization, and what is remembered."""

from __future__ import annotations

import pytest
import torch

from gfopt.errors import NetworkError
from gfopt.nn import NormalizedLinear, NormLayer
from gfopt.nn.normalization.whitening import InverseSquareRoot


def covariance(rows):
    centred = rows - rows.mean(0)
    return centred.T @ centred / len(rows)


def correlated(n=400, d=6):
    mixing = torch.eye(d, dtype=torch.float64) + 0.5 * torch.rand(d, d, dtype=torch.float64)
    return torch.randn(n, d, dtype=torch.float64) @ mixing + 2


def test_whitening_leaves_no_correlation_where_batch_norm_does():
    z = correlated()  # DBN-1, DBN-3
    eye = torch.eye(6, dtype=torch.float64)
    white = covariance(NormLayer(6, "whitening").double()(z))
    torch.testing.assert_close(white, eye, atol=1e-3, rtol=0)
    standardized = covariance(NormLayer(6, "batch").double()(z))
    torch.testing.assert_close(standardized.diagonal(), torch.ones(6, dtype=torch.float64), atol=1e-3, rtol=0)
    assert (standardized - eye).abs().max() > 0.1


def test_whitening_turns_with_its_input():
    z = correlated()  # DBN-2: ZCA is the whitening that is equivariant under rotations
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    layer = NormLayer(6, "whitening", gain=False, shift=False).double()
    torch.testing.assert_close(layer(z @ turn.T), layer(z) @ turn.T, atol=1e-6, rtol=0)


def test_whitening_in_groups_whitens_each_by_itself():
    z = correlated()
    whole = NormLayer(6, {"kind": "whitening", "groups": 2}).double()(z)
    parts = [NormLayer(3, "whitening").double()(part) for part in z.split(3, dim=1)]
    torch.testing.assert_close(whole, torch.cat(parts, dim=1))


def test_whitening_in_groups_of_one_is_batch_norm():
    z = correlated()
    torch.testing.assert_close(
        NormLayer(6, {"kind": "whitening", "groups": 6}).double()(z), NormLayer(6, "batch").double()(z)
    )


def test_newtons_iteration_comes_closer_with_every_step():
    z = correlated()
    eye = torch.eye(6, dtype=torch.float64)
    errors = [
        float((covariance(NormLayer(6, {"kind": "iternorm", "iterations": n}).double()(z).detach()) - eye).norm())
        for n in (1, 3, 5, 7)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_the_inverse_root_and_its_gradient():
    raw = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)

    def root(rows):
        return InverseSquareRoot.apply(rows.mT @ rows + 0.1 * torch.eye(4, dtype=rows.dtype))[0]

    matrix = raw.mT @ raw + 0.1 * torch.eye(4, dtype=raw.dtype)
    torch.testing.assert_close(root(raw) @ matrix @ root(raw), torch.eye(4, dtype=raw.dtype).expand(2, 4, 4))
    assert torch.autograd.gradcheck(root, raw)


def test_the_gradient_of_the_inverse_root_is_finite_where_eigenvalues_are_equal():
    matrix = (0.5 * torch.eye(4, dtype=torch.float64)).requires_grad_()
    InverseSquareRoot.apply(matrix)[0].sum().backward()
    torch.testing.assert_close(matrix.grad, torch.full_like(matrix, -0.5 * 0.5**-1.5))


def test_ghost_batches_are_normalized_by_themselves():
    z = correlated(20)
    layer = NormLayer(6, {"kind": "ghost", "size": 8}).double()
    parts = [NormLayer(6, "batch").double()(part) for part in z.split([8, 12])]  # what is left over joins the last
    torch.testing.assert_close(layer(z), torch.cat(parts))
    torch.testing.assert_close(layer.norm.statistics.running_mean, 0.1 * z.mean(0))


def test_renormalization_is_batch_norm_first_and_the_running_statistics_later():
    z = correlated()
    layer = NormLayer(6, "batch_renorm").double()
    statistics = layer.norm.statistics
    statistics.store(z)
    layer.eval()
    stored = layer(z)
    layer.train()
    # Within the bounds the corrections undo the batch's own statistics (Ioffe 2017, section 3).
    torch.testing.assert_close(layer(z[:50]), stored[:50], atol=1e-4, rtol=0)
    statistics.remember = False
    torch.testing.assert_close(layer(z), NormLayer(6, "batch").double()(z))


def test_the_bounds_of_renormalization_hold():
    z = correlated()
    layer = NormLayer(6, {"kind": "batch_renorm", "r_max": 1, "d_max": 0}, gain=False, shift=False).double()
    torch.testing.assert_close(layer(z), NormLayer(6, "batch", gain=False, shift=False).double()(z))


@pytest.mark.parametrize("norm", ["mean", "whitening", "iternorm", "ghost", "batch_renorm", "weight_mean"])
def test_what_is_stored_is_used_and_can_be_forgotten(norm):
    layer = NormalizedLinear(6, 4, norm).double()
    statistics = layer.norm.statistics
    fresh = {name: value.clone() for name, value in statistics.stored().items()}
    x = correlated(64)
    for _ in range(200):
        trained = layer(x)
    layer.eval()
    if norm != "ghost":
        torch.testing.assert_close(layer(x), trained, atol=1e-3, rtol=1e-3)
    assert statistics.num_batches_tracked == 200
    statistics.reset_parameters()
    assert all(torch.equal(value, fresh[name]) for name, value in statistics.stored().items())
    assert list(statistics.parameters()) == []


def test_steps_of_a_sequence_have_statistics_of_their_own():
    layer = NormalizedLinear(6, 4, "batch", steps=3).double()
    for step in range(5):
        layer(correlated(20) + step, step=step)
    counts = [int(norm.statistics.num_batches_tracked) for norm in (layer.norm, *layer.later)]
    assert counts == [1, 1, 3]  # beyond the last step, its statistics
    assert NormalizedLinear(6, 4, "layer", steps=3).later is None


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        ({"kind": "group", "groups": 4}, ["groups", "a divisor of the 6 units", "4", "1, 2, 3"]),
        ({"kind": "group", "groups": 6}, ["groups", "One", "one unit is always 0"]),
        ({"kind": "group", "groups": 0}, ["groups", "at least 1"]),
        ({"kind": "whitening", "groups": 4}, ["groups", "a divisor"]),
        ({"kind": "iternorm", "iterations": 20}, ["iterations", "at most"]),
        ({"kind": "group", "grups": 2}, ["grups", "groups"]),
        ({"kind": "ghost", "size": 1}, ["size", "at least 2"]),
        ({"groups": 2}, ["known norm", "nothing"]),
        ({"kind": "batch", "groups": 2}, ["groups", "known option"]),
    ],
)
def test_wrong_options_are_refused(norm, words):
    with pytest.raises(NetworkError) as caught:
        NormalizedLinear(5, 6, norm)
    for word in words:
        assert word.lower() in str(caught.value).lower()


@pytest.mark.parametrize("norm", ["weight", "cosine", "spectral", "weight_mean"])
def test_norms_of_weights_do_not_stand_alone(norm):
    with pytest.raises(NetworkError, match="acts on weights"):
        NormLayer(6, norm)
