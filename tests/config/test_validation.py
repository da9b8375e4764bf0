from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gfopt.config.messages import Issue
from gfopt.config.validation import validate
from gfopt.errors import NetworkError, located


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    slope: float = 0.1
    kind: Literal["plain", "leaky"] = "plain"


def _even(value: int) -> int:
    with located("inner.1"):
        if value % 2:
            raise NetworkError("expected an even number")
    return value


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    size: int = Field(3, ge=1, le=10)
    share: float = Field(0.5, gt=0, lt=1)
    widths: tuple[int, ...] = (1, 2)
    part: str | Part = "plain"
    flag: bool = False
    needed: int = Field(examples=["7"])
    even: Annotated[int, AfterValidator(_even)] = 0

    @model_validator(mode="after")
    def _fits(self) -> Model:
        if self.size > self.needed:
            raise ValueError("size: expected at most needed")
        if self.flag:
            raise ValueError("no flag here")
        return self


def issues_of(**given: object) -> list[str]:
    issues: list[Issue] = []
    result = validate(Model, {"needed": 9, **given}, ("top",), issues)
    assert (result is None) == bool(issues)
    return [f"{issue.place}: {issue.text}" for issue in issues]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sise": 1}, "top.sise: expected a known key, got 'sise'. Did you mean 'size'?"),
        ({"size": 0}, "top.size: expected at least 1, got 0. Without this key it is 3."),
        ({"size": 11}, "top.size: expected at most 10, got 11. Without this key it is 3."),
        ({"share": 0}, "top.share: expected more than 0.0, got 0. Without this key it is 0.5."),
        ({"share": 1}, "top.share: expected less than 1.0, got 1. Without this key it is 0.5."),
        ({"size": "x"}, "top.size: expected a whole number, got 'x'. Without this key it is 3."),
        ({"size": 2.5}, "top.size: expected a whole number, got 2.5. Without this key it is 3."),
        ({"size": "2"}, "top.size: expected a whole number, got '2'. Write it without quotes."),
        ({"size": True}, "top.size: expected a whole number, got True"),
        ({"share": "0.5"}, "top.share: expected a number, got '0.5'. Write it without quotes."),
        ({"share": "half"}, "top.share: expected a number, got 'half'. Without this key it is 0.5."),
        ({"widths": [1, True]}, "top.widths[1]: expected a whole number, got True"),
        ({"widths": [1, "a"]}, "top.widths[1]: expected a whole number, got 'a'"),
        ({"widths": 3}, "top.widths: expected a list, as [1, 2], got 3"),
        ({"part": {"slope": "x"}}, "top.part.slope: expected a number, got 'x'. Without this key it is 0.1."),
        ({"part": {"slop": 1}}, "top.part.slop: expected a known key, got 'slop'. Did you mean 'slope'?"),
        (
            {"part": 3},
            "top.part: expected text or a mapping, as {key: value}, got 3. Without this key it is plain.",
        ),
        (
            {"part": {"kind": "lekay"}},
            "top.part.kind: expected one of 'plain', 'leaky', got 'lekay'. Did you mean 'leaky'?",
        ),
        ({"flag": 7}, "top.flag: expected true or false, got 7. Without this key it is False."),
        ({"even": 3}, "top.even.inner[1]: expected an even number"),
        ({"size": 10}, "top.size: expected at most needed"),
        ({"flag": True}, "top: no flag here"),
    ],
)
def test_each_mistake_is_told_in_words(given: dict[str, object], message: str) -> None:
    assert issues_of(**given) == [message]


def test_missing_key() -> None:
    issues: list[Issue] = []
    assert validate(Model, {}, (), issues) is None
    assert issues == [Issue(("needed",), "expected a value, got nothing: this key is required. Add it, for example 7.")]


def test_all_mistakes_are_told_at_once() -> None:
    told = issues_of(sise=1, share=2, widths=["a", "b"])
    assert [line.partition(": ")[0] for line in told] == [
        "top.sise",
        "top.share",
        "top.widths[0]",
        "top.widths[1]",
    ]


def test_whole_floats_are_whole_numbers() -> None:
    result = validate(Model, {"needed": 9.0, "size": 1e0, "part": {"kind": "leaky"}}, (), [])
    assert result is not None
    assert (result.needed, result.size, result.part) == (9, 1, Part(kind="leaky"))


def test_what_is_no_mapping() -> None:
    issues: list[Issue] = []
    validate(Model, [1], ("a",), issues)
    assert [issue.text for issue in issues] == ["expected a mapping, as {key: value}, got [1]"]
