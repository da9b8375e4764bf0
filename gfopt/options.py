"""From what a user wrote to checked options: optimizers, networks and data sets all read theirs here.

The message is about the first thing that is wrong, in the words of somebody who writes a study file. (A whole study
lists everything that is wrong with it: `config.validation`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gfopt.errors import ConfigError, GfoptError, expectation, suggestion

O = TypeVar("O", bound=BaseModel)

# What pydantic's kinds of error mean to somebody who writes a study file.
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "literal_error": "one of {expected}",
    "tuple_type": "a list",
    "list_type": "a list",
    "missing": "a value",
    "too_short": "a list of at least {min_length} values",
    "too_long": "a list of at most {max_length} values",
}


def parse(options_class: type[O], given: Mapping[str, Any] | BaseModel, error: type[GfoptError] = ConfigError) -> O:
    """`given` as an instance of `options_class`.

    Args:
        options_class: a model that refuses unknown names.
        given: option to value, or an instance.
        error: what to raise.

    Raises:
        ConfigError: or `error`, for an unknown option, a wrong type or a value out of range.
    """
    if isinstance(given, options_class):
        return given
    if not isinstance(given, Mapping):
        raise error(expectation("a mapping from option to value", given))
    for name in given:
        if name not in options_class.model_fields:
            known = suggestion(name, options_class.model_fields) or "There are none here."
            raise error(f"{name}: " + expectation("a known option", name, known))
    _refuse_booleans(options_class, given, error)
    try:
        return options_class.model_validate(dict(given))
    except ValidationError as found:
        raise error(_message(options_class, found)) from None


def _refuse_booleans(options_class: type[BaseModel], given: Mapping[str, Any], error: type[GfoptError]) -> None:
    """Python takes `True` for the number 1; in a study file it is a mistake."""
    for name, value in given.items():
        if isinstance(value, bool) and options_class.model_fields[name].annotation is not bool:
            raise error(f"{name}: " + expectation("a number or a name", value))


def _message(options_class: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    context = first.get("ctx", {})
    if first["type"] == "value_error":  # a validator of our own: its message is whole
        return f"{where}: {context['error']}" if where else str(context["error"])
    expected = _EXPECTED.get(first["type"], first["msg"]).format(**context)
    fix = _default(options_class, first["loc"])
    return f"{where}: " + expectation(expected, first["input"], fix)


def _default(options_class: type[BaseModel], location: tuple[int | str, ...]) -> str:
    field = options_class.model_fields.get(str(location[0])) if location else None
    if field is None or field.is_required():
        return ""
    default = field.get_default(call_default_factory=True)
    return f"The default is {'null' if default is None else default!r}."
