"""When a run has taken long enough."""

from __future__ import annotations

import pytest

from gfopt.callbacks import TimeLimit
from gfopt.errors import ConfigError
from gfopt.trace import StopReason


def test_it_looks_at_the_ledgers_seconds_after_every_step(step):
    rule = TimeLimit(2.0)
    assert rule.on_generation_end(step(1, seconds=1.9, logged=False)) is None
    assert rule.on_generation_end(step(2, seconds=2.25, logged=False)) == "2.25 seconds have passed, of 2"


def test_a_run_ends_by_it_at_a_logged_point(train):
    run = train(TimeLimit(1e-9))
    assert run.stop_reason is StopReason.CALLBACK
    assert run.ledger.steps == run.curve["steps"].iloc[-1] == 1


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), "1"])
def test_the_limit_is_checked(seconds):
    with pytest.raises(ConfigError, match="seconds: expected a finite number greater than 0"):
        TimeLimit(seconds)
