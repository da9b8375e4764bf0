"""The baseline of a study, and the loss targets that are derived from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gfopt.analysis.curves import any_cost, step_curves
from gfopt.analysis.frames import arms, as_loss, final_values, higher_is_better, split_cells
from gfopt.errors import ConfigError, expectation, suggestion

TargetSpec = str | Sequence[float] | Mapping[str, Sequence[float]]

FRACTIONS = (0.25, 0.5, 0.9)
RULE = (
    "A target is the loss after a fixed share (25 %, 50 %, 90 %) of the baseline's median improvement, from "
    "its first finite loss to its final loss, in the cell of the problem where the baseline does best. One "
    "set serves all cells of a problem."
)
_COLUMNS = ["problem", "label", "target", "baseline", "cell", "rule"]


@dataclass(frozen=True)
class Baseline:
    """The arm that a problem's targets and comparisons refer to.

    Attributes:
        optimizer: its full name.
        cell: label of the cell where it does best.
        chosen_on: the metric by which it was picked from several arms or cells; empty if there was only one.
        among: how many arms the declared name stood for.
        reliable: most of its runs there ended `ok`.
    """

    optimizer: str
    cell: str
    chosen_on: str
    among: int
    reliable: bool

    def __str__(self) -> str:
        if self.among == 1:
            return self.optimizer
        data = (
            "validation data"
            if self.chosen_on.startswith("validation_")
            else "training loss (there is no validation data)"
        )
        return f"{self.optimizer}, chosen on {data} among {self.among}"


def baseline_name(runs: pd.DataFrame, baseline: str | None = None) -> str:
    """The declared baseline; without one, the first optimizer of the table.

    Args:
        runs: one row a run.
        baseline: an optimizer's name, in full or as in the study file, where one name may stand for several.
    """
    return next(iter(runs["optimizer"].astype(str)), "") if baseline is None else baseline


def has_runs(runs: pd.DataFrame, name: str) -> bool:
    """Whether an optimizer of that name ran: in an interrupted study the baseline may not have yet."""
    return name in {*_bases(runs), *runs["optimizer"].astype(str)}


def _bases(runs: pd.DataFrame) -> list[str]:
    column = "base" if "base" in runs.columns else "optimizer"
    return runs[column].fillna(runs["optimizer"]).astype(str).tolist()


def choose_baseline(runs: pd.DataFrame, baseline: str | None = None) -> dict[str, Baseline]:
    """Problem to its baseline; a name for several arms is settled on validation data, never on test data.

    Where the runs have no validation metric, the training loss decides; the choice carries which. Problems in
    which it has no runs are left out.

    Args:
        runs: one row a run.
        baseline: see `baseline_name`.
    """
    if runs.empty:
        return {}
    name = baseline_name(runs, baseline)
    mine = runs[(runs["optimizer"].astype(str) == name) | (pd.Series(_bases(runs), index=runs.index) == name)]
    chosen = {}
    for problem, rows in mine.groupby(mine["problem"].astype(str), sort=False):
        metric = _selection_metric(rows)
        found = []
        for cell, group in split_cells(rows):
            for optimizer, members in arms(group):
                quality = float(np.median(as_loss(final_values(members, metric), metric)))
                found.append((quality, optimizer, cell.label, bool((members["status"] == "ok").mean() > 0.5)))
        _, optimizer, label, reliable = min(found, key=lambda item: item[0])
        chosen[str(problem)] = Baseline(optimizer, label, metric, len({item[1] for item in found}), reliable)
    return chosen


def _selection_metric(runs: pd.DataFrame) -> str:
    scored = [str(c) for c in runs.columns if str(c).startswith("validation_") and runs[c].notna().any()]
    preferred = [c for c in scored if higher_is_better(c)] or scored
    return "validation_loss" if "validation_loss" in scored else (preferred[0] if preferred else "loss")


def targets(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    baseline: str | None = None,
    spec: TargetSpec = "auto",
    fractions: Sequence[float] = FRACTIONS,
) -> pd.DataFrame:
    """Loss targets, one set per problem, so that the cells of a problem can be compared.

    `auto` follows `RULE`: with the baseline's median first loss `a` and median final loss `b`, the target
    of fraction `f` is `a - f (a - b)`. A problem whose baseline mostly failed, or did not improve, has no
    targets.

    Args:
        runs: one row a run.
        curves: one row a logged point.
        baseline: see `baseline_name`.
        spec: `"auto"`, losses for every problem, or problem to losses.
        fractions: shares of the improvement.

    Returns:
        One row per problem and target: `problem`, `label`, `target`, `baseline`, `cell`, `rule`.

    Raises:
        ConfigError: a spec of another form, a target that is not a finite number, an unknown problem.
    """
    if isinstance(spec, str) and spec != "auto":
        raise ConfigError("targets: " + expectation("'auto', a list of losses, or problem to list of losses", spec))
    problems = list(dict.fromkeys(runs["problem"].astype(str)))
    if not isinstance(spec, str):
        return _declared(problems, spec)
    rows = []
    for problem, choice in choose_baseline(runs, baseline).items():
        if not choice.reliable:
            continue
        members = _members(runs, problem, choice)
        starts = [
            curve.value[np.isfinite(curve.value)][:1]
            for curve in step_curves(members, curves, any_cost(curves)).values()
        ]
        if not any(start.size for start in starts):
            continue
        first = float(np.median(np.concatenate(starts)))
        last = float(np.median(final_values(members, "loss")))
        if math.isfinite(last) and last < first:
            rows += [
                (
                    problem,
                    f"{100 * f:g} %",
                    first - f * (first - last),
                    str(choice),
                    choice.cell,
                    "share of the baseline's improvement",
                )
                for f in fractions
            ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _members(runs: pd.DataFrame, problem: str, choice: Baseline) -> pd.DataFrame:
    mine = runs[(runs["problem"].astype(str) == problem)]
    cell = next(rows for found, rows in split_cells(mine) if found.label == choice.cell)
    return cell[cell["optimizer"].astype(str) == choice.optimizer]


def _declared(problems: Sequence[str], spec: Sequence[float] | Mapping[str, Sequence[float]]) -> pd.DataFrame:
    per_problem = spec if isinstance(spec, Mapping) else dict.fromkeys(problems, spec)
    rows = []
    for problem, losses in per_problem.items():
        if problem not in problems:
            raise ConfigError(
                "targets: " + expectation("a problem of the study", problem, suggestion(problem, problems))
            )
        for index, loss in enumerate(sorted(losses, reverse=True), start=1):
            if isinstance(loss, bool) or not isinstance(loss, int | float) or not math.isfinite(loss):
                raise ConfigError(f"targets.{problem}: " + expectation("finite losses", loss))
            rows.append((problem, f"target {index}", float(loss), "", "", "declared in the study"))
    return pd.DataFrame(rows, columns=_COLUMNS)
