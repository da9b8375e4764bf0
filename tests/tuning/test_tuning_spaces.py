"""What is tuned: the declared space, the user's word on it, and what is refused."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import Field

from gfopt import registry
from gfopt.errors import ConfigError
from gfopt.optimizers.base import Options
from gfopt.optimizers.ga import GeneticAlgorithm
from gfopt.optimizers.space import Choice, Integer, Real
from gfopt.tuning.spaces import contains, default, plain, search_space


class Sample(Options):
    rate: float = Field(0.1, gt=0, le=1)
    size: int = Field(8, ge=2)
    limit: float | None = Field(None, gt=0)
    way: Literal["left", "right"] = "left"


class Tunable(GeneticAlgorithm):
    options_class = Sample
    space: ClassVar = {"rate": Real(0.01, 1.0, log=True), "size": Integer(2, 32)}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The sample under the name `sample`."""
    real = registry.optimizers.get
    monkeypatch.setattr(registry.optimizers, "get", lambda name: Tunable if name == "sample" else real(name))


def test_what_is_declared_is_tuned_but_for_what_is_fixed():
    assert search_space("sample", {}) == Tunable.space
    assert search_space("sample", {"size": 8}) == {"rate": Tunable.space["rate"]}
    assert search_space("sample", {"size": 8, "rate": 0.1}) == {}


def test_an_override_takes_the_place_of_one_option():
    overrides = {"size": {"low": 4, "high": 8, "step": 2}, "way": ["left", "right"], "limit": {"low": 1, "high": 2}}
    assert search_space("sample", {}, overrides) == {
        "rate": Tunable.space["rate"],
        "size": Integer(4, 8, step=2),
        "way": Choice(("left", "right")),
        "limit": Real(1.0, 2.0),  # whole ends of an option that takes any number
    }
    assert search_space("sample", {}, {"limit": [None, 1]})["limit"] == Choice((None, 1))


def test_plain_data_makes_the_same_space():
    space = search_space("sample", {}, {"way": ["left"], "size": {"low": 2, "high": 4, "log": True}})
    assert search_space("sample", {}, {**plain(space), "rate": plain(space)["rate"]}) == space


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sise": [2]}, "sise: expected a known option, got 'sise'. Did you mean 'size'?"),
        ({"rate": {"low": 0, "high": 1}}, "rate: low: expected a number greater than 0, got 0.0"),
        ({"rate": {"low": 0.5, "high": 2}}, "rate: high: expected a number of at most 1, got 2.0"),
        ({"rate": {"low": 0.5, "high": 0.1}}, "rate: expected a low end below the high one, got `0.5 and 0.1`"),
        ({"rate": {"low": 0.5}}, "rate: high: expected a number, got `nothing`"),
        ({"rate": {"low": 0.5, "high": True}}, "rate: high: expected a number, got True"),
        ({"rate": {"low": 0.5, "hihg": 1}}, "rate: hihg: expected a known key, got 'hihg'. Did you mean 'high'?"),
        ({"rate": {"low": 0.1, "high": 1, "step": 2}}, "rate: step: expected none for an option that takes any number"),
        ({"rate": {"low": 0.1, "high": 1, "log": 1}}, "rate: log: expected true or false, got 1"),
        ({"size": {"low": 2.5, "high": 8}}, "size: low: expected a whole number, got 2.5"),
        ({"size": {"low": 2, "high": 8, "step": 0}}, "size: step: expected 1, or more on a linear scale, got 0"),
        ({"way": {"low": 2, "high": 8}}, "way: expected a list of values: this option is no number"),
        ({"way": ["left", "rihgt"]}, "way: [1]: expected one of 'left' or 'right', got 'rihgt'"),
        ({"way": []}, "way: expected at least one value, all different, got []"),
        ({"way": ["left", "left"]}, "way: expected at least one value, all different"),
        ({"way": [["left"]]}, "way: expected text, numbers, true, false or null to choose from, got ['left']"),
        ({"way": 3}, "way: expected a range or a list, got 3"),
        (3, "expected a mapping from option to what it is chosen from, got 3"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(overrides, message):
    with pytest.raises(ConfigError) as caught:
        search_space("sample", {}, overrides)
    assert message in str(caught.value)


def test_an_option_with_a_value_and_a_range_is_refused():
    with pytest.raises(ConfigError, match="size: expected an option without a value of its own, got `size: 8`"):
        search_space("sample", {"size": 8}, {"size": {"low": 2, "high": 4}})


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (Real(0.1, 1.0), [0.1, 0.5, 1.0, 1], [0.0, 1.1, None, "a", True]),
        (Integer(2, 8, step=2), [2, 8], [3, 9, 2.0, True]),
        (Choice((1, False, None)), [1, False, None], [1.0, 0, True]),
    ],
)
def test_what_may_be_chosen(dimension, inside, outside):
    assert [value for value in [*inside, *outside] if contains(dimension, value)] == inside


def test_a_default_is_spelled_as_in_the_list():
    """An option may keep something else than what was written, as a schedule of its name."""

    class Schedule(Options):
        kind: str

    class Scheduled(Options):
        schedule: Schedule = Schedule(kind="constant")

        @classmethod
        def model_validate(cls, given, **_):  # a name stands for a schedule
            return cls(**{k: Schedule(kind=v) if isinstance(v, str) else v for k, v in given.items()})

    assert default(Scheduled, {}, "schedule", Choice(("cosine", "constant"))) == "constant"
    assert default(Scheduled, {}, "schedule", Choice(("cosine",))) == {"kind": "constant"}
    assert default(Sample, {"rate": 0.3}, "rate", Real(0.1, 1.0)) == 0.3


def test_every_declared_space_has_valid_ends():
    """Of every optimizer whose libraries are installed: each end, and each value of a list, by itself."""
    from gfopt.optimizers import names, optimizer_class

    for kind in names(usable=True):
        space = optimizer_class(kind).space
        assert search_space(kind, {}, dict(space)) == dict(space)
