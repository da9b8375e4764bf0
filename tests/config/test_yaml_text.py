from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.config.yaml_text import MAX_NODES, dump, parse
from gfopt.errors import ConfigError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("1.0e6", 1e6),
        ("1E+6", 1e6),
        ("-2.5e-3", -2.5e-3),
        (".5", 0.5),
        ("1_000_000", 1_000_000),
        ("0x1F", 31),
        ("007", 7),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("none", "none"),
        ("2024-01-01", "2024-01-01"),
        ("'1e6'", "1e6"),
        ("1.2.3", "1.2.3"),
        ("-", [None]),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    parsed = parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@settings(deadline=None, max_examples=50)
@given(PLAIN)
def test_dump_and_parse_gives_the_same_back(value: object) -> None:
    assert parse(dump(value)) == value


@settings(deadline=None, max_examples=50)
@given(st.text() | st.text("{}[]&*!|>:,-?'\"#%@ \n\tab1e.<"))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    # Any other error than the one that a user is shown lets the test fail.
    with contextlib.suppress(ConfigError):
        parse(text)


def test_dump_keeps_the_order_and_quotes_what_would_be_read_as_a_number() -> None:
    shared = [1]
    assert dump({"b": shared, "a": shared, "c": "1e6"}) == "b:\n- 1\na:\n- 1\nc: '1e6'\n"


def test_aliases_and_merges_are_read() -> None:
    text = "base: &b {kind: mlp, hidden: [8]}\nwide: {<<: *b, hidden: [64]}\nsame: *b"
    assert parse(text) == {
        "base": {"kind": "mlp", "hidden": [8]},
        "wide": {"kind": "mlp", "hidden": [64]},
        "same": {"kind": "mlp", "hidden": [8]},
    }


def test_a_merged_mapping_with_a_merge_of_its_own_is_no_duplicate() -> None:
    text = "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}"
    assert parse(text) == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3", ("line 3, column 1", "'a' stands twice")),
        ("a: {x: 1, x: 2}", ("line 1, column 11", "'x' stands twice")),
        ("a: [1", ("line 1, column 6", "expected ',' or ']'")),
        ("\ta: 1", ("line 1, column 1", "\\t")),
        ("a: b: c", ("line 1, column 5",)),
        ("!!python/object/apply:os.getcwd []", ("line 1, column 1", "python/object")),
        ("a: !own x", ("line 1, column 4", "!own")),
        ("a: !!timestamp 2020-01-01", ("timestamp",)),
        ("a: !!bool x", ("line 1, column 4", "'x' is not a bool")),
        ("a: !!int x", ("'x' is not a int",)),
        ("a: !!float x", ("'x' is not a float",)),
        ("a: &x [*x]", (f"at most {MAX_NODES} values",)),
        ("a: 1\n--- \nb: 2", ("line 2, column 1", "document")),
        ("? [a]\n: b", ("unhashable",)),
        ("a: \x00", (r"'\x00'",)),
        ("[\n" * 2000, ("levels of nesting",)),
        ("a: " + "9" * 5000, ("4300 digits",)),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "expected" in str(caught.value)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_few_aliases_cannot_make_millions_of_values() -> None:
    lines = ["l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for level in range(1, 9):
        lines.append(f"l{level}: &l{level} [" + ", ".join([f"*l{level - 1}"] * 10) + "]")
    with pytest.raises(ConfigError, match=r"Use fewer aliases\.$"):
        parse("\n".join(lines))


def test_parsing_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    with pytest.raises(ConfigError):
        parse("!!python/object/apply:os.system ['echo hello']")
    assert ran == []
