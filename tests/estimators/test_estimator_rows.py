"""Rows that are the same, weights, and the standardization that follows them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from gfopt.errors import ConfigError, DataError
from gfopt.estimators.rows import WHOLE, Rows

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)


def regression(x=X, y=Y, weight=None):
    return Rows("regression", x, y, weight)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=12, max_size=12).filter(any), st.randoms(use_true_random=False))
def test_repeated_rows_and_weighted_ones_are_the_same_in_any_order(counts, random):
    order = list(range(12))
    random.shuffle(order)
    weighted = regression(X[order], Y[order], np.array(counts, dtype=float)[order]).distinct()
    repeated = regression(X.repeat(counts, axis=0), Y.repeat(counts)).distinct()
    assert (weighted.x == repeated.x).all()
    assert (weighted.y == repeated.y).all()
    assert (weighted.weight is None) == (repeated.weight is None)
    if weighted.weight is not None:
        assert (weighted.weight == repeated.weight).all()
        assert weighted.weight.mean() == pytest.approx(1)


def test_rows_of_other_targets_stay_apart():
    found = regression(np.zeros((3, 1)), np.array([1.0, 2.0, 1.0])).distinct()
    assert found.y.tolist() == [1.0, 2.0]
    assert found.weight.tolist() == pytest.approx([4 / 3, 2 / 3])


def test_many_rows_are_taken_as_they_are():
    x = np.zeros((WHOLE + 1, 1))
    found = regression(x, np.arange(len(x)) % 2).distinct()
    assert len(found.x) == len(x)
    assert found.weight is None


def test_only_zeros_are_refused():
    with pytest.raises(ConfigError, match="sample_weight: expected a weight that is not 0"):
        regression(weight=np.zeros(12)).distinct()


@pytest.mark.parametrize("weight", [None, RNG.uniform(0, 2, 12)])
def test_the_standardization_is_scikit_learns(weight):
    rows = regression(weight=weight)
    peer = StandardScaler().fit(X, sample_weight=weight)
    np.testing.assert_allclose(rows.input_scaling().mean, peer.mean_, rtol=1e-12)
    np.testing.assert_allclose(rows.input_scaling().scale, peer.scale_, rtol=1e-12)
    assert rows.target_scaling().scale == pytest.approx(StandardScaler().fit(Y[:, None], None, weight).scale_[0])


@pytest.mark.parametrize("weight", [None, np.arange(1.0, 13.0)])
def test_a_constant_column_becomes_zero(weight):
    x = np.column_stack([X[:, 0], np.full(12, 0.1)])
    rows = regression(x, weight=weight)
    assert (rows.input_scaling().transform(x)[:, 1] == 0).all()


def test_values_whose_variance_overflows_are_refused():
    with pytest.raises(DataError, match="finite variance"):
        regression(X * 1e200).input_scaling()


def test_classes_are_held_out_in_proportion():
    y = np.repeat([0, 1], [30, 10])
    rows = Rows("classification", RNG.normal(size=(40, 2)), y, np.arange(1.0, 41.0), (0, 1))
    dataset, weight = rows.dataset(rows.input_scaling(), rows.target_scaling(), 0.2, seed=3)
    assert np.bincount(dataset.y_validation).tolist() == [6, 2]
    assert dataset.splits == ("validation",)
    assert len(weight) == len(dataset.x_train) == 32
    inverse = dataset.input_scaling.inverse(dataset.x_train)
    for row, mine in zip(inverse, weight, strict=True):
        assert np.abs(rows.x[int(mine) - 1] - row).max() < 1e-12
