"""scikit-learn's own checks of estimators, and its tools around them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from gfopt import GradientFreeClassifier, GradientFreeRegressor

# One of each kind; all of them are in the slow part of the suite.
QUICK = {
    "check_classifiers_classes",
    "check_classifiers_one_label",
    "check_classifiers_regression_target",
    "check_dict_unchanged",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_partial_fit_n_features",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit_idempotent",
    "check_get_params_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_readonly_memmap_input",
    "check_regressor_multioutput",
    "check_regressors_int",
    "check_sample_weight_equivalence_on_dense_data",
    "check_set_params",
    "check_supervised_y_2d",
}


def checks(*estimators):
    """What `parametrize_with_checks` would run; that one hands pytest a generator, which pytest 9 warns of."""
    for estimator in estimators:
        for made, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            yield pytest.param(made, check, id=f"{type(estimator).__name__}-{name}")


EVERY = list(checks(GradientFreeClassifier(), GradientFreeRegressor()))
SHORT = list(checks(GradientFreeClassifier(budget=200), GradientFreeRegressor(budget=200)))
SOME = [case for case in SHORT if case.id.partition("-")[2] in QUICK]


@pytest.mark.parametrize(("estimator", "check"), SOME)
def test_it_passes_a_check_of_each_kind(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "check"), EVERY)
def test_it_passes_every_check_as_it_is(estimator, check):
    check(estimator)


def test_no_check_of_the_quick_ones_has_gone():
    assert {case.id.partition("-")[2] for case in SOME} == QUICK


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_it_is_as_accurate_as_scikit_learns_own_network(load):
    X, y = load(return_X_y=True)
    own = cross_val_score(make_pipeline(StandardScaler(), MLPClassifier(max_iter=1000, random_state=0)), X, y)
    ours = cross_val_score(GradientFreeClassifier(random_state=0), X, y)
    assert ours.mean() > own.mean() - 0.02


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # of the other one, which says that it has not converged
def test_it_explains_as_much_as_scikit_learns_own_network():
    X, y = load_diabetes(return_X_y=True)
    own = cross_val_score(make_pipeline(StandardScaler(), MLPRegressor(max_iter=1000, random_state=0)), X, y)
    ours = cross_val_score(GradientFreeRegressor(random_state=0), X, y)
    assert ours.mean() > own.mean() - 0.05


def test_a_grid_is_searched_through_a_pipeline(classifier, iris):
    model = make_pipeline(MinMaxScaler(), classifier(budget=200))
    grid = {"gradientfreeclassifier__norm": ["none", "batch"], "gradientfreeclassifier__hidden": [(), (3,)]}
    search = GridSearchCV(model, grid, cv=2).fit(*iris)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.score(*iris) > 0.7


def test_cross_validation_fits_it_anew_in_each_part(regressor, plane):
    assert cross_val_score(regressor(), *plane, cv=3).min() > 0.9


def test_a_clone_has_the_same_options_and_no_fit(classifier, iris):
    model = classifier(norm={"kind": "layer"}, optimizer_options={"population": 8}).fit(*iris)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "module_")
    assert (copy.fit(*iris).predict_proba(iris[0]) == model.predict_proba(iris[0])).all()


def test_a_pickle_predicts_the_same_and_goes_on_the_same(classifier, iris):
    model = classifier(norm="batch").fit(*iris)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.predict_proba(iris[0]) == model.predict_proba(iris[0])).all()
    assert (copy.partial_fit(*iris).predict_proba(iris[0]) == model.partial_fit(*iris).predict_proba(iris[0])).all()
