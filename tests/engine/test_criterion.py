"""A loss with its samples: weights, the rows in no loss, and each member by its own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from gfopt.engine.criterion import Criterion, side_by_side
from gfopt.problems.loss_smooth import CrossEntropy, MeanSquaredError

OUTPUTS = torch.randn(4, 10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(10) % 3


def test_it_is_the_loss_of_its_samples():
    expected = torch.stack([functional.cross_entropy(one, CLASSES) for one in OUTPUTS])
    torch.testing.assert_close(Criterion(CrossEntropy(), CLASSES)(OUTPUTS), expected)


def test_weights_are_those_of_a_mean():
    weight = torch.arange(10, dtype=torch.float64)
    each = torch.stack([functional.cross_entropy(one, CLASSES, reduction="none") for one in OUTPUTS])
    expected = (each * weight).sum(-1) / weight.sum()
    torch.testing.assert_close(Criterion(CrossEntropy(), CLASSES, weight)(OUTPUTS), expected)


@pytest.mark.parametrize("ahead", [1, 4, 9])
def test_rows_ahead_are_in_no_loss(ahead):
    found = Criterion(CrossEntropy(), CLASSES[ahead:], ahead=ahead)(OUTPUTS)
    assert found.equal(Criterion(CrossEntropy(), CLASSES[ahead:])(OUTPUTS[:, ahead:]))


def test_rows_ahead_of_sequences_stand_on_another_axis():
    outputs = OUTPUTS.reshape(2, 4, 5, 3)  # two members, four samples, five steps
    targets = torch.randn(3, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = Criterion(MeanSquaredError(), targets, ahead=1, axis=-3)(outputs)
    torch.testing.assert_close(found, (outputs[:, 1:] - targets).square().mean((1, 2, 3)))


def test_each_member_by_its_own_criterion():
    criteria = [Criterion(CrossEntropy(), CLASSES.roll(i)) for i in range(4)]
    found = side_by_side(criteria)(OUTPUTS)
    assert found.shape == (4,)
    assert found.equal(torch.stack([loss(one) for loss, one in zip(criteria, OUTPUTS, strict=True)]))


def test_as_many_criteria_as_members():
    with pytest.raises(ValueError, match="zip"):
        side_by_side([Criterion(CrossEntropy(), CLASSES)])(OUTPUTS)


def test_gradients_of_members_stay_apart():
    outputs = OUTPUTS.clone().requires_grad_()
    criteria = [Criterion(CrossEntropy(), CLASSES.roll(i)) for i in range(4)]
    side_by_side(criteria)(outputs)[2].backward()
    assert outputs.grad[[0, 1, 3]].abs().max() == 0
    assert outputs.grad[2].abs().max() > 0


def test_without_a_kind_it_is_any_loss():
    assert Criterion(CrossEntropy(), CLASSES).kind == ""
    assert CrossEntropy.compiled == "cross_entropy"
    assert MeanSquaredError.compiled == "squared_error"
