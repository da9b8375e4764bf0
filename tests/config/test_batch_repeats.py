"""`batch_repeats`: off by default, and refused with whatever counts the seconds of single runs."""

from __future__ import annotations

import pytest

from gfopt.config import from_mapping, json_schema, load
from gfopt.errors import ConfigError

STUDY = {
    "budget": {"evaluations": 10},
    "problems": {"bowl": {"function": {"name": "sphere", "dim": 2}}},
    "optimizers": {"ga": {"kind": "deap-ga"}},
}


def study(**changes):
    return from_mapping({**STUDY, **changes})


def test_it_is_off_by_default_and_then_not_spelled_out():
    assert study().batch_repeats is False
    assert "batch_repeats" not in study().resolved()
    assert study(batch_repeats=True).resolved()["batch_repeats"] is True
    assert from_mapping(study(batch_repeats=True).resolved()).batch_repeats
    assert study(batch_repeats=True) != study()


def test_it_may_be_set_from_the_command_line(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "budget: {evaluations: 10}\nproblems: {bowl: {function: {name: sphere, dim: 2}}}\n"
        "optimizers: {ga: {kind: deap-ga}}\n"
    )
    assert load(file, ["batch_repeats=true"]).batch_repeats
    assert not load(file).batch_repeats


def test_editors_know_it():
    known = json_schema()["properties"]["batch_repeats"]
    assert (known["type"], known["default"]) == ("boolean", False)
    assert "lock step" in known["description"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_repeats": "sometimes"}, "batch_repeats: expected true or false, got 'sometimes'"),
        (
            {"batch_repeat": True},
            "batch_repeat: expected a known key, got 'batch_repeat'. Did you mean 'batch_repeats'",
        ),
        (
            {"batch_repeats": True, "budget": {"evaluations": 10, "seconds": 3}},
            "study: budget.seconds: expected a unit that each run spends by itself, got `seconds`, which repeats share "
            "under batch_repeats. Use forward_equivalents or evaluations.",
        ),
        (
            {"batch_repeats": True, "problems": {"bowl": {**STUDY["problems"]["bowl"], "budget": {"seconds": 3}}}},
            "study: problems.bowl.budget.seconds: expected a unit that each run spends by itself",
        ),
        ({"batch_repeats": True, "report": {"axis": "seconds"}}, "report.axis: expected a unit that each run spends"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(changes, message):
    with pytest.raises(ConfigError) as caught:
        study(**changes)
    assert message in str(caught.value)


def test_seconds_are_a_budget_like_any_other_without_it():
    assert study(budget={"seconds": 3}, report={"axis": "seconds"}).budget.seconds == 3


def test_seconds_that_no_problem_counts_are_no_mistake():
    own = {"bowl": {**STUDY["problems"]["bowl"], "budget": {"evaluations": 3}}}
    assert study(batch_repeats=True, budget={"seconds": 9}, problems=own).batch_repeats
