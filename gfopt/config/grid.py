"""`{grid: [...]}` anywhere inside an entry multiplies it: the product over its grids, the last fastest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gfopt.config.messages import Issue, Place, place
from gfopt.config.plain import canonical, copy
from gfopt.errors import expectation

GRID = "grid"


@dataclass(frozen=True)
class Grid:
    """A list of values to try at one key of an entry.

    Attributes:
        path: the key, from the top of the entry.
        values: what to put there, one after the other.
    """

    path: Place
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Choice:
    """The value that a cell takes from one grid.

    Attributes:
        path: the grid's key, from the top of the entry.
        index: the position of the value in the grid.
        value: the value.
    """

    path: Place
    index: int
    value: Any


def is_grid(value: object) -> bool:
    """Whether `value` is a mapping with the key `grid`."""
    return isinstance(value, dict) and GRID in value


def find(entry: Any, origin: Place, issues: list[Issue]) -> list[Grid]:
    """The grids inside `entry`, in the order of the file.

    Args:
        entry: a problem or an optimizer as plain data.
        origin: its place in the study, for the messages.
        issues: gets what is wrong with a grid: empty, repeated values, nested, with other keys beside it.
    """
    return list(_find(entry, (), origin, issues))


def _find(value: Any, path: Place, origin: Place, issues: list[Issue]) -> Iterator[Grid]:
    if is_grid(value):
        problem = _wrong(value, path)
        if problem:
            issues.append(Issue((*origin, *path), problem))
        else:
            yield Grid(path, tuple(value[GRID]))
        return
    for key, item in _items(value):
        yield from _find(item, (*path, key), origin, issues)


def _wrong(value: dict[str, Any], path: Place) -> str:
    """What is wrong with the grid `value`, or nothing."""
    if not path:
        return "expected one entry, got a grid of entries. Give each a name of its own, or put the grid inside."
    if len(value) > 1:
        others = ", ".join(key for key in value if key != GRID)
        return expectation(
            "`grid` alone in its mapping", f"`grid` beside {others}", "Put the other keys into each value."
        )
    values = value[GRID]
    if not isinstance(values, list):
        return expectation(
            "a list of values to try", values, f"Write {{grid: [{values}]}}." if _is_scalar(values) else ""
        )
    if not values:
        return expectation(
            "at least one value to try", "`an empty grid`", "Write {grid: [first, second]} or a plain value."
        )
    if any(_contains_grid(item) for item in values):
        return "expected plain values, got a grid inside a grid. Write out the combinations in one grid."
    seen: dict[str, int] = {}
    for index, item in enumerate(values):
        first = seen.setdefault(canonical(item), index)
        if first != index:
            return expectation("values that differ", f"`{item!r}` at positions {first} and {index}", "Remove one.")
    return ""


def count(grids: list[Grid]) -> int:
    """How many cells the grids make together."""
    return math.prod(len(grid.values) for grid in grids)


def cells(entry: Any, grids: list[Grid]) -> Iterator[tuple[tuple[Choice, ...], Any]]:
    """Each combination of values with the entry that it gives."""
    numbered = [[Choice(grid.path, index, value) for index, value in enumerate(grid.values)] for grid in grids]
    for choices in itertools.product(*numbered):
        cell = copy(entry)
        for choice in choices:
            _put(cell, choice.path, copy(choice.value))
        yield choices, cell


def misplaced(data: dict[str, Any]) -> list[Issue]:
    """An issue for each grid that stands outside the problems and the optimizers."""
    text = "expected one value, got a grid. A grid can stand inside a problem or an optimizer only."
    found = []
    for key, value in data.items():
        # Inside the entries grids are welcome; the section itself cannot be one.
        inside = key in ("problems", "optimizers") and not is_grid(value)
        if not inside:
            found += [Issue((key, *path), text) for path in _grids_below(value)]
    return found


def relocated(path: Place, origin: Place, choices: tuple[Choice, ...], text: str) -> Issue:
    """An issue of a cell at the place in the file that it comes from.

    Args:
        path: the key inside the cell.
        origin: the place of the cell's entry in the study.
        choices: the cell's values from grids.
        text: what is wrong.
    """
    for choice in choices:
        if path[: len(choice.path)] == choice.path:
            return Issue((*origin, *path), text, (len(origin) + len(choice.path), choice.index))
    return Issue((*origin, *path), text)


def label(choices: tuple[Choice, ...], prefix: str = "") -> dict[str, Any]:
    """The choices by their dotted path below `prefix`, as `{"network.norm": "batch"}`."""
    return {prefix + place(choice.path): choice.value for choice in choices}


def show(value: Any) -> str:
    """A value as short as a name wants it: `0.01`, `batch`, `[64,64]`, `{kind:mlp}`."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float | str):
        return str(value)
    return getattr(value, "__name__", type(value).__name__)


def _put(entry: Any, path: Place, value: Any) -> None:
    for part in path[:-1]:
        entry = entry[part]
    entry[path[-1]] = value


def _items(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _grids_below(value: Any, path: Place = ()) -> Iterator[Place]:
    if is_grid(value):
        yield path
    else:
        for key, item in _items(value):
            yield from _grids_below(item, (*path, key))


def _contains_grid(value: Any) -> bool:
    return next(_grids_below(value), None) is not None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)
