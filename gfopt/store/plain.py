"""Plain values and the text they are stored as: JSON without NaN tokens, YAML without aliases or tags."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from gfopt.errors import StoreError, expectation

_FLOAT = "$float"
_RESERVED = re.compile(r"\$+float")
_NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def plain(value: object, place: str = "") -> Any:
    """A copy made of `dict`, `list`, `str`, `int`, `float`, `bool` and `None` alone.

    Tuples become lists; enums of strings and numpy's scalars become the values they stand for.

    Args:
        value: what to copy.
        place: where it stands in the whole, for the message.

    Raises:
        StoreError: for any other type, and for a mapping's key that is no string.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise StoreError(f"{place or 'top level'}: " + expectation("names that are strings", key))
        return {str.__str__(key): plain(item, f"{place}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    for kind, types in (
        (str, str),
        (bool, bool | np.bool_),
        (int, int | np.integer),
        (float, float | np.floating),
    ):
        if isinstance(value, types):
            # str(...) of an enum would be overridden by the enum; str.__str__ is its value.
            return str.__str__(value) if isinstance(value, str) else kind(value)
    raise StoreError(f"{place or 'value'}: " + expectation("a plain value (text, number, list, mapping)", value))


def to_json(value: object) -> str:
    """`value` as JSON text that every parser reads; `from_json` gives it back exactly.

    A float that is not finite is written as `{"$float": "nan"}`, `"inf"` or `"-inf"`.

    Raises:
        StoreError: if `value` is not plain.
    """
    return json.dumps(_marked(plain(value)), allow_nan=False, indent=1) + "\n"


def from_json(text: str) -> Any:
    """The value that `to_json` was given.

    Raises:
        ValueError: if `text` is not such JSON.
    """
    try:
        return json.loads(text, object_hook=_unmarked, parse_constant=_refused)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def to_yaml(value: object) -> str:
    """`value` as YAML text in its own order.

    Raises:
        StoreError: if `value` is not plain.
    """
    # Without allow_unicode, PyYAML escapes Unicode's line separators; with it, they come back as spaces.
    return yaml.dump(plain(value), Dumper=_Dumper, sort_keys=False)


def from_yaml(text: str) -> Any:
    """The plain value in `text`.

    Raises:
        ValueError: if it is no YAML, or has tags of objects, or aliases (which can grow without limit).
    """
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _marked(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        # A name that looks like the mark gets one more `$`, so that it is never taken for one.
        return {"$" + k if _RESERVED.fullmatch(k) else k: _marked(v) for k, v in value.items()}
    return value


def _unmarked(value: dict[str, Any]) -> Any:
    if _FLOAT in value:
        if len(value) != 1 or value[_FLOAT] not in _NONFINITE:
            raise ValueError(f"{value!r} is no number")
        return _NONFINITE[value[_FLOAT]]
    return {k[1:] if _RESERVED.fullmatch(k) else k: v for k, v in value.items()}


def _refused(token: str) -> None:
    raise ValueError(f"{token} is no JSON")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not used here")
        return super().compose_node(parent, index)
