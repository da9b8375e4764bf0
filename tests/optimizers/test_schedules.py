"""Schedules against torch's own, each row of plateau against torch's on that row alone, and their messages."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from gfopt import optimizers
from gfopt.config import json_schema
from gfopt.config.messages import Issue
from gfopt.config.validation import validate
from gfopt.errors import ConfigError
from gfopt.optimizers.schedules import SCHEDULES, PlateauOptions, PlateauTracker, parse_schedule

lr_scheduler = torch.optim.lr_scheduler


def _torch_rates(make: Any, steps: int) -> list[float]:
    """Learning rates that a scheduler of torch gives to a rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < steps:
            scheduler.step()
    return rates


@pytest.mark.parametrize(("spec", "make", "steps", "last"), [
    ({"kind": "cosine", "final": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.1), 21, 20),
    ({"kind": "cosine", "cycles": 4}, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5), 20, 20),
    ({"kind": "step", "every": 0.3, "factor": 0.5}, lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5), 11, 10),
    ({"kind": "step", "every": 0.1, "factor": 0.5}, lambda o: lr_scheduler.StepLR(o, 1, gamma=0.5), 11, 10),
    # Torch counts the peak's place from one end to the other: (4/11 of 11) - 1 = 3 of 10 intervals.
    ({"kind": "one-cycle", "peak_at": 0.3, "start": 0.04, "final": 1e-4},
     lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=11, pct_start=4 / 11, div_factor=25, final_div_factor=400,
                                       cycle_momentum=False), 11, 10),
])  # fmt: skip
def test_factors_are_those_of_torch(spec: dict[str, Any], make: Any, steps: int, last: int) -> None:
    schedule = parse_schedule(spec)
    factors = [schedule.at(step / last) for step in range(steps)]
    np.testing.assert_allclose(factors, _torch_rates(make, steps), atol=1e-12)


def test_one_cycle_ends_at_its_last_factor() -> None:
    assert parse_schedule("one-cycle").at(1.0) == pytest.approx(1e-4)
    assert parse_schedule("one-cycle").at(0.3) == 1.0


@pytest.mark.parametrize("kind", ["constant", "cosine"])
def test_a_warm_up_rises_in_a_straight_line_and_joins_what_follows(kind: str) -> None:
    schedule = parse_schedule({"kind": kind, "warmup": 0.2, "start": 0.5})
    assert [schedule.at(spent) for spent in (0.0, 0.1, 0.2)] == pytest.approx([0.5, 0.75, 1.0])
    assert schedule.at(0.6) == pytest.approx({"constant": 1.0, "cosine": 0.5}[kind])


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_name_is_the_mapping_with_its_defaults_and_comes_back_from_plain_data(kind: str) -> None:
    schedule = parse_schedule(kind)
    assert schedule == parse_schedule({"kind": kind}) == parse_schedule(schedule.model_dump(mode="json"))
    assert all(0 <= schedule.at(spent) <= 1 for spent in np.linspace(0, 1, 101))


@pytest.mark.parametrize("options", [
    {"patience": 0}, {"patience": 2, "cooldown": 3}, {"patience": 1, "min_delta": 0.05, "final": 0.2},
])  # fmt: skip
def test_each_row_of_plateau_is_torchs_on_that_row_alone(options: dict[str, Any]) -> None:
    plateau = PlateauOptions(kind="plateau", smoothing=0.0, **options)
    losses = torch.from_numpy(np.random.default_rng(0).random((60, 4))).cumsum(0).sin()
    tracker = PlateauTracker(plateau, 4, torch.device("cpu"))
    references, apart = [], False
    for _ in range(4):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        references.append((optimizer, lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=plateau.factor, patience=plateau.patience, threshold=plateau.min_delta,
            threshold_mode="abs", cooldown=plateau.cooldown, min_lr=plateau.final, eps=0.0,
        )))  # fmt: skip
    for loss in losses:
        tracker.update(loss)
        for (_, scheduler), value in zip(references, loss.tolist(), strict=True):
            scheduler.step(value)
        assert tracker.factor.tolist() == [o.param_groups[0]["lr"] for o, _ in references]
        apart = apart or len(set(tracker.factor.tolist())) > 1
    assert apart


def test_plateau_compares_unbiased_averages_and_counts_failed_steps_as_bad() -> None:
    plateau = PlateauOptions(kind="plateau", smoothing=0.5, patience=1, factor=0.5)
    tracker = PlateauTracker(plateau, 2, torch.device("cpu"))
    # The average of row 0, by hand: (0.25 * 4 + 0.5 * 1) / 0.75 = 2.
    for loss in ([4.0, torch.inf], [1.0, torch.inf]):
        tracker.update(torch.tensor(loss))
    state = tracker.state_dict()
    assert (state["average"] / np.maximum(state["weight"], 1e-9)).tolist() == [2.0, 0.0]
    assert tracker.factor.tolist() == [1.0, 0.5]  # two failed steps are one more than the patience
    assert state["lowest"].tolist() == [2.0, np.inf]


def test_rows_that_made_no_step_are_left_alone() -> None:
    tracker = PlateauTracker(PlateauOptions(kind="plateau", patience=0), 2, torch.device("cpu"))
    for _ in range(3):
        tracker.update(torch.ones(2), torch.tensor([True, False]))
    assert tracker.factor.tolist() == [0.25, 1.0]


WRONG = [
    ("cosin", "expected a known schedule, got 'cosin'. Did you mean 'cosine'?"),
    ({"kind": "one_cycle"}, "expected a known schedule, got 'one_cycle'. Did you mean 'one-cycle'?"),
    (3, "expected the name of a schedule, or a mapping with a `kind`, got 3"),
    ({"every": 0.1}, "expected the name of a schedule, or a mapping with a `kind`, got {'every': 0.1}"),
    ({"kind": "step", "evry": 0.1}, "evry: expected a known option, got 'evry'. Did you mean 'every'?"),
    ({"kind": "step", "every": 2}, "every: expected a number of at most 1, got 2. The default is 0.3."),
    ({"kind": "plateau", "patience": 1.5}, "patience: expected a whole number, got 1.5. The default is 10."),
]


@pytest.mark.parametrize(("spec", "message"), WRONG)
def test_messages_name_the_nearest(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("schedule: " + message)):
        optimizers.options_of("adam", {"schedule": spec})
    issues: list[Issue] = []
    assert validate(optimizers.optimizer_class("adam").options_class, {"schedule": spec}, ("x",), issues) is None
    assert [issue.path[:2] for issue in issues] == [("x", "schedule")]
    assert message.split(": ")[-1] in issues[0].text


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """The schema of study files."""
    return json_schema()


@pytest.mark.parametrize(("schedule", "fits"), [
    ("cosine", True), ("cosin", False), ({"kind": "plateau", "patience": 3}, True), ({"every": 0.1}, False),
    ({"kind": "step", "evry": 1}, False), ({"kind": "step", "every": {"grid": [0.1]}}, True),
    ({"grid": ["constant", "cosine"]}, True),
])  # fmt: skip
def test_the_json_schema_knows_every_spelling(schedule: Any, fits: bool, whole: dict[str, Any]) -> None:
    adam = {"$ref": "#/$defs/optimizer.adam", "$defs": whole["$defs"]}
    valid = jsonschema.Draft202012Validator(adam).is_valid({"kind": "adam", "schedule": schedule})
    assert valid is fits
