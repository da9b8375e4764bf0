"""What a study measures before any training: at the starts of its problems, where every optimizer begins."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from gfopt.config import ProblemCell, StudyConfig
from gfopt.diagnostics.kinds import COLUMNS, KINDS, DiagnosticsWarning
from gfopt.diagnostics.starts import start_rows
from gfopt.errors import ConfigError, expectation, suggestion
from gfopt.problems import Problem
from gfopt.rng import derive
from gfopt.study.executors import thread_limit
from gfopt.study.spec import grid_columns

Row = dict[str, Any]

AT_START = tuple(name for name, kind in KINDS.items() if "start" in kind.when)
DEAR = frozenset({"search-blindness", "invariance"})  # cost hundreds of evaluations a start
DEAR_REPEATS = 3  # at whose starts a study measures those


def starts_of_study(config: StudyConfig, problems: Mapping[str, Problem]) -> list[Row]:
    """What the study asks for, at the starts of all its problem cells and repeats.

    Search blindness and invariances, which cost hundreds of evaluations each, at the first three repeats' only.
    """
    rows: list[Row] = []
    with thread_limit(config.threads):
        for cell in config.problem_cells:
            for repeat in range(config.repeats):
                kinds = set(config.diagnostics) - (DEAR if repeat >= DEAR_REPEATS else set())
                rows += _at_start(config, cell, problems[cell.label], repeat, kinds)
    return rows


def diagnose(
    config: StudyConfig,
    problems: Mapping[str, Problem],
    *,
    problem: str | None = None,
    repeats: int = 3,
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Everything that can be measured at the starts of a study; trains nothing.

    Args:
        config: the study.
        problems: by the label of their cell.
        problem: only the cells of this one.
        repeats: starts of each cell; the first ones are those of the study's runs.
        progress: called before each start with its number from 0, the number of starts and the cell's label.

    Returns:
        One row a measured number: `problem`, its grid columns, `repeat`, `step`, `forward_equivalents`, `quantity`,
        `layer`, `name`, `value`; none of problems without a network.

    Raises:
        ConfigError: for an unknown problem or no repeat.
    """
    if repeats < 1:
        raise ConfigError("repeats: " + expectation("at least 1", repeats))
    cells = chosen_cells(config, problem)
    rows: list[Row] = []
    with thread_limit(config.threads):
        for index, (cell, repeat) in enumerate((cell, repeat) for cell in cells for repeat in range(repeats)):
            if progress is not None:
                progress(index, len(cells) * repeats, cell.label)
            rows += _at_start(config, cell, problems[cell.label], repeat, AT_START)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["problem", "repeat", *COLUMNS])


def chosen_cells(config: StudyConfig, problem: str | None) -> list[ProblemCell]:
    """The cells of one problem, or all.

    Raises:
        ConfigError: if there is no such problem.
    """
    cells = [cell for cell in config.problem_cells if problem in (None, cell.name)]
    if not cells:
        known = {cell.name for cell in config.problem_cells}
        raise ConfigError("problem: " + expectation("a problem of the study", problem, suggestion(problem, known)))
    return cells


def rows_of(cell: ProblemCell, measured: pd.DataFrame) -> pd.DataFrame:
    """The rows of one cell."""
    mine = measured["problem"] == cell.name
    for column, value in grid_columns(cell).items():
        # A column that no row has belongs to problems of which nothing was measured.
        values = measured.get(column, pd.Series(None, index=measured.index, dtype=object))
        mine &= values.isna() if value is None else values == value
    return measured[mine]


def warn_of_failures(runs: Iterator[Mapping[str, Any]]) -> None:
    """One warning for each diagnostic that failed along the runs.

    Args:
        runs: descriptions of runs as they are stored.
    """
    reasons: dict[str, list[str]] = {}
    for run in runs:
        for kind, reason in run.get("diagnostics_failed", {}).items():
            reasons.setdefault(kind, []).append(reason)
    for kind, found in reasons.items():
        warnings.warn(f"no {kind} in {len(found)} runs, because of {found[0]}", DiagnosticsWarning, stacklevel=3)


def _at_start(
    config: StudyConfig, cell: ProblemCell, problem: Problem, repeat: int, kinds: Collection[str]
) -> Iterator[Row]:
    """At member 0 of the repeat's starts, on its first minibatch; a network that fails is one warning a kind."""
    init, data = (derive(config.seed, cell.name, repeat, purpose) for purpose in ("init", "data"))
    rows, failures = start_rows(problem, kinds, problem.initial(1, init)[0], init=init, data=data)
    for kind, reason in failures.items():
        where = f"{cell.label}, repeat {repeat}"
        warnings.warn(f"{where}: no {kind} at the start, because of {reason}", DiagnosticsWarning, stacklevel=3)
    for row in rows:
        yield {"problem": cell.name, **grid_columns(cell), "repeat": repeat, **row}
