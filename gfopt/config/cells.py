"""What a study combines: one cell for each combination of values from grids, checked on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from gfopt.config import entries, grid
from gfopt.config.grid import Choice
from gfopt.config.messages import Issue, Place
from gfopt.config.models import ProblemConfig
from gfopt.config.plain import canonical
from gfopt.errors import expectation
from gfopt.trace import Budget

Config = TypeVar("Config")


@dataclass(frozen=True)
class ProblemCell:
    """One problem with one value from each of its grids.

    Attributes:
        name: the problem's name in the study.
        grid: the values from its grids by dotted path, as `{"network.norm": "batch"}`.
        config: the problem with its defaults.
        budget: its own, else the study's.
        choices: where in the grids the values stand.
    """

    name: str
    grid: dict[str, Any]
    config: ProblemConfig
    budget: Budget
    choices: tuple[Choice, ...] = field(default=(), repr=False)

    @property
    def label(self) -> str:
        """The name with the values from grids, as `deep[network.norm=batch]`."""
        return self.name + _values(self.grid)

    def issue(self, path: Place, text: str) -> Issue:
        """Something wrong at `path` of the cell, at the place in the file that it comes from."""
        return grid.relocated(path, ("problems", self.name), self.choices, text)


@dataclass(frozen=True)
class OptimizerCell:
    """One optimizer with one value from each of its grids.

    Attributes:
        name: what tables call it, as `adam[learning_rate=0.01]`.
        base: its name in the study.
        grid: the values from its grids by column, as `{"options.learning_rate": 0.01}`.
        kind: its name in the registry.
        options: an instance of the class's own `options_class`.
        choices: where in the grids the values stand.
    """

    name: str
    base: str
    grid: dict[str, Any]
    kind: str
    options: BaseModel
    choices: tuple[Choice, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Rules:
    """What an entry may hold: Python objects, and the names of the user's own modules."""

    live: bool
    allow_code: bool


def problem_cells(
    name: str,
    entry: Any,
    grids: list[grid.Grid],
    study_budget: Budget | None,
    rules: Rules,
    issues: list[Issue],
) -> list[ProblemCell]:
    """The cells of the problem `name`; what is wrong with one is added to `issues`."""
    origin: Place = ("problems", name)

    def check(given: Any, found: list[Issue]) -> tuple[ProblemConfig, Budget] | None:
        config = entries.problem(given, found, live=rules.live, allow_code=rules.allow_code)
        own = given.get("budget") if isinstance(given, Mapping) else None
        limit = entries.budget(own, ("budget",), found) if own is not None else study_budget
        return None if config is None or limit is None else (config, limit)

    result: list[ProblemCell] = []
    same: dict[str, str] = {}
    for choices, (config, limit) in _checked(entry, grids, origin, check, issues):
        cell = ProblemCell(name, grid.label(choices), config, limit, choices)
        twin = same.setdefault(_identity(config) + canonical(limit.limits()), cell.label)
        if twin != cell.label:
            issues.append(cell.issue(choices[-1].path, _twins(twin, cell.label)))
        result.append(cell)
    return result


def optimizer_cells(
    name: str, section: Mapping[str, Any], grids: list[grid.Grid], issues: list[Issue]
) -> list[OptimizerCell]:
    """The cells of the optimizer `name` of a section; what is wrong with one is added to `issues`."""
    origin: Place = ("optimizers", name)
    result: dict[str, OptimizerCell] = {}
    same: dict[str, str] = {}
    for choices, (kind, options) in _checked(
        section[name], grids, origin, partial(entries.optimizer, others=section), issues
    ):
        columns = {
            column if column == "kind" else f"options.{column}": value for column, value in grid.label(choices).items()
        }
        cell = OptimizerCell(name + _values(grid.label(choices)), name, columns, kind, options, choices)
        twin = same.setdefault(kind + canonical(options.model_dump(mode="json")), cell.name)
        if twin != cell.name or cell.name in result:
            issues.append(grid.relocated(choices[-1].path, origin, choices, _twins(twin, cell.name)))
        result[cell.name] = cell
    return list(result.values())


def _checked(
    entry: Any,
    grids: list[grid.Grid],
    origin: Place,
    check: Callable[[Any, list[Issue]], Config | None],
    issues: list[Issue],
) -> list[tuple[tuple[Choice, ...], Config]]:
    """The cells that `check` accepts; an issue that only some cells have names the first of them."""
    good = []
    first: dict[Issue, tuple[Choice, ...]] = {}
    times: dict[Issue, int] = {}
    for choices, given in grid.cells(entry, grids):
        found: list[Issue] = []
        config = check(given, found)
        if config is not None and not found:
            good.append((choices, config))
        for issue in {grid.relocated(one.path, origin, choices, one.text): None for one in found}:
            first.setdefault(issue, choices)
            times[issue] = times.get(issue, 0) + 1
    for issue, choices in first.items():
        everywhere = times[issue] == grid.count(grids) or issue.choice is not None
        note = "" if everywhere else f"with {_values(grid.label(choices))[1:-1]}: "
        issues.append(Issue(issue.path, note + issue.text, issue.choice))
    return good


def _values(columns: Mapping[str, Any]) -> str:
    """`[network.norm=batch,loss=mse]`, or nothing without a grid."""
    if not columns:
        return ""
    return "[" + ",".join(f"{column}={grid.show(value)}" for column, value in columns.items()) + "]"


def _identity(config: ProblemConfig) -> str:
    """A text that is equal for equal problems."""
    parts = {key: dict(value) if isinstance(value, BaseModel) else value for key, value in config}
    return canonical(parts)


def _twins(first: str, second: str) -> str:
    return expectation("grids whose cells differ", f"`{first}` and {second}, which are the same", "Remove one.")
