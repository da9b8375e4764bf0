"""From what a user wrote to checked options, with messages that say what to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from gfopt import options
from gfopt.errors import NetworkError, expectation, suggestion

M = TypeVar("M", bound="NetworkOptions")


class NetworkOptions(BaseModel):
    """Options of a network or of a part of it: typed, frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def parse(model: type[M], values: Mapping[str, object]) -> M:
    """`values` as an instance of `model`.

    Raises:
        NetworkError: for an unknown name (with the nearest known one), a wrong type or a value out of range.
    """
    return options.parse(model, values, NetworkError)


def own(options: NetworkOptions, model: type[M]) -> M:
    """`options` themselves, if they are those of the network that is built from them.

    Raises:
        NetworkError: for options of another network.
    """
    if not isinstance(options, model):
        raise NetworkError(expectation(model.__name__, type(options).__name__))
    return options


def parse_kind(spec: object, table: Mapping[str, type[M]], what: str) -> M:
    """`spec`, a name or `{kind: name, ...}`, as an instance of the class that `table` has for that name.

    Args:
        spec: what the user wrote; an instance of one of the classes is returned as it is.
        table: name to options class; each class has a field `kind`.
        what: the thing's name in messages, as `activation`.

    Raises:
        NetworkError: for an unknown kind or option.
    """
    for known in set(table.values()):
        if isinstance(spec, known):
            return spec
    values = {"kind": spec} if isinstance(spec, str) else spec
    fix = f"For example {next(iter(table))!r} or {{kind: {next(iter(table))}}}."
    if not isinstance(values, Mapping) or "kind" not in values:
        raise NetworkError(expectation(f"the name of an {what}, or a mapping with a `kind`", spec, fix))
    kind = values["kind"]
    if not isinstance(kind, str) or kind not in table:
        raise NetworkError(expectation(f"a known {what}", kind, suggestion(kind, table)))
    return parse(table[kind], values)
