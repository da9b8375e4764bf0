"""What a rule can watch, and in which direction it is better."""

from __future__ import annotations

import pytest

from gfopt.callbacks._monitor import Monitor
from gfopt.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "rises"),
    [
        ("loss", False),
        ("validation_loss", False),
        ("test_rmse", False),
        ("validation_accuracy", True),
        ("validation_balanced_accuracy", True),
        ("test_r2", True),
    ],
)
def test_the_direction_of_each_value_is_known(name, rises):
    assert Monitor(name).rises is rises


def test_the_directions_are_known_of_every_metric_that_runs_have(flowers):
    for name in flowers.score(flowers.initial(1, 0)[0], "validation"):
        Monitor(f"validation_{name}")


def test_it_reads_the_loss_and_the_scores(step):
    seen = step(1, 0.5, validation_accuracy=0.75)
    assert Monitor("loss").value(seen) == 0.5
    assert Monitor("validation_accuracy").value(seen) == 0.75


@pytest.mark.parametrize("name", ["validation_acuracy", "accuracy", "", None, 3])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ConfigError, match="monitor: expected loss, or a split and a metric"):
        Monitor(name)


def test_a_near_miss_is_named():
    with pytest.raises(ConfigError, match="Did you mean 'validation_accuracy'"):
        Monitor("validation_acuracy")


def test_a_score_that_the_run_has_not_is_named_with_those_that_it_has(step):
    with pytest.raises(ConfigError, match="this run has: loss, test_r2, got 'validation_r2'"):
        Monitor("validation_r2").value(step(1, test_r2=0.1))
    with pytest.raises(ConfigError, match="rows to validate on"):
        Monitor("validation_r2").value(step(1))
