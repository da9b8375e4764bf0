"""The classifier: labels, probabilities, weights, going on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.exceptions import NotFittedError

from gfopt.errors import DataError


@pytest.fixture
def fitted(classifier, iris):
    return classifier().fit(*iris)


def test_it_learns(classifier, iris):
    X, y = iris
    assert classifier().fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9


@pytest.mark.parametrize(
    "labels",
    [["setosa", "versicolor", "virginica"], [-5, 70, 8], [1.0, 3.0, 2.0], np.array(["b", "a", "c"], dtype=object)],
    ids=["text", "numbers", "whole floats", "objects"],
)
def test_labels_come_back_as_they_are(classifier, iris, labels):
    X, y = iris[0], np.array(labels)[iris[1]]
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.predict(X).dtype == y.dtype
    assert (model.predict(X) == y).mean() > 0.9


def test_two_classes_may_be_bools(classifier, iris):
    X, y = iris[0], iris[1] == 2
    model = classifier().fit(X, y)
    assert model.predict(X).dtype == bool
    assert model.predict_proba(X).shape == (150, 2)
    assert model.score(X, y) > 0.9


def test_probabilities_are_the_softmax_of_the_modules_logits(classifier, iris):
    """Recomputed with numpy for a linear model: standardization, one product, softmax."""
    X, y = iris
    model = classifier(hidden=()).fit(X, y)
    layer = model.module_.network.layers[0]
    weight, shift = layer.weight.detach().numpy(), layer.shift.detach().numpy()
    distinct = np.unique(X, axis=0, return_counts=True)  # iris has one row twice, of the same class
    mean = np.average(distinct[0], axis=0, weights=distinct[1])
    expected = softmax((X - mean) / X.std(axis=0) @ weight.T + shift, axis=1)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-9)
    logits = model.module_(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(softmax(logits, axis=1), expected, rtol=1e-9)
    assert (model.predict(X) == expected.argmax(1)).all()


def test_a_single_logit_gives_the_probabilities_of_both_classes(classifier, iris):
    X, y = iris[0], np.where(iris[1] == 0, "yes", "no")
    model = classifier(loss="binary_cross_entropy").fit(X, y)
    logits = model.module_(torch.tensor(X)).detach().numpy()
    assert logits.shape == (150, 1)
    np.testing.assert_allclose(model.predict_proba(X), np.hstack([1 - expit(logits), expit(logits)]), atol=1e-12)
    assert model.score(X, y) > 0.95


def test_a_row_does_not_depend_on_those_beside_it(classifier, iris):
    X, y = iris
    model = classifier(norm="batch").fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X[:1]), model.predict_proba(X)[:1], rtol=1e-12)


def test_the_attributes_describe_the_fit(fitted, iris):
    assert fitted.n_features_in_ == 4
    assert fitted.loss_ == fitted.history_["loss"].iloc[-1]
    assert fitted.n_iter_ == fitted.history_["steps"].iloc[-1]
    assert fitted.stop_reason_ == "budget"
    assert fitted.history_["evaluations"].iloc[-1] >= 1000
    outputs = fitted.module_(torch.tensor(iris[0]))
    weighted = torch.nn.functional.cross_entropy(outputs, torch.tensor(iris[1]))
    assert float(weighted.detach()) == pytest.approx(fitted.loss_, rel=1e-5)


def test_names_of_columns_are_kept(classifier, iris):
    frame = pd.DataFrame(iris[0], columns=list("abcd"))
    model = classifier(budget=100).fit(frame, iris[1])
    assert model.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("dcba")])


def test_a_row_without_weight_teaches_nothing(classifier, iris):
    X, y = iris
    weight = (y < 2).astype(float)
    model = classifier().fit(X, y, weight)
    without = classifier().fit(X[y < 2], y[y < 2])
    assert model.classes_.tolist() == [0, 1, 2]
    assert (model.predict(X[y < 2]) == without.predict(X[y < 2])).all()
    assert (model.predict(X) != 2).all()


def test_a_heavy_row_decides(classifier):
    X, y = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 1, 0, 1])
    model = classifier(hidden=()).fit(X, y, [9.0, 1.0, 1.0, 9.0])
    np.testing.assert_allclose(model.predict_proba(X)[[0, 2], 1], [0.1, 0.9], atol=0.02)


def test_weights_count_up_to_a_factor(classifier, iris):
    weight = np.random.default_rng(0).uniform(1, 2, 150)
    one = classifier().fit(*iris, weight).predict_proba(iris[0])
    assert (classifier().fit(*iris, 2.0**200 * weight).predict_proba(iris[0]) == one).all()


@pytest.mark.parametrize("weight", [np.zeros(150), -np.ones(150), np.ones(3), np.full(150, np.nan)])
def test_weights_that_make_no_sense_are_refused(classifier, iris, weight):
    with pytest.raises(ValueError, match=r"weight|NaN"):
        classifier().fit(*iris, weight)


def test_going_on_never_loses_what_was_reached_on_the_same_rows(classifier, iris):
    model = classifier(budget=300).partial_fit(*iris)
    reached = [model.loss_]
    for _ in range(3):
        first = model.partial_fit(*iris).history_["loss"].iloc[0]
        assert first == pytest.approx(reached[-1], rel=1e-6)
        reached.append(model.loss_)
    assert reached == sorted(reached, reverse=True)
    assert reached[-1] < reached[0]


def test_going_on_with_rows_of_one_class_keeps_classes_and_scaling(classifier, iris):
    X, y = iris
    model = classifier(budget=100).partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    mean = model.module_.input_mean.clone()
    model.partial_fit(X[100:], y[100:])
    assert model.classes_.tolist() == [0, 1, 2]
    assert (model.module_.input_mean == mean).all()
    assert model.predict_proba(X).shape == (150, 3)


def test_a_label_that_was_not_announced_is_refused(classifier, iris):
    X, y = iris
    model = classifier(budget=100).partial_fit(X, np.minimum(y, 1))
    with pytest.raises(DataError, match=r"y: expected one of the classes \[0, 1\], got 2"):
        model.partial_fit(X, y)
    with pytest.raises(DataError, match="classes: expected those of the first call"):
        model.partial_fit(X, np.minimum(y, 1), classes=[0, 1, 2])


def test_a_warm_start_goes_on_and_a_cold_one_does_not(classifier, iris):
    warm, cold = classifier(budget=300, warm_start=True), classifier(budget=300)
    first = warm.fit(*iris).loss_
    assert warm.fit(*iris).loss_ < first
    assert cold.fit(*iris).loss_ == cold.fit(*iris).loss_ == first


def test_another_number_of_columns_cannot_go_on(classifier, iris):
    model = classifier(budget=100, warm_start=True).fit(*iris)
    with pytest.raises(ValueError, match="4 features"):
        model.fit(iris[0][:, :2], iris[1])


def test_one_class_is_refused_in_words(classifier, iris):
    with pytest.raises(DataError, match="y: expected at least two classes, got `1 class, \\[1\\]`"):
        classifier().fit(iris[0], np.ones(150, dtype=int))


def test_it_says_that_it_is_not_fitted(classifier, iris):
    with pytest.raises(NotFittedError):
        classifier().predict(iris[0])
