"""Values survive JSON and YAML exactly, and nothing else than plain values gets in or out."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.errors import StoreError
from gfopt.store.plain import from_json, from_yaml, plain, to_json, to_yaml

names = st.one_of(st.text(max_size=5), st.sampled_from(["$float", "$$float", "$$$float", "$other", "nan"]))
texts = st.one_of(st.text(max_size=8), st.sampled_from(["nan", "1e3", "yes", "~", "2020-01-01", "a\x85b"]))
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equality that tells types apart and takes NaN for itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@settings(max_examples=60, deadline=None)
@given(values)
def test_json_round_trip_without_nan_tokens(value: Any) -> None:
    text = to_json(value)

    def refuse(token: str) -> None:
        raise AssertionError(token)

    json.loads(text, parse_constant=refuse)
    assert same(from_json(text), value)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True), values))
def test_yaml_round_trip(value: dict[str, Any]) -> None:
    try:
        text = to_yaml(value)
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate; `write_text` refuses it
        return
    assert same(from_yaml(text), value)


class Colour(StrEnum):
    RED = "red"


def test_plain_unwraps_numpy_enums_and_tuples() -> None:
    value = plain({"a": (np.int64(3), np.float32(0.5)), "b": np.bool_(True), "c": Colour.RED, Colour.RED: np.str_("x")})
    assert same(value, {"a": [3, 0.5], "b": True, "c": "red", "red": "x"})


def test_plain_copies() -> None:
    inner = [1]
    copy = plain({"a": inner, "b": inner})
    inner.append(2)
    assert copy == {"a": [1], "b": [1]}
    assert "&" not in to_yaml({"a": inner, "b": inner})  # no anchors


@pytest.mark.parametrize("value", [{1: 2}, {"a": {"b": [object()]}}, {"a": np.zeros(2)}, {"a": 1j}, {"a": {1, 2}}])
def test_plain_refuses_the_rest(value: Any) -> None:
    with pytest.raises(StoreError, match="expected"):
        to_json(value)


def test_plain_names_the_place() -> None:
    with pytest.raises(StoreError, match=r"^a\.b\[1\]: expected a plain value"):
        plain({"a": {"b": [0, object()]}})


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"$float": "1"}', '{"$float": "nan", "x": 1}', "{", "", "[" * 100_000]
)
def test_json_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.getcwd []",
        "!!python/name:os.getcwd",
        "a: &x [1]\nb: *x",
        "a: [",
        "[" * 1000,
        "!x 1",
    ],
)
def test_yaml_refuses_objects_and_aliases(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        from_yaml(text)


def test_nonfinite_floats_are_readable_by_others() -> None:
    assert json.loads(to_json({"loss": math.inf})) == {"loss": {"$float": "inf"}}
