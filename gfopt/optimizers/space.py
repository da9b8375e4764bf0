"""What tuning may choose from: a range or a list for each option, declared by an optimizer beside its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gfopt.errors import ConfigError, expectation


@dataclass(frozen=True)
class Real:
    """A number between `low` and `high`, both admissible.

    Attributes:
        low, high: the ends.
        log: whether equal ratios count as equal steps, as for learning rates.

    Raises:
        ConfigError: if the range is empty, or reaches 0 or below on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check(self.low, self.high, self.log)


@dataclass(frozen=True)
class Integer:
    """A whole number between `low` and `high`, both admissible.

    Attributes:
        low, high: the ends.
        log: whether equal ratios count as equal steps, as for sizes of a population.
        step: distance of neighbouring values from `low` on, as 2 for even numbers; 1 on a logarithmic scale.

    Raises:
        ConfigError: if the range is empty, or cannot be logarithmic.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        _check(self.low, self.high, self.log)
        if self.step < 1 or (self.log and self.step != 1):
            raise ConfigError("step: " + expectation("1, or more on a linear scale", self.step))


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        values: at least one, all different.

    Raises:
        ConfigError: if there is none, or one of them twice.
    """

    values: tuple[str | int | float | bool | None, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ConfigError(expectation("at least one value, all different", list(self.values)))


Dimension: TypeAlias = Real | Integer | Choice
Space: TypeAlias = Mapping[str, Dimension]


def _check(low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ConfigError(expectation("a low end below the high one", f"`{low} and {high}`"))
    if log and low <= 0:
        raise ConfigError("low: " + expectation("more than 0 on a logarithmic scale", low))
