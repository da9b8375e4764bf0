import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from gfopt.errors import ConfigError, ShapeError
from gfopt.problems.metrics import metrics


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 40))
def test_classification_equals_scikit_learn(seed, columns, rows):
    stream = np.random.default_rng(seed)
    outputs = torch.as_tensor(stream.normal(size=(rows, columns)))
    y = stream.integers(0, max(2, columns), rows)
    decided = (outputs[:, 0] > 0).long() if columns == 1 else outputs.argmax(1)
    got = metrics("classification", outputs, torch.as_tensor(y))
    # Recall by hand: scikit-learn's own warns where a class is decided for that no target has.
    recall = np.mean([np.mean(decided.numpy()[y == c] == c) for c in np.unique(y)])
    expected = {
        "accuracy": accuracy_score(y, decided),
        "balanced_accuracy": recall,
        "f1_macro": f1_score(y, decided, average="macro", zero_division=0),
    }
    assert got == pytest.approx(expected, rel=1e-12)
    if len(set(y)) > 1 and set(decided.tolist()) <= set(y):
        assert got["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, decided))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 40))
def test_regression_equals_scikit_learn_in_original_units(seed, columns, rows):
    stream = np.random.default_rng(seed)
    predicted, y = stream.normal(size=(2, rows, columns))
    scale = stream.uniform(0.1, 50, columns)
    got = metrics("regression", torch.as_tensor(predicted), torch.as_tensor(y), target_scale=scale)
    p, t = predicted * scale, y * scale
    expected = {
        "rmse": root_mean_squared_error(t.ravel(), p.ravel()),
        "mae": mean_absolute_error(t, p),
        "r2": r2_score(t, p),
    }
    assert got == pytest.approx(expected, rel=1e-9)


def test_one_column_of_targets_may_come_flat():
    y = torch.tensor([1.0, 2.0, 4.0])
    outputs = torch.tensor([[1.0], [2.0], [3.0]])
    flat = metrics("regression", outputs, y, target_scale=10.0)
    assert flat == metrics("regression", outputs, y.unsqueeze(1), target_scale=np.array([10.0]))
    assert flat["mae"] == pytest.approx(10 / 3)
    assert flat["rmse"] == pytest.approx(10 / math.sqrt(3))


def test_rows_that_allow_no_decision_are_wrong_and_not_class_0():
    nan, inf = torch.nan, torch.inf
    outputs = torch.tensor([[nan, nan], [2.0, nan], [inf, 0.0], [-inf, -inf], [1.0, 0.0], [-inf, 0.0]])
    got = metrics("classification", outputs, torch.tensor([0, 0, 0, 0, 0, 1]))
    assert got["accuracy"] == pytest.approx(2 / 6)
    assert got["balanced_accuracy"] == pytest.approx((1 / 5 + 1) / 2)
    assert got["f1_macro"] == pytest.approx((2 / 6 + 1) / 2)
    everything = metrics("classification", torch.full((4, 3), nan), torch.tensor([0, 1, 2, 0]))
    assert everything == {"accuracy": 0.0, "balanced_accuracy": 0.0, "f1_macro": 0.0}
    assert metrics("classification", torch.tensor([[nan]]), torch.tensor([0]))["accuracy"] == 0.0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_predictions_that_are_not_finite_are_worst_not_nan(bad):
    got = metrics("regression", torch.tensor([[1.0], [bad]]), torch.tensor([1.0, 2.0]))
    assert got == {"rmse": math.inf, "mae": math.inf, "r2": -math.inf}


def test_r2_of_equal_targets():
    y = torch.tensor([3.0, 3.0])
    assert metrics("regression", y.unsqueeze(1), y)["r2"] == 1.0
    assert metrics("regression", y.unsqueeze(1) + 1, y)["r2"] == 0.0
    assert metrics("regression", torch.tensor([[2.0]]), torch.tensor([1.0]))["r2"] == 0.0


def test_large_float32_predictions_do_not_overflow():
    got = metrics("regression", torch.tensor([[1e30], [0.0]]), torch.tensor([0.0, 1.0]))
    assert got["rmse"] == pytest.approx(1e30 / math.sqrt(2), rel=1e-6)
    assert math.isfinite(got["r2"])


def test_outputs_that_do_not_belong_to_the_targets():
    with pytest.raises(ShapeError, match=r"expected shape \(3, C\), got \(2, 4\)"):
        metrics("classification", torch.zeros(2, 4), torch.zeros(3))
    with pytest.raises(ShapeError, match=r"expected shape \(2, 3\), got \(2, 1\)"):
        metrics("regression", torch.zeros(2, 1), torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="B >= 1"):
        metrics("classification", torch.zeros(0, 4), torch.zeros(0))
    with pytest.raises(ConfigError, match="classification or regression"):
        metrics("ranking", torch.zeros(2, 4), torch.zeros(2))
