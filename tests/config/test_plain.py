from __future__ import annotations

import copy as stdlib_copy
import math
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.config import plain
from gfopt.config.plain import MAX_DEPTH, PlainData, canonical, copy

DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def read(value: object, *, live: bool = False) -> tuple[object, list[str]]:
    reader = PlainData(live=live)
    result = reader.of(value)
    return result, [f"{issue.place}: {issue.text}" for issue in reader.issues]


@settings(deadline=None, max_examples=50)
@given(DATA)
def test_plain_data_stays_equal_and_is_not_shared(value: object) -> None:
    before = stdlib_copy.deepcopy(value)
    result, issues = read({"a": value})
    assert result == {"a": before}
    assert issues == []
    if isinstance(value, list):
        value.append("changed")
        assert result == {"a": before}


def test_numbers_of_numpy_paths_tuples_and_mappings_become_plain() -> None:
    given = MappingProxyType(
        {"i": np.int64(3), "f": np.float32(0.5), "p": Path("a") / "b.csv", "t": (1, (2,)), "b": True}
    )
    result, issues = read(given)
    assert result == {"i": 3, "f": 0.5, "p": str(Path("a") / "b.csv"), "t": [1, [2]], "b": True}
    assert {key: type(value) for key, value in result.items()} == {
        "i": int, "f": float, "p": str, "t": list, "b": bool
    }  # fmt: skip
    assert issues == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {1: 2}}, "a: expected text as a key, got 1. Put it into quotes."),
        ({"a": [math.nan]}, "a[0]: expected a finite number, got nan"),
        ({"a": -math.inf}, "a: expected a finite number, got -inf"),
        ({"a": 2**64}, "a: expected a whole number of at most 64 bits, got one of 65 bits"),
        (
            {"a": {1, 2}},
            "a: expected text, a number, true, false, null, a list or a mapping, got {1, 2}. Python",
        ),
        ({"a": b"x"}, "a: expected text, a number, true, false, null, a list or a mapping, got b'x'. Python"),
    ],
)
def test_what_is_not_plain_is_named(value: object, message: str) -> None:
    _, (issue,) = read(value)
    assert issue.startswith(message)


def test_a_structure_inside_itself_and_one_that_shares_its_parts_end(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: dict[str, object] = {}
    inside["again"] = inside
    assert f"at most {MAX_DEPTH} levels" in read(inside)[1][0]
    monkeypatch.setattr(plain, "MAX_VALUES", 1000)
    shared: list[object] = [1]
    for _ in range(MAX_DEPTH - 2):
        shared = [shared] * 10
    assert read(shared)[1] == [f": expected at most 1000 values, got more. {plain._LONG}"]
    assert read([0] * 999)[1] == []


def test_objects_pass_untouched_where_a_problem_may_hold_them() -> None:
    model = object()
    study = {"problems": {"mine": {"network": {"grid": [model, 1]}, "sample_weight": model}}}
    result, issues = read(study, live=True)
    assert issues == []
    assert result["problems"]["mine"]["network"]["grid"][0] is model
    assert result["problems"]["mine"]["sample_weight"] is model
    assert len(read(study)[1]) == 2
    elsewhere = {
        "optimizers": {"ga": {"kind": model}},
        "problems": {"mine": {"batch_size": model}, "x": model},
    }
    assert len(read(elsewhere, live=True)[1]) == 3


@settings(deadline=None, max_examples=50)
@given(DATA, DATA)
def test_canonical_text_tells_apart_what_differs(first: object, second: object) -> None:
    # 1 and 1.0 mean the same in a study; true and 1 do not.
    def typed(value: object) -> object:
        if isinstance(value, bool):
            return ("bool", value)
        if isinstance(value, list):
            return [typed(item) for item in value]
        return {key: typed(item) for key, item in value.items()} if isinstance(value, dict) else value

    assert (canonical(first) == canonical(second)) == (typed(first) == typed(second))


def test_canonical_text_ignores_the_order_of_keys_and_knows_objects() -> None:
    model, other = object(), object()
    assert canonical({"a": 1, "b": [True]}) == canonical({"b": [True], "a": 1.0})
    assert canonical([model]) == canonical([model])
    assert canonical([model]) != canonical([other])
    assert canonical(True) != canonical(1)
    assert canonical("1") != canonical(1)


def test_copy_shares_objects_but_no_container() -> None:
    model = object()
    first = {"a": [{"m": model}]}
    second = copy(first)
    second["a"][0]["m2"] = 1
    assert first == {"a": [{"m": model}]}
    assert second["a"][0]["m"] is model
