"""One rule of early stopping for all runs of a study, or none."""

from __future__ import annotations

import pytest

import gfopt
from gfopt.errors import ConfigError, GfoptError

RULE = {"patience": 300, "min_delta": 0.5, "unit": "evaluations"}


def study(rule=None, **settings):
    given = {} if rule is None else {"early_stopping": rule}
    network = {"kind": "mlp", "hidden": [4], "activation": "tanh"}
    return gfopt.Study(
        problems={"iris": {"dataset": {"name": "iris", "validation_fraction": 0.2}, "network": network}},
        optimizers={"adam": {"kind": "adam"}, "ga": {"kind": "ga", "population": 16}},
        budget={"evaluations": 4000},
        repeats=2,
        **given,
        **settings,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return study(RULE).run(tmp_path_factory.mktemp("early") / "r", workers=2).runs


def test_every_run_ends_by_the_same_rule_and_says_so(runs):
    assert set(runs["status"]) == {"ok"}
    assert set(runs["stop_reason"]) == {"callback"}
    assert runs["message"].str.startswith("EarlyStopping: loss has not improved by more than 0.5").all()
    assert (runs["evaluations"] >= 300).all()
    assert (runs["evaluations"] < 4000).all()


@pytest.mark.slow
def test_repeats_in_lock_step_keep_the_rule(runs, tmp_path):
    together = study(RULE, batch_repeats=True).run(tmp_path / "b", workers=2).runs
    key = ["optimizer", "repeat"]
    first, second = (frame.set_index(key).sort_index()["evaluations"] for frame in (runs, together))
    assert first.to_dict() == second.to_dict()


def test_the_rule_is_part_of_what_a_run_is():
    keys = [{spec.key for spec in study(rule).prepare()} for rule in (None, RULE, {**RULE, "patience": 400})]
    assert len(set.union(*keys)) == sum(map(len, keys)) == 12


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "early_stopping.patience: expected a value, got nothing"),
        ({"patience": 0}, "early_stopping.patience: expected"),
        ({"patience": 1, "unit": "evaluation"}, "Did you mean 'evaluations'?"),
        ({"patience": 1, "patients": 2}, "expected a known key, got 'patients'. Did you mean 'patience'?"),
    ],
)
def test_a_wrong_rule_is_refused(rule, message):
    with pytest.raises(ConfigError) as caught:
        study(rule)
    assert message in str(caught.value)


@pytest.mark.parametrize("monitor", ["test_accuracy", "validation_acuracy", "speed"])
def test_what_is_watched_has_to_be_there_and_is_never_test_data(monitor):
    with pytest.raises(GfoptError, match=r"monitor: expected one of loss, validation_loss"):
        study({"patience": 10, "monitor": monitor}).prepare()


def test_seconds_are_no_unit_where_repeats_share_them():
    with pytest.raises(ConfigError, match=r"early_stopping\.unit"):
        study({"patience": 1, "unit": "seconds"}, batch_repeats=True)
