"""Plain data into a pydantic model; what does not fit becomes issues in the user's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gfopt.config.messages import Issue, Place
from gfopt.errors import GfoptError, expectation, suggestion

Model = TypeVar("Model", bound=BaseModel)

_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 64 bits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list, as [1, 2]",
    "tuple_type": "a list, as [1, 2]",
    "dict_type": "a mapping, as {key: value}",
    "model_type": "a mapping, as {key: value}",
    "model_attributes_type": "a mapping, as {key: value}",
    "none_required": "null",
}
_LIMITS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
}


def validate(model: type[Model], given: object, path: Place, issues: list[Issue]) -> Model | None:
    """An instance of `model`, or `None` after adding what is wrong to `issues`.

    Args:
        model: what `given` should fit.
        given: plain data.
        path: its place in the study.
        issues: gets one entry for each thing that is wrong.
    """
    try:
        result = model.model_validate(given)
    except ValidationError as error:
        issues.extend(_translate(error, model, given, path))
        return None
    coerced = list(_coerced(given, result, path))
    issues.extend(coerced)
    return None if coerced else result


def _translate(error: ValidationError, model: type[BaseModel], given: object, path: Place) -> Iterator[Issue]:
    """One issue for each place; alternatives of one place are joined with `or`."""
    expected: dict[Place, list[str]] = {}
    details: dict[Place, tuple[object, str]] = {}
    whole: dict[Place, Issue] = {}
    for entry in error.errors(include_url=False):
        place = _strip(entry["loc"], given, keep_last=entry["type"] == "missing")
        full = (*path, *place)
        if place and entry["type"] == "extra_forbidden":
            whole[place] = Issue(full, _unknown_key(str(place[-1]), _models_at(model, place[:-1])))
        elif entry["type"] == "missing":
            whole[place] = Issue(full, _missing(_field_at(model, place)))
        elif entry["type"] in ("value_error", "assertion_error"):
            whole[place] = _raised(entry, full, model)
        else:
            expected.setdefault(place, []).append(_expected(entry))
            details.setdefault(place, (entry["input"], _fix(entry, _field_at(model, place))))
    yield from whole.values()
    for place, alternatives in expected.items():
        # A union complains about its other members as a whole as well; the deeper complaint says more.
        if any(len(other) > len(place) and other[: len(place)] == place for other in (*expected, *whole)):
            continue
        got, fix = details[place]
        yield Issue((*path, *place), expectation(" or ".join(dict.fromkeys(alternatives)), got, fix))


def _expected(entry: ErrorDetails) -> str:
    kind, context = entry["type"], entry.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    if kind in ("literal_error", "enum"):
        return f"one of {str(context['expected']).replace(' or ', ', ')}"
    return entry["msg"][:1].lower() + entry["msg"][1:]


def _fix(entry: ErrorDetails, field: FieldInfo | None) -> str:
    if entry["type"] in ("literal_error", "enum"):
        names = re.findall(r"'([^']*)'", str(entry.get("ctx", {})["expected"]))
        near = suggestion(entry["input"], names)
        return near if near.startswith("Did") else ""
    if field is None:
        return ""
    if field.examples:
        return f"For example {field.examples[0]}."
    if isinstance(field.default, int | float | str):
        return f"Without this key it is {field.default}."
    return ""


def _missing(field: FieldInfo | None) -> str:
    example = f" Add it, for example {field.examples[0]}." if field is not None and field.examples else " Add it."
    return f"expected a value, got nothing: this key is required.{example}"


def _unknown_key(key: str, models: Sequence[type[BaseModel]]) -> str:
    known = [name for model in models for name in model.model_fields]
    return expectation("a known key", key, suggestion(key, known))


def _raised(entry: ErrorDetails, path: Place, model: type[BaseModel]) -> Issue:
    """What a validator of the model raised, in its own words, at the key that it names first."""
    error = entry.get("ctx", {}).get("error")
    text = error.message if isinstance(error, GfoptError) else str(error)
    for part in error.where if isinstance(error, GfoptError) else ():
        path = (*path, *_parts(part))
    name, colon, rest = text.partition(": ")
    if colon and _parts(name)[0] in model.model_fields:
        return Issue((*path, *_parts(name)), rest)
    return Issue(path, text)


def _parts(name: str) -> Place:
    """`("hidden", 0)` of `hidden.0`."""
    return tuple(int(part) if part.isdigit() else part for part in name.split("."))


def _strip(loc: tuple[int | str, ...], given: object, *, keep_last: bool) -> Place:
    """`loc` without the names that pydantic adds for the members of a union: what leads through `given`."""
    place: list[int | str] = []
    for position, part in enumerate(loc):
        position_in_list = isinstance(given, list | tuple) and isinstance(part, int) and part < len(given)
        if position_in_list or (isinstance(given, Mapping) and part in given):
            given = given[part]  # type: ignore[index]  # one of the two containers
        elif not (keep_last and position == len(loc) - 1):
            continue
        place.append(part)
    return tuple(place)


def _models_at(model: type[BaseModel], place: Place) -> list[type[BaseModel]]:
    """The models that the annotations allow at `place`."""
    models = [model]
    for part in place:
        fields = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field.annotation)]
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _field_at(model: type[BaseModel], place: Place) -> FieldInfo | None:
    for owner in _models_at(model, place[:-1]) if place else ():
        if place[-1] in owner.model_fields:
            return owner.model_fields[str(place[-1])]
    return None


def _coerced(given: object, result: object, path: Place) -> Iterator[Issue]:
    """Numbers that pydantic made of text or of true and false: more likely a slip than meant."""
    if isinstance(given, bool | str) and isinstance(result, int | float) and not isinstance(result, bool):
        wanted = "a whole number" if isinstance(result, int) else "a number"
        fix = "Write it without quotes." if isinstance(given, str) else ""
        yield Issue(path, expectation(wanted, given, fix))
    elif isinstance(given, Mapping) and isinstance(result, BaseModel | Mapping):
        inner = (
            dict(result)
            if isinstance(result, Mapping)
            else {name: getattr(result, name) for name in type(result).model_fields}
        )
        for key in given:
            if key in inner:
                yield from _coerced(given[key], inner[key], (*path, key))
    elif isinstance(given, list | tuple) and isinstance(result, list | tuple) and len(given) == len(result):
        for index, (before, after) in enumerate(zip(given, result, strict=True)):
            yield from _coerced(before, after, (*path, index))
