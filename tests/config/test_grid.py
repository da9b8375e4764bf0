from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.config import grid
from gfopt.config.messages import Issue

LEAF = st.integers(0, 5) | st.text("ab", max_size=2)
GRID = st.lists(LEAF, min_size=1, max_size=3, unique_by=repr).map(lambda values: {"grid": values})
ENTRY = st.dictionaries(
    st.text("xyz", min_size=1, max_size=3),
    LEAF | GRID | st.lists(LEAF | GRID, max_size=2) | st.dictionaries(st.text("uv"), LEAF | GRID, max_size=2),
    max_size=3,
)


def expand_by_hand(value: Any) -> list[Any]:
    """Independent of the package: the values without grids that `value` stands for, the last grid fastest."""
    if isinstance(value, dict) and "grid" in value:
        return list(value["grid"])
    if isinstance(value, dict):
        return [
            dict(zip(value, parts, strict=True)) for parts in itertools.product(*map(expand_by_hand, value.values()))
        ]
    if isinstance(value, list):
        return [list(parts) for parts in itertools.product(*map(expand_by_hand, value))]
    return [value]


@settings(deadline=None, max_examples=50)
@given(ENTRY)
def test_cells_are_the_product_of_the_grids_in_order(entry: dict[str, Any]) -> None:
    before = copy.deepcopy(entry)
    issues: list[Issue] = []
    grids = grid.find(entry, (), issues)
    found = list(grid.cells(entry, grids))
    assert issues == []
    assert [cell for _, cell in found] == expand_by_hand(entry)
    assert len(found) == grid.count(grids)
    assert entry == before


def test_choices_say_where_the_values_stand() -> None:
    entry = {"network": {"norm": {"grid": ["none", "batch"]}, "hidden": [{"grid": [8, 16]}, 4]}}
    choices = [choices for choices, _ in grid.cells(entry, grid.find(entry, (), []))]
    assert [grid.label(one) for one in choices] == [
        {"network.norm": "none", "network.hidden[0]": 8},
        {"network.norm": "none", "network.hidden[0]": 16},
        {"network.norm": "batch", "network.hidden[0]": 8},
        {"network.norm": "batch", "network.hidden[0]": 16},
    ]
    issue = grid.relocated(("network", "norm"), ("problems", "deep"), choices[2], "wrong")
    assert issue.place == "problems.deep.network.norm: grid[1]"
    issue = grid.relocated(("network", "hidden", 1), ("problems", "deep"), choices[2], "wrong")
    assert issue.place == "problems.deep.network.hidden[1]"


def test_an_issue_inside_a_value_of_a_grid() -> None:
    entry = {"network": {"grid": [{"kind": "mlp"}, {"kind": "mpl"}]}}
    (_, (choices, _)) = grid.cells(entry, grid.find(entry, (), []))
    assert grid.relocated(("network", "kind"), ("p",), choices, "").place == "p.network: grid[1].kind"


def test_cells_share_nothing() -> None:
    entry = {"a": {"grid": [[1], [2]]}, "b": [0]}
    cells = [cell for _, cell in grid.cells(entry, grid.find(entry, (), []))]
    cells[0]["a"].append(9)
    cells[0]["b"].append(9)
    assert cells[1] == {"a": [2], "b": [0]}
    assert entry == {"a": {"grid": [[1], [2]]}, "b": [0]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"grid": []},
            "expected at least one value to try, got `an empty grid`. Write {grid: [first, second]} or",
        ),
        ({"grid": "tanh"}, "expected a list of values to try, got 'tanh'. Write {grid: [tanh]}."),
        ({"grid": None}, "expected a list of values to try, got None"),
        ({"grid": [1, 2, 1]}, "expected values that differ, got `1` at positions 0 and 2. Remove one."),
        ({"grid": [1, 1.0]}, "expected values that differ, got `1.0` at positions 0 and 1. Remove one."),
        ({"grid": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, "expected values that differ, got"),
        ({"grid": [1], "kind": "x"}, "expected `grid` alone in its mapping, got `grid` beside kind."),
        ({"grid": [{"a": {"grid": [1]}}]}, "expected plain values, got a grid inside a grid."),
    ],
)
def test_a_broken_grid_is_named(value: object, message: str) -> None:
    issues: list[Issue] = []
    assert grid.find({"a": {"b": value}}, ("problems", "p"), issues) == []
    assert [issue.place for issue in issues] == ["problems.p.a.b"]
    assert issues[0].text.startswith(message)


def test_true_and_one_differ() -> None:
    issues: list[Issue] = []
    (found,) = grid.find({"a": {"grid": [True, 1, "1"]}}, (), issues)
    assert found.values == (True, 1, "1")
    assert issues == []


def test_a_grid_of_whole_entries_is_refused() -> None:
    issues: list[Issue] = []
    grid.find({"grid": [{"kind": "adam"}]}, ("optimizers", "a"), issues)
    assert [issue.place for issue in issues] == ["optimizers.a"]
    assert "Give each a name of its own" in issues[0].text


def test_grids_outside_the_entries_are_found_and_those_inside_left_alone() -> None:
    study = {
        "seed": {"grid": [1, 2]},
        "budget": {"evaluations": {"grid": [1]}},
        "problems": {"a": {"x": {"grid": [1]}}},
        "optimizers": {"grid": [1]},
    }
    assert [issue.place for issue in grid.misplaced(study)] == ["seed", "budget.evaluations", "optimizers"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01, "0.01"),
        ("batch", "batch"),
        ([64, [1, 2]], "[64,[1,2]]"),
        ({"kind": "mlp", "hidden": [3]}, "{kind:mlp,hidden:[3]}"),
        (None, "null"),
        (True, "true"),
        (len, "len"),
    ],
)
def test_values_in_names(value: object, text: str) -> None:
    assert grid.show(value) == text
