"""What a tuning chooses from: the optimizer's declared space, with what the user says about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel

from gfopt.errors import ConfigError, GfoptError, expectation, located, suggestion
from gfopt.optimizers import optimizer_class
from gfopt.optimizers.space import Choice, Dimension, Integer, Real
from gfopt.options import parse

Plain: TypeAlias = str | int | float | bool | None
Given: TypeAlias = Mapping[str, Any]

_KEYS = ("low", "high", "log", "step")
_EXAMPLE = "For example {low: 0.001, high: 0.1, log: true}, or a list of values."


def search_space(kind: str, fixed: Given, overrides: Given | None = None) -> dict[str, Dimension]:
    """The options of an optimizer that a tuning chooses, each with what it is chosen from.

    An option that is fixed is not tuned. An override takes the place of what the optimizer declares for that option,
    or adds an option; the others stay as declared.

    Args:
        kind: the optimizer's name.
        fixed: options whose values are given.
        overrides: option to `{low, high, log, step}`, a list of values, or a `Dimension`.

    Raises:
        ConfigError: for an unknown or fixed option, or a range or value that is no valid option.
    """
    algorithm = optimizer_class(kind)
    space = {name: dimension for name, dimension in algorithm.space.items() if name not in fixed}
    if not isinstance(overrides, Mapping | None):
        raise ConfigError(expectation("a mapping from option to what it is chosen from", overrides, _EXAMPLE))
    for name, given in (overrides or {}).items():
        with located(str(name)):
            _check_name(name, algorithm.options_class, fixed)
            space[name] = _dimension(given, algorithm.options_class, name)
            _check_values(space[name], algorithm.options_class, name, fixed)
    return space


def plain(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """The space as plain data: `{low, high, log, step}` or a list for each option, as `search_space` reads it."""
    return {name: _plain(dimension) for name, dimension in space.items()}


def contains(dimension: Dimension, value: object) -> bool:
    """Whether a value may be chosen."""
    if isinstance(dimension, Choice):
        return any(value == one and type(value) is type(one) for one in dimension.values)
    if isinstance(value, bool) or not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    if isinstance(dimension, Real):
        return True
    return isinstance(value, int) and (value - dimension.low) % dimension.step == 0


def default(options_class: type[BaseModel], fixed: Given, name: str, dimension: Dimension) -> Any:
    """An option's value where it is not given, as plain data: where it is one of several, as it is spelled there."""
    value = getattr(options_class.model_validate({**fixed}), name)
    if isinstance(dimension, Choice):
        for one in dimension.values:
            if getattr(options_class.model_validate({**fixed, name: one}), name) == value:
                return one
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _plain(dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return list(dimension.values)
    ends: dict[str, Any] = {"low": dimension.low, "high": dimension.high, "log": dimension.log}
    return ends | ({"step": dimension.step} if isinstance(dimension, Integer) else {})


def _check_name(name: object, options_class: type[BaseModel], fixed: Given) -> None:
    if name not in options_class.model_fields:
        raise ConfigError(expectation("a known option", name, suggestion(name, options_class.model_fields)))
    if name in fixed:
        fix = "Remove either its value or its range."
        raise ConfigError(expectation("an option without a value of its own", f"`{name}: {fixed[name]!r}`", fix))


def _dimension(given: Any, options_class: type[BaseModel], name: str) -> Dimension:
    if isinstance(given, Real | Integer | Choice):
        return given
    if isinstance(given, list | tuple):
        for value in given:
            if not isinstance(value, str | int | float | bool | None):
                raise ConfigError(expectation("text, numbers, true, false or null to choose from", value))
        return Choice(tuple(given))
    if not isinstance(given, Mapping):
        raise ConfigError(expectation("a range or a list", given, _EXAMPLE))
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"{key}: " + expectation("a known key", key, suggestion(key, _KEYS)))
    for key in ("low", "high"):
        if isinstance(given.get(key), bool) or not isinstance(given.get(key), int | float):
            raise ConfigError(f"{key}: " + expectation("a number", given.get(key, "`nothing`"), _EXAMPLE))
    if not isinstance(given.get("log", False), bool):
        raise ConfigError("log: " + expectation("true or false", given["log"]))
    return _range(given, options_class.model_fields[name].annotation)


def _range(given: Given, annotation: object) -> Real | Integer:
    """A range of real numbers where the option takes any, else of whole ones."""
    kinds = set(_leaves(annotation))
    low, high, log = given["low"], given["high"], given.get("log", False)
    if float in kinds:
        if "step" in given:
            raise ConfigError("step: " + expectation("none for an option that takes any number", given["step"]))
        return Real(float(low), float(high), log)
    if int not in kinds:
        raise ConfigError(expectation("a list of values: this option is no number", "`a range`", "As [a, b]."))
    for end in ("low", "high"):
        if not isinstance(given[end], int):
            raise ConfigError(f"{end}: " + expectation("a whole number", given[end]))
    step = given.get("step", 1)
    if isinstance(step, bool) or not isinstance(step, int):
        raise ConfigError("step: " + expectation("a whole number", step))
    return Integer(low, high, log, step)


def _leaves(annotation: object) -> Iterator[object]:
    """The types that an annotation admits, as `float` and `None` of `float | None`."""
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for part in inner:
        yield from _leaves(part)


def _check_values(dimension: Dimension, options_class: type[BaseModel], name: str, fixed: Given) -> None:
    """Refuse ends and values that are no valid option; what lies between valid ends is valid."""
    if isinstance(dimension, Choice):
        ends: dict[str, Plain] = {f"[{place}]": value for place, value in enumerate(dimension.values)}
    else:
        ends = {"low": dimension.low, "high": dimension.high}
    for place, value in ends.items():
        try:
            parse(options_class, {**fixed, name: value})
        except GfoptError as error:
            text = error.message.removeprefix(f"{name}: ")
            raise ConfigError(f"{place}: {text}") from None
