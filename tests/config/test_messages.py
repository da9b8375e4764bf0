from __future__ import annotations

import pytest

from gfopt.config.messages import MAX_LINES, Issue, issue_of, place, raise_issues
from gfopt.errors import ConfigError, located


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("problems", "deep", "network", "hidden", 0), "problems.deep.network.hidden[0]"),
        (("a", 1, "b"), "a[1].b"),
        (("problems", "a b", "c"), "problems.'a b'.c"),
        (("x\ny",), r"'x\ny'"),
        (("k" * 500,), repr("k" * 60)),
    ],
)
def test_place(path: tuple[str | int, ...], text: str) -> None:
    assert place(path) == text


def test_place_of_a_value_inside_a_grid() -> None:
    path = ("problems", "deep", "network")
    assert Issue(path, "", (3, 1)).place == "problems.deep.network: grid[1]"
    assert Issue((*path, "norm"), "", (3, 1)).place == "problems.deep.network: grid[1].norm"


def test_one_issue_is_one_line_whose_place_an_outer_layer_can_extend() -> None:
    with pytest.raises(ConfigError) as caught, located("gfopt run"):
        raise_issues([Issue(("a", "b"), "expected x, got y")] * 2, lambda _: "s.yaml")
    assert str(caught.value) == "gfopt run: s.yaml: a.b: expected x, got y"


def test_several_issues_are_one_line_each_with_their_own_source() -> None:
    issues = [Issue(("a",), "first"), Issue((), "second"), Issue(("a",), "first")]
    with pytest.raises(ConfigError) as caught:
        raise_issues(issues, lambda path: "--set a" if path else "s.yaml")
    assert str(caught.value).splitlines() == ["--set a: a: first", "s.yaml: second"]


def test_a_flood_of_issues_is_cut_and_counted() -> None:
    with pytest.raises(ConfigError) as caught:
        raise_issues([Issue((str(n),), "wrong") for n in range(MAX_LINES + 5)], lambda _: "s")
    lines = str(caught.value).splitlines()
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == "... and 5 more"


def test_no_issue_raises_nothing() -> None:
    raise_issues([], lambda _: "s")


def test_issue_of_an_error_keeps_where_it_happened() -> None:
    error = ConfigError("expected x")
    error.where = ("inner",)
    assert issue_of(error, ("a",)) == Issue(("a",), "inner: expected x")
