"""What both estimators can be told."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

import gfopt
from gfopt.callbacks import Callback, TargetReached
from gfopt.errors import ConfigError, GfoptError
from gfopt.estimators.rows import WHOLE
from gfopt.estimators.settings import MINIBATCH, batch_size_of


@pytest.mark.parametrize("optimizer", ["snes", "ga", "pso", "openai-es", "adam", "random-search"])
def test_any_optimizer_trains_it(classifier, iris, optimizer):
    model = classifier(optimizer=optimizer, budget=300).fit(*iris)
    assert model.loss_ < model.history_["loss"].iloc[0]


def test_options_reach_the_optimizer(classifier, iris):
    model = classifier(optimizer="ga", optimizer_options={"population": 10}, budget={"evaluations": 100})
    assert model.fit(*iris).history_["evaluations"].iloc[1] == 10


@pytest.mark.parametrize(
    ("budget", "unit", "spent"),
    [
        (160, "evaluations", 160),
        (np.int64(160), "evaluations", 160),
        ({"steps": 3}, "steps", 3),
        (gfopt.Budget(steps=4), "steps", 4),
    ],
)
def test_a_budget_may_be_given_in_three_ways(classifier, iris, budget, unit, spent):
    model = classifier(optimizer="ga", optimizer_options={"population": 16}, budget=budget).fit(*iris)
    assert spent <= model.history_[unit].iloc[-1] < spent + 16


def test_norm_and_activation_are_the_networks(classifier, iris):
    network = classifier(hidden=[5, 3], activation="relu", norm="layer", budget=100).fit(*iris).module_.network
    assert [layer.out_features for layer in network.layers] == [5, 3, 3]
    assert network.options.activation.kind == "relu"
    assert [norm.kind for norm in network.options.norms] == ["layer", "layer"]


@pytest.mark.parametrize(
    ("batch_size", "count", "rows"),
    [("auto", WHOLE, None), ("auto", WHOLE + 1, MINIBATCH), (None, 9999, None), (32, 100, 32), (32, 32, None)],
)
def test_few_rows_are_evaluated_all_at_once(batch_size, count, rows):
    assert batch_size_of(batch_size, count) == rows


def test_minibatches_train_it(classifier, iris):
    assert classifier(batch_size=32).fit(*iris).score(*iris) > 0.9


def test_the_kept_network_is_the_best_on_held_out_rows(classifier, iris):
    noisy = np.random.default_rng(0).permutation(iris[1])
    model = classifier(validation_fraction=0.3).fit(iris[0], noisy)
    curve = model.history_.iloc[1:]
    best = curve["validation_loss"].idxmin()
    assert best < curve.index[-1]
    assert model.loss_ == curve["loss"][best]


def test_patience_ends_a_fit_that_stands_still(classifier, iris):
    noisy = np.random.default_rng(0).permutation(iris[1])
    model = classifier(validation_fraction=0.3, patience=200, budget=20_000).fit(iris[0], noisy)
    assert model.stop_reason_ == "callback"
    assert model.history_["evaluations"].iloc[-1] < 10_000
    alone = classifier(patience=200, min_delta=1e3, budget=20_000).fit(*iris)
    assert alone.stop_reason_ == "callback"


def test_callbacks_look_on_and_may_end_the_fit(classifier, iris):
    class Counter(Callback):
        steps = 0

        def on_generation_end(self, seen):
            self.steps += 1

    counter = Counter()
    model = classifier(callbacks=[TargetReached("loss", 0.5), counter]).fit(*iris)
    assert model.stop_reason_ == "callback"
    assert counter.steps == model.n_iter_
    assert model.loss_ <= 0.5


def test_verbose_shows_a_line(classifier, iris, capsys):
    classifier(budget=100).fit(*iris)
    assert capsys.readouterr() == ("", "")
    classifier(budget=100, verbose=True).fit(*iris)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "100%" in shown.err


def test_a_seed_repeats_a_fit_and_a_generator_does_not(classifier, iris):
    def fit(random_state):
        return classifier(budget=100, random_state=random_state).fit(*iris).predict_proba(iris[0])

    assert (fit(3) == fit(np.int64(3))).all()
    assert (fit(3) != fit(4)).any()
    generator = np.random.RandomState(0)
    first = fit(generator)
    assert (fit(generator) != first).any()
    assert (fit(np.random.RandomState(0)) == first).all()
    assert (fit(None) != fit(None)).any()


def test_global_random_numbers_and_threads_stay(classifier, iris):
    def now():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), torch.get_num_threads()  # noqa: NPY002

    before = now()
    classifier(budget=100, random_state=None, validation_fraction=0.2).fit(*iris).predict(iris[0])
    assert now() == before


def test_a_fit_that_diverges_says_so(regressor, plane):
    model = regressor(loss=lambda outputs, targets: outputs.sum() * float("nan"))
    with pytest.warns(ConvergenceWarning, match="the training has diverged: every loss of step 1 was NaN"):
        model.fit(*plane)
    assert model.stop_reason_ == "diverged"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "sness"}, "Did you mean 'snes'"),
        ({"optimizer_options": {"popsize": 3}}, "popsize: expected a known option"),
        ({"optimizer_options": {"seed": 3}}, "optimizer_options: expected an option of the optimizer, got 'seed'"),
        ({"optimizer_options": 3}, "optimizer_options: expected a mapping"),
        ({"hidden": (0,)}, "hidden"),
        ({"activation": "tahn"}, "Did you mean 'tanh'|activation"),
        ({"norm": "bacth"}, "norm"),
        ({"loss": "mse"}, "loss"),
        ({"budget": 0}, "budget.evaluations: expected a positive finite number"),
        ({"budget": True}, "budget.evaluations: expected a positive finite number"),
        ({"budget": {"evals": 3}}, "budget: expected a unit of the ledger"),
        ({"budget": "much"}, "budget: expected a Budget or a mapping"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "some"}, "batch_size"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"patience": -1}, "patience: expected a finite number greater than 0"),
        ({"random_state": "seed"}, "random_state: expected a whole number"),
        ({"device": "tpu"}, "device: expected auto, cpu or cuda"),
    ],
)
def test_options_are_checked_when_it_is_fitted(classifier, iris, options, words):
    model = classifier(**options)
    with pytest.raises(GfoptError, match=words) as caught:
        model.fit(*iris)
    assert isinstance(caught.value, ConfigError | ValueError)
    assert not hasattr(model, "module_")
