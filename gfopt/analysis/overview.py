"""The main table, one row per cell and optimizer: page and console draw this frame and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfopt.analysis.curves import StepCurve, step_curves
from gfopt.analysis.frames import (
    AXES,
    arms,
    as_loss,
    comparable,
    final_values,
    gradient_optimizers,
    headline,
    shares_seconds,
    split_cells,
)
from gfopt.analysis.goals import TargetSpec, choose_baseline, targets
from gfopt.analysis.statistics import (
    Floats,
    bootstrap_interval,
    expected_running_time,
    probability_of_improvement,
    success_rate,
)

Steps = Mapping[str, StepCurve]

_IDENTITY = ["problem", "cell", "panel", "norm", "optimizer", "gradients"]
_EMPTY = [*_IDENTITY, "n", "ok", "diverged", "failed", "metric", "score", "loss"]


def summary(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    baseline: str | None = None,
    target_spec: TargetSpec = "auto",
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per cell and optimizer, every run counted.

    A run that did not end `ok` counts as the worst value in the medians. It counts as reaching a target
    only if it did so before it ended, and is charged what it spent until then. Intervals are percentile
    bootstraps of the median over runs, and Wilson intervals of success rates.

    Args:
        runs: one row a run.
        curves: one row a logged point.
        baseline: see `goals.baseline_name`.
        target_spec: see `goals.targets`.
        level: of the intervals of medians.
        seed: of their bootstrap.

    Returns:
        `problem`, the grid columns, `cell`, `norm`, `optimizer`, `gradients`; counts `n`, `ok`, `diverged`,
        `failed` (crashed, killed or timed out); `metric` (the headline score), `score` with `score_low` and
        `score_high`, `loss` with `loss_low` and `loss_high` (medians); median `seconds`,
        `forward_equivalents`, `evaluations` of runs that recorded any; `improvement` (probability of
        a lower loss than the baseline in the same cell); for each target label `L`: `target[L]`,
        `successes[L]`, `success[L]`, `success_low[L]`, `success_high[L]`, and `ert_<axis>[L]` for each cost.
        Seconds of an arm whose runs share theirs are NaN; where all arms do, they have no column.
    """
    if runs.empty:
        return pd.DataFrame(columns=_EMPTY)
    timed = [axis for axis in AXES if axis != "seconds" or not shares_seconds(runs).all()]
    steps = {axis: step_curves(runs, curves, axis) for axis in timed if axis in curves.columns}
    goals = targets(runs, curves, baseline, target_spec)
    references = choose_baseline(runs, baseline)
    metrics = {problem: headline(rows) for problem, rows in runs.groupby(runs["problem"].astype(str), sort=False)}
    rows, gradients = [], gradient_optimizers(runs)
    for cell, members in split_cells(runs):
        reference = references.get(cell.problem)
        metric, mine = metrics[cell.problem], goals[goals["problem"] == cell.problem]
        against = members[members["optimizer"] == reference.optimizer] if reference else members.iloc[:0]
        place = {"problem": cell.problem, **dict(cell.grid), "cell": cell.label, "panel": cell.panel}
        for optimizer, group in arms(members):
            arm = {"norm": cell.norm, "optimizer": optimizer, "gradients": optimizer in gradients}
            medians = _median("score", group, metric, level, seed) | _median("loss", group, "loss", level, seed)
            measured = {axis: _recorded(group, axis) for axis in timed if axis in group.columns}
            rest = {"improvement": _improvement(group, against), **_reached(group, steps, mine)}
            rows.append({**place, **arm, **_counts(group), "metric": metric, **medians, **measured, **rest})
    return pd.DataFrame(rows)


def _recorded(runs: pd.DataFrame, axis: str) -> float:
    """Median cost of the runs that recorded one: a crashed run may have none."""
    if not comparable(runs, axis):
        return float("nan")
    values = runs[axis].dropna().to_numpy(dtype=float)
    return float(np.median(values)) if values.size else float("nan")


def _counts(runs: pd.DataFrame) -> dict[str, int]:
    status = runs["status"].astype(str)
    ok, diverged = int((status == "ok").sum()), int((status == "diverged").sum())
    return {"n": len(runs), "ok": ok, "diverged": diverged, "failed": len(runs) - ok - diverged}


def _median(name: str, runs: pd.DataFrame, metric: str, level: float, seed: int) -> dict[str, float]:
    values = final_values(runs, metric)
    low, high = bootstrap_interval(values, "median", level, seed)
    return {name: float(np.median(values)), f"{name}_low": low, f"{name}_high": high}


def _improvement(runs: pd.DataFrame, against: pd.DataFrame) -> float:
    if against.empty or against.index.equals(runs.index):
        return float("nan")
    return probability_of_improvement(as_loss(final_values(runs, "loss"), "loss"), final_values(against, "loss"))


def _reached(runs: pd.DataFrame, steps: Mapping[str, Steps], goals: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, (axis, every) in enumerate(steps.items()):
        mine = [every[str(run)] for run in runs["run"]]
        spent, hits = run_times(runs, mine, axis, goals["target"].tolist())
        for label, target, cost, hit in zip(goals["label"], goals["target"], spent.T, hits.T, strict=True):
            if place == 0:
                found |= {f"target[{label}]": target, f"successes[{label}]": int(hit.sum())}
                names = (f"success[{label}]", f"success_low[{label}]", f"success_high[{label}]")
                found |= dict(zip(names, success_rate(int(hit.sum()), len(hit)), strict=True))
            found[f"ert_{axis}[{label}]"] = expected_running_time(cost, hit) if comparable(runs, axis) else float("nan")
    return found


def run_times(
    runs: pd.DataFrame, steps: Sequence[StepCurve], axis: str, losses: Sequence[float]
) -> tuple[Floats, NDArray[np.bool_]]:
    """What each run spent until each target, and whether it reached it.

    A run without success is charged its own total. A crashed run whose total is unknown is charged its last
    logged cost, or 0 if it logged nothing.

    Args:
        runs: `n` rows.
        steps: their `n` loss curves.
        axis: the cost of the curves.
        losses: `m` targets.

    Returns:
        `(n, m)` costs and `(n, m)` successes.
    """
    first = np.array([[curve.first_at_most(loss) for loss in losses] for curve in steps], dtype=float)
    first = first.reshape(len(steps), len(losses))
    recorded = runs[axis].to_numpy(dtype=float, na_value=np.nan) if axis in runs.columns else np.nan
    own = np.where(np.isfinite(recorded), recorded, [curve.end for curve in steps])
    hits = np.isfinite(first)
    return np.where(hits, first, own[:, None]), hits
