"""A study as plain data: text, numbers, true, false, null, lists and mappings with text keys, no more."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping
from typing import Any

from gfopt.config.messages import Issue, Place
from gfopt.errors import expectation

MAX_DEPTH = 32
MAX_VALUES = 200_000
LIVE_KEYS = ("dataset", "network", "loss", "objective", "sample_weight", "trainable")
"""The keys of a problem that may hold Python objects."""

_LONG = "Long lists belong into a file or an array."
_KINDS = "text, a number, true, false, null, a list or a mapping"


class PlainData:
    """Makes plain data of what Python, YAML or numpy gave; what is not plain becomes an issue.

    Numbers become `int` or `float`, paths become text, tuples become lists; the containers are new ones.

    Args:
        live: let Python objects pass, untouched, at `LIVE_KEYS` of a problem.
    """

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.issues: list[Issue] = []
        self._count = 0

    def of(self, value: object, path: Place = ()) -> Any:
        """`value` as plain data; where an issue was added, `None` stands in."""
        self._count += 1
        if self._count > MAX_VALUES:
            # One message; without it a structure that shares its parts could take forever to walk.
            if self._count == MAX_VALUES + 1:
                self.issues.append(Issue((), f"expected at most {MAX_VALUES} values, got more. {_LONG}"))
            return None
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, numbers.Real):
            return self._number(value, path)
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        if isinstance(value, Mapping | list | tuple):
            if len(path) >= MAX_DEPTH:
                return self._refuse(path, f"expected at most {MAX_DEPTH} levels of nesting, got more")
            return self._container(value, path)
        if self.live and len(path) > 2 and path[0] == "problems" and path[2] in LIVE_KEYS:
            return value
        fix = "Python objects go into a study that is made in Python, as gfopt.Study(problems=...)."
        return self._refuse(path, expectation(_KINDS, value, fix if not self.live else ""))

    def _container(self, value: object, path: Place) -> Any:
        if isinstance(value, list | tuple):
            return [self.of(item, (*path, index)) for index, item in enumerate(value)]
        assert isinstance(value, Mapping)
        result = {}
        for key, item in value.items():
            if isinstance(key, str):
                result[str(key)] = self.of(item, (*path, str(key)))
            else:
                self._refuse(path, expectation("text as a key", key, "Put it into quotes."))
        return result

    def _number(self, value: numbers.Real, path: Place) -> Any:
        number = int(value) if isinstance(value, numbers.Integral) else float(value)
        if isinstance(number, int) and not -(2**63) <= number < 2**63:
            return self._refuse(
                path, f"expected a whole number of at most 64 bits, got one of {number.bit_length()} bits"
            )
        if not math.isfinite(number):
            return self._refuse(path, expectation("a finite number", number))
        return number

    def _refuse(self, path: Place, text: str) -> Any:
        self.issues.append(Issue(path, text))
        return None


def copy(value: Any) -> Any:
    """`value` with new lists and mappings all the way down; any other object is the same one."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy(item) for item in value]
    return value


def canonical(value: Any) -> str:
    """A text that is equal for equal plain data, whatever the order of keys; an object stands for itself."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return repr(value)
    if isinstance(value, int | float):
        return repr(int(value)) if float(value).is_integer() else repr(value)
    return f"<{type(value).__name__} {id(value)}>"
