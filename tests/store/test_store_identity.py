"""What is the same study, and what is another."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gfopt.store.identity import difference


def changed(study: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The description with `value` at the dotted path; `None` removes it."""
    result = copy.deepcopy(study)
    *parents, last = path.split(".")
    place = result
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return result


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("repeats", 5),
        ("report", {"targets": "auto"}),
        ("problems.wide", None),
        ("problems.more", {"dim": 4}),
        ("optimizers.ga", {"kind": "deap-ga"}),
        ("seed", 0.0),
    ],
)
def test_same_study(study: dict[str, Any], path: str, value: Any) -> None:
    assert difference(study, changed(study, path, value)) is None


@pytest.mark.parametrize(
    ("path", "value", "place", "found"),
    [
        ("name", "slow", "name", "quick"),
        ("seed", 1, "seed", 0),
        ("seed", False, "seed", 0),
        ("budget", {"evaluations": 2.0}, "budget.evaluations", 1e6),
        ("threads", 2, "threads", 1),
        ("dtype", "float64", "dtype", "float32"),
        ("device", "cuda", "device", "cpu"),
        ("problems.deep.network.norm", "layer", "problems.deep.network.norm", "batch"),
        ("problems.deep.network.hidden", [16, 8], "problems.deep.network.hidden[1]", 16),
        ("problems.deep.network.hidden", [16], "problems.deep.network.hidden", [16, 16]),
        ("optimizers.adam.learning_rate", 0.1, "optimizers.adam.learning_rate", 0.01),
    ],
)
def test_another_study(study: dict[str, Any], path: str, value: Any, place: str, found: Any) -> None:
    other = difference(study, changed(study, path, value))
    assert other is not None
    assert (other.path, other.found) == (place, found)


def test_lost_and_new_entries_of_a_definition_differ(study: dict[str, Any]) -> None:
    less = changed(study, "optimizers.adam.learning_rate", None)
    for a, b, texts in ((study, less, ("0.01", "nothing")), (less, study, ("nothing", "0.01"))):
        other = difference(a, b)
        assert other is not None
        assert other.path == "optimizers.adam.learning_rate"
        assert (repr(other.found), repr(other.asked)) == texts


def test_nan_is_the_same_as_nan(study: dict[str, Any]) -> None:
    odd = changed(study, "problems.wide.dim", float("nan"))
    assert difference(odd, copy.deepcopy(odd)) is None
