"""Who is ahead in each cell at equal cost, and whether that can be decided with the repeats at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gfopt.analysis.curves import StepCurve, own_end, step_curves
from gfopt.analysis.frames import Cell, arms, as_loss, comparable, headline, split_cells, worst
from gfopt.analysis.paired import holm, paired_comparison, repeats_needed
from gfopt.analysis.statistics import Floats

ALPHA = 0.05
_COLUMNS = [
    "problem",
    "panel",
    "cell",
    "norm",
    "axis",
    "cost",
    "metric",
    "optimizer",
    "value",
    "next",
    "next_value",
    "n",
    "wins",
    "ties",
    "p",
    "decision",
    "needed",
]


def equal_cost(members: Mapping[str, Sequence[StepCurve]], budget: float = math.nan) -> float:
    """The highest cost up to which every arm of a cell has values.

    Where every run reached the declared `budget`, that is the cost: the step that crosses a budget is
    completed, so the final value is the value at the budget. Otherwise it is the smallest end of any run
    that was stopped by a limit.
    """
    every = [curve for group in members.values() for curve in group]
    limited = [curve.reach for curve in every if math.isfinite(curve.reach)]
    return budget if limited and math.isfinite(budget) and min(limited) >= budget else own_end(every)


def values_at(group: Sequence[StepCurve], cost: float, budget: float = math.nan) -> Floats:
    """`(n,)` values of an arm's runs at a cost; a run that has none yet counts as the worst value."""
    at = [curve.end if cost == budget and not curve.failed and curve.end >= cost else cost for curve in group]
    values = np.array([curve.at(np.array([c]))[0] for curve, c in zip(group, at, strict=True)], dtype=float)
    values[np.isnan(values)] = group[0].worst if group else math.nan
    return values


def winners(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    axes: Sequence[str] = ("forward_equivalents", "seconds"),
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """The optimizer with the best median headline score at equal cost, and the next one, for each cell.

    Runs are compared at the last point that each had logged by the common cost. Best and next are compared
    repeat by repeat (signed-rank test), with Holm's adjustment over all cells of an axis. `decision` is
    `decided`, `undecided` (the test could have told and did not), `undecidable` (too few repeats for any
    outcome to reach `alpha`), `alone` (one optimizer) or `none` (nothing ended `ok`).

    Args:
        runs: one row a run.
        curves: one row a logged point.
        axes: costs to compare at; those that the curves lack are left out, and seconds in the cells where a run
            shares its own with others.
        alpha: level of the decisions.

    Returns:
        One row per axis and cell: `problem`, `panel`, `cell`, `norm`, `axis`, `cost`, `metric`,
        `optimizer`, `value`, `next`, `next_value`, `n` paired repeats, `wins`, `ties`,
        adjusted `p`, `decision`, `needed`.
    """
    rows: list[dict[str, Any]] = []
    for axis in axes:
        if axis not in curves.columns or runs.empty:
            continue
        found = [
            row
            for _, mine in runs.groupby(runs["problem"].astype(str), sort=False)
            for row in _problem(mine, curves, axis)
        ]
        _decide(found, alpha)
        rows += found
    return pd.DataFrame(rows, columns=_COLUMNS)


def _decide(rows: Sequence[dict[str, Any]], alpha: float) -> None:
    """Adjust the p-values of one axis for being tested together, and say what they decide."""
    compared = [row for row in rows if row["decision"] == "compared"]
    needed = repeats_needed(alpha / max(1, len(compared)))
    for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
        row["p"], row["needed"] = p, needed
        row["decision"] = "undecidable" if row["n"] < needed else "decided" if p < alpha else "undecided"


def _problem(runs: pd.DataFrame, curves: pd.DataFrame, axis: str) -> list[dict[str, Any]]:
    metric = curve_metric(runs, curves)
    every = step_curves(runs, curves, axis, metric)
    return [_cell(cell, rows, every, axis, metric) for cell, rows in split_cells(runs) if comparable(rows, axis)]


def curve_metric(runs: pd.DataFrame, curves: pd.DataFrame) -> str:
    """The headline score of a problem if its curves have it, else the loss."""
    metric = headline(runs)
    if metric in curves.columns and curves.loc[curves["run"].isin(runs["run"]), metric].notna().any():
        return metric
    return "loss"


def _cell(cell: Cell, rows: pd.DataFrame, every: Mapping[str, StepCurve], axis: str, metric: str) -> dict[str, Any]:
    groups = dict(arms(rows))
    members = {name: [every[str(run)] for run in group["run"]] for name, group in groups.items()}
    budget = _declared(rows, axis)
    cost = equal_cost(members, budget)
    values = {name: values_at(group, cost, budget) for name, group in members.items()}
    order = sorted(values, key=lambda name: float(np.median(as_loss(values[name], metric))))
    best, second = order[0], order[1] if len(order) > 1 else ""
    row: dict[str, Any] = {
        "problem": cell.problem,
        "panel": cell.panel,
        "cell": cell.label,
        "norm": cell.norm,
        "axis": axis,
        "cost": cost,
        "metric": metric,
        "optimizer": best,
        "value": float(np.median(values[best])),
        "next": second,
        "next_value": float(np.median(values[second])) if second else math.nan,
        "n": len(values[best]),
        "wins": 0,
        "ties": 0,
        "p": 1.0,
        "decision": "alone",
        "needed": 0,
    }
    if all(curve.failed for group in members.values() for curve in group) or row["value"] == worst(metric):
        row["decision"] = "none"
    elif second:
        x, y = (
            pd.Series(as_loss(values[name], metric), index=groups[name]["repeat"].to_numpy()) for name in (best, second)
        )
        shared = sorted(set(x.index) & set(y.index))
        outcome = paired_comparison(x.loc[shared], y.loc[shared])
        row |= {"n": outcome.n, "wins": outcome.wins, "ties": outcome.ties, "p": outcome.p}
        row["decision"] = "compared"
    return row


def _declared(rows: pd.DataFrame, axis: str) -> float:
    column = f"budget.{axis}"
    limits = set(rows[column].dropna().astype(float)) if column in rows.columns else set()
    return limits.pop() if len(limits) == 1 else math.nan
