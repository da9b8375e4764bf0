"""When a run is good enough."""

from __future__ import annotations

import pytest

from gfopt.callbacks import TargetReached
from gfopt.errors import ConfigError
from gfopt.trace import StopReason


def test_a_loss_is_reached_from_above_and_a_score_from_below(step):
    assert TargetReached("loss", 0.5).on_generation_end(step(1, 0.6)) is None
    assert TargetReached("loss", 0.5).on_generation_end(step(1, 0.5)) == "loss has reached 0.5"
    rule = TargetReached("validation_accuracy", 0.9)
    assert rule.on_generation_end(step(1, validation_accuracy=0.8)) is None
    assert rule.on_generation_end(step(1, validation_accuracy=0.9)) is not None


def test_between_logged_points_nothing_is_known(step):
    assert TargetReached("loss", 0.5).on_generation_end(step(1, 0.1, logged=False)) is None


def test_a_value_that_is_not_a_number_reaches_nothing(step):
    assert TargetReached("loss", 0.5).on_generation_end(step(1, float("nan"))) is None


def test_a_run_ends_by_it_with_the_score_that_was_asked_for(train):
    run = train(TargetReached("validation_accuracy", 0.8), evaluations=20_000)
    assert run.stop_reason is StopReason.CALLBACK
    assert run.scores["validation_accuracy"] >= 0.8
    assert (run.curve["validation_accuracy"].iloc[:-1] < 0.8).all()


@pytest.mark.parametrize("value", [float("nan"), None, "high", False])
def test_the_value_is_checked(value):
    with pytest.raises(ConfigError, match="value: expected a finite number"):
        TargetReached("loss", value)
