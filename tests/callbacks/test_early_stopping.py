"""When a run that does not improve is ended."""

from __future__ import annotations

import math

import pytest

from gfopt.callbacks import EarlyStopping
from gfopt.errors import ConfigError
from gfopt.trace import StopReason


def ends_at(rule, steps):
    """Number of the first step at which the rule asks for the end."""
    rule.on_train_begin(2)
    for number, seen in enumerate(steps, start=1):
        if rule.on_generation_end(seen) is not None:
            return number
    return None


@pytest.mark.parametrize(("unit", "patience"), [("steps", 3), ("evaluations", 30), ("forward_equivalents", 300)])
def test_the_patience_is_a_cost(step, unit, patience):
    losses = [5.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    steps = [step(cost, loss) for cost, loss in enumerate(losses, start=1)]
    assert ends_at(EarlyStopping(patience, unit=unit), steps) == 5


def test_a_cost_that_no_logged_point_falls_on_ends_at_the_next_one(step):
    rule = EarlyStopping(2, unit="steps")
    steps = [step(cost, 1.0, logged=cost in (1, 8)) for cost in range(1, 10)]
    assert ends_at(rule, steps) == 8


def test_every_improvement_starts_the_patience_anew(step):
    steps = [step(cost, 1.0 / cost) for cost in range(1, 50)]
    assert ends_at(EarlyStopping(1, unit="steps"), steps) is None


def test_an_improvement_of_no_more_than_min_delta_is_none(step):
    steps = [step(cost, 10.0 - cost) for cost in range(1, 20)]
    assert ends_at(EarlyStopping(3, 3.0, unit="steps"), steps) == 4
    assert ends_at(EarlyStopping(3, 2.9, unit="steps"), steps) is None


def test_small_improvements_add_up_to_one(step):
    """Each is compared with the best value that counted, not with the one before."""
    steps = [step(cost, 10.0 - cost) for cost in range(1, 20)]
    assert ends_at(EarlyStopping(4, 1.5, unit="steps"), steps) is None


def test_a_score_improves_upwards_and_a_loss_downwards(step):
    rising = [step(cost, 0.0, validation_accuracy=cost / 20, validation_loss=cost / 20) for cost in range(1, 20)]
    assert ends_at(EarlyStopping(3, unit="steps", monitor="validation_accuracy"), rising) is None
    assert ends_at(EarlyStopping(3, unit="steps", monitor="validation_loss"), rising) == 4


def test_values_that_are_not_finite_are_no_improvement(step):
    steps = [step(cost, loss) for cost, loss in enumerate([math.inf, math.nan, math.inf, 1.0], start=1)]
    assert ends_at(EarlyStopping(3, unit="steps"), steps) == 3
    assert ends_at(EarlyStopping(4, unit="steps"), steps) is None


def test_a_new_run_is_judged_anew(step):
    rule = EarlyStopping(2, unit="steps")
    assert ends_at(rule, [step(cost, 1.0) for cost in (1, 2, 3)]) == 3
    assert ends_at(rule, [step(cost, 9.0) for cost in (1, 2)]) is None


def test_the_reason_says_what_was_watched(step):
    rule = EarlyStopping(2, 0.5, unit="steps", monitor="validation_accuracy")
    rule.on_generation_end(step(1, validation_accuracy=0.5))
    reason = rule.on_generation_end(step(4, validation_accuracy=0.5))
    assert reason == "validation_accuracy has not improved by more than 0.5 for 3 steps"


def test_its_state_is_all_that_it_knows(step):
    rule, other = EarlyStopping(5, unit="steps"), EarlyStopping(5, unit="steps")
    for seen in (step(1, 3.0), step(2, 2.0), step(3, 2.5)):
        rule.on_generation_end(seen)
    other.load_state_dict(rule.state_dict())
    assert other.state_dict() == rule.state_dict() == {"best": 2.0, "since": 2.0}
    assert other.on_generation_end(step(6, 2.1)) is None
    assert other.on_generation_end(step(7, 2.1)) is not None


def test_a_run_ends_by_it(train):
    run = train(EarlyStopping(64, 1e6, unit="evaluations"), evaluations=5000)
    assert run.stop_reason is StopReason.CALLBACK
    assert run.message.startswith("EarlyStopping: loss has not improved by more than 1e+06 for ")
    assert run.ledger.evaluations < 200


def test_a_resumed_run_ends_where_the_whole_one_does(broken_off):
    resumed, whole = broken_off(lambda: EarlyStopping(300, 0.02, unit="evaluations"), evaluations=20_000)
    whole = whole()
    assert whole.trace.stop_reason is StopReason.CALLBACK
    assert resumed.trace.message == whole.trace.message
    assert [r.loss for r in resumed.trace.records] == [r.loss for r in whole.trace.records]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"patience": 0}, "patience: expected a finite number greater than 0"),
        ({"patience": math.inf}, "patience: expected a finite number"),
        ({"patience": "10"}, "patience: expected a finite number"),
        ({"patience": True}, "patience: expected a finite number"),
        ({"patience": 5, "min_delta": -0.1}, "min_delta: expected a finite number of at least 0"),
        ({"patience": 5, "unit": "evaluation"}, "Did you mean 'evaluations'"),
        ({"patience": 5, "monitor": "val_loss"}, "monitor: expected loss"),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ConfigError, match=words):
        EarlyStopping(**arguments)
