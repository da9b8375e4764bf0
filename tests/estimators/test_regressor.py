"""The regressor: units, several targets, going on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.exceptions import DataConversionWarning

from gfopt.errors import DataError


def test_it_predicts_in_the_targets_own_units(regressor, plane):
    x, y = plane
    model = regressor().fit(x, y)
    assert model.predict(x).shape == (60,)
    assert model.score(x, y) > 0.99
    np.testing.assert_allclose(model.module_(torch.tensor(x)).detach().numpy()[:, 0], model.predict(x))


def test_its_loss_is_on_standardized_targets(regressor, plane):
    x, y = plane
    model = regressor().fit(x, y)
    assert ((model.predict(x) - y) ** 2).mean() / y.var() == pytest.approx(model.loss_, rel=1e-3)


def test_its_predictions_do_not_care_about_units(regressor, plane):
    """Standardized inputs differ by rounding, which the search may follow elsewhere; not for powers of two."""
    x, y = plane
    one = regressor().fit(x, y).predict(x)
    other = regressor().fit(x * 2.0**10, y * 2.0**-20).predict(x * 2.0**10)
    np.testing.assert_allclose(other, one * 2.0**-20, rtol=1e-12)


def test_small_differences_of_large_inputs_are_seen(regressor):
    """Of 1e9 and 1e9 + 1, float32 would make the same number."""
    x = 1e9 + np.arange(20.0)[:, None]
    model = regressor().fit(x, x[:, 0] - 1e9)
    np.testing.assert_allclose(model.predict(x), np.arange(20.0), atol=0.5)


def test_several_targets_are_learned_together(regressor, plane):
    x, y = plane
    both = np.column_stack([y, -3 * y + 1])
    model = regressor().fit(x, both)
    assert model.predict(x).shape == (60, 2)
    assert model.score(x, both) > 0.99
    with pytest.raises(DataError, match=r"y: expected rows of shape \(2,\)"):
        model.partial_fit(x, y)


def test_a_column_of_targets_is_taken_for_one_target_with_a_warning(regressor, plane):
    x, y = plane
    with pytest.warns(DataConversionWarning):
        model = regressor().fit(x, y[:, None])
    assert (model.predict(x) == regressor().fit(x, y).predict(x)).all()


def test_equal_targets_are_predicted_exactly_in_the_mean(regressor, plane):
    x, _ = plane
    assert regressor().fit(x, np.full(60, 7.0)).predict(x) == pytest.approx(np.full(60, 7.0), abs=0.1)


def test_going_on_keeps_the_scaling_and_never_loses_what_was_reached(regressor, plane):
    x, y = plane
    model = regressor(budget=100).partial_fit(x, y)
    first, scale = model.loss_, model.module_.target_scale.clone()
    assert model.partial_fit(x, y).loss_ < first
    model.partial_fit(x[:10] * 3, y[:10] * 5)
    assert (model.module_.target_scale == scale).all()


def test_weights_move_the_standardization_and_the_fit(regressor):
    """A constant model, the best of which is the weighted mean."""
    x, y = np.zeros((4, 1)), np.array([0.0, 0.0, 0.0, 8.0])
    assert regressor().fit(x, y, [1.0, 1.0, 1.0, 5.0]).predict(x) == pytest.approx(np.full(4, 5.0), abs=0.05)
