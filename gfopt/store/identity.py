"""Whether two descriptions are of one study: what a results folder may be continued with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# Runs made under other values of these do not compare with the folder's.
FIXED = (
    *("name", "seed", "budget", "threads", "dtype", "device"),
    *("diagnostics", "batch_repeats", "early_stopping", "tune"),
)
# Members may come and go; one that stays under its name must stay what it is.
NAMED = ("problems", "optimizers")


class Difference(NamedTuple):
    """A place where two descriptions differ, with its dotted path."""

    path: str
    found: object
    asked: object


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


def difference(found: Mapping[str, Any], asked: Mapping[str, Any]) -> Difference | None:
    """The first reason why `asked` is another study than `found`, or `None` if it is the same one.

    New and removed problems and optimizers, another number of repeats and another report are the same study.

    Args:
        found: the plain description of the study in the folder.
        asked: the plain description of the study to run.
    """
    for name in FIXED:
        result = _first(found.get(name, ABSENT), asked.get(name, ABSENT), name)
        if result is not None:
            return result
    for group in NAMED:
        before, now = found.get(group), asked.get(group)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            for name in now:
                result = _first(before[name], now[name], f"{group}.{name}") if name in before else None
                if result is not None:
                    return result
    return None


def _first(found: Any, asked: Any, path: str) -> Difference | None:
    if isinstance(found, Mapping) and isinstance(asked, Mapping):
        pairs = [(f"{path}.{key}", found.get(key, ABSENT), asked.get(key, ABSENT)) for key in {**asked, **found}]
    elif isinstance(found, list) and isinstance(asked, list) and len(found) == len(asked):
        pairs = [(f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(found, asked, strict=True))]
    else:
        return None if _same(found, asked) else Difference(path, found, asked)
    return next((result for p, a, b in pairs if (result := _first(a, b, p)) is not None), None)


def _same(found: Any, asked: Any) -> bool:
    if isinstance(found, bool) != isinstance(asked, bool):  # True == 1 in Python
        return False
    return bool(found == asked or (found != found and asked != asked))  # NaN is the same as NaN
