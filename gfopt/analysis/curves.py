"""Runs as step functions of cost, and the median curve of the runs of an arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gfopt.analysis.frames import AXES, Cell, arms, comparable, split_cells, worst
from gfopt.analysis.statistics import Floats, median_band
from gfopt.errors import ConfigError, expectation, suggestion

# A run that ended by its own decision would not change by waiting: its last value holds beyond its end.
_CARRIED = ("self_stopped", "stalled", "target")


@dataclass(frozen=True)
class StepCurve:
    """One run's metric as a right-continuous step function of one kind of cost.

    Attributes:
        cost: `(k,)` logged costs, ascending, the start (cost 0) first.
        value: `(k,)` logged values; no NaN.
        worst: what the metric counts as after the end of a failed run.
        failed: the run did not end `ok`.
        carried: the run stopped by its own decision, so that its last value holds at any later cost.
    """

    cost: Floats
    value: Floats
    worst: float
    failed: bool = False
    carried: bool = False

    @property
    def end(self) -> float:
        """The run's own last cost; 0 if it never logged any."""
        return float(self.cost[-1]) if self.cost.size else 0.0

    @property
    def reach(self) -> float:
        """Cost up to which the run has a value: its own end, or any if it failed or stopped by itself."""
        return math.inf if self.failed or self.carried else self.end

    def at(self, cost: Floats) -> Floats:
        """Last logged values at `(m,)` costs; NaN beyond `reach` or before the first scored point."""
        place = np.searchsorted(self.cost, cost, side="right") - 1
        values = (
            np.where(place >= 0, self.value[np.maximum(place, 0)], np.nan)
            if self.cost.size
            else np.full(len(cost), np.nan)
        )
        if self.failed:
            return np.where((cost >= self.end) | (self.cost.size == 0), self.worst, values)
        return np.where(cost > self.reach, np.nan, values)

    def first_at_most(self, target: float) -> float:
        """Cost of the first logged value at or below `target`; `inf` if there is none."""
        hits = np.flatnonzero(self.value <= target)
        return float(self.cost[hits[0]]) if hits.size else math.inf


def check_axis(axis: str, curves: pd.DataFrame) -> str:
    """`axis` itself if the curves have that cost.

    Raises:
        ConfigError: naming the nearest one that they have.
    """
    known = [
        name for name in (*AXES, "forward_samples", "backward_samples", "flops", "steps") if name in curves.columns
    ]
    if axis not in known:
        raise ConfigError("axis: " + expectation("a cost of the curves", axis, suggestion(axis, known)))
    return axis


def step_curves(runs: pd.DataFrame, curves: pd.DataFrame, axis: str, metric: str = "loss") -> dict[str, StepCurve]:
    """Run key to step curve, for every one of `runs`; a run that logged nothing has an empty curve.

    Points at which the metric was not scored are left out: the value before holds.
    """
    logged = _logged(curves, axis, metric) if metric in curves.columns else {}
    empty = np.empty(0), np.empty(0)
    reasons = runs["stop_reason"] if "stop_reason" in runs.columns else pd.Series("", index=runs.index)
    found = {}
    for run, status, reason in zip(runs["run"], runs["status"], reasons, strict=True):
        cost, value = logged.get(str(run), empty)
        found[str(run)] = StepCurve(
            cost,
            value,
            worst(metric),
            failed=str(status) != "ok" or cost.size == 0,
            carried=str(reason) in _CARRIED,
        )
    return found


def _logged(curves: pd.DataFrame, axis: str, metric: str) -> dict[str, tuple[Floats, Floats]]:
    scored = curves[["run", axis, metric]].dropna()
    codes, keys = pd.factorize(scored["run"])
    cost, value = scored[axis].to_numpy(dtype=float), scored[metric].to_numpy(dtype=float)
    order = np.lexsort((cost, codes))
    ends = np.cumsum(np.bincount(codes, minlength=len(keys)))
    parts = [(cost[part], value[part]) for part in np.split(order, ends[:-1])]
    return {str(key): part for key, part in zip(keys, parts, strict=False)}


def own_end(curves: Sequence[StepCurve]) -> float:
    """Cost up to which every run has a value; the last logged cost if no budget limits any of them."""
    limited = [curve.reach for curve in curves if math.isfinite(curve.reach)]
    return min(limited) if limited else max((curve.end for curve in curves), default=0.0)


def any_cost(curves: pd.DataFrame) -> str:
    """A cost column of the curves, for what depends on their order alone."""
    return next(name for name in ("evaluations", "forward_equivalents", "steps", "seconds") if name in curves.columns)


def log_costs(low: float, high: float, points: int) -> Floats:
    """`(points,)` log-spaced costs from `low` to exactly `high`; just `high` if there is no room between."""
    if not 0 < low < high or points < 2:
        return np.array([high])
    grid = np.geomspace(low, high, points)
    grid[0], grid[-1] = low, high  # rounding may leave the range, and there is no value beyond a run's end
    return grid


def curve_table(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    axis: str = "forward_equivalents",
    metric: str = "loss",
    *,
    points: int = 50,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Median step curve of every arm with its interval, over cost.

    Between two logged points a run has the value of the earlier one. A run counts up to its own end; one
    that stopped by its own decision keeps its last value, one that failed keeps the worst value from its
    end on. An arm's curve ends where its first run reaches its budget, so that no median is taken over
    survivors. The interval is pointwise (percentile bootstrap over runs).

    Args:
        runs: one row a run.
        curves: one row a logged point.
        axis: the cost, a unit of the ledger.
        metric: `loss` or a score of the curves.
        points: log-spaced costs of an arm, from the cell's first logged cost to the arm's own end. Where its
            runs were logged at few enough common costs, those are used instead and the curve is exact.
        level: of the interval.
        seed: of the bootstrap.

    Returns:
        One row per cell, optimizer and cost: `problem`, the grid columns, `cell`, `optimizer`, `cost`,
        `median`, `low`, `high`, `n` runs, `failed` of them.

    Raises:
        ConfigError: an axis or a metric that the curves do not have, or seconds that runs share.
    """
    check_axis(axis, curves)
    if not comparable(runs, axis):
        got = f"`{axis}`, which repeats that were trained together share"
        raise ConfigError("axis: " + expectation("a cost that each run has spent by itself", got, "Use evaluations."))
    if metric not in curves.columns:
        raise ConfigError(
            "metric: " + expectation("a column of the curves", metric, suggestion(metric, map(str, curves.columns)))
        )
    every = step_curves(runs, curves, axis, metric)
    tables = []
    for cell, rows in split_cells(runs):
        members = {name: [every[str(run)] for run in group["run"]] for name, group in arms(rows)}
        tables += _cell_tables(cell, members, points, level, seed)
    columns = ["problem", "cell", "optimizer", "cost", "median", "low", "high", "n", "failed"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _costs(group: Sequence[StepCurve], low: float, end: float, points: int) -> Floats:
    """Every logged cost where the runs share them, so that no step is moved; else log-spaced ones."""
    logged = np.unique(np.concatenate([[low, end], *(curve.cost for curve in group)]))
    logged = logged[(logged >= low) & (logged <= end)]
    return logged if len(logged) <= 2 * points else log_costs(low, end, points)


def _cell_tables(
    cell: Cell, members: Mapping[str, list[StepCurve]], points: int, level: float, seed: int
) -> list[pd.DataFrame]:
    starts = [float(c.cost[c.cost > 0][0]) for group in members.values() for c in group if (c.cost > 0).any()]
    tables = []
    for optimizer, group in members.items():
        end = own_end(group)
        if not starts or end <= 0:
            continue
        cost = _costs(group, min(starts), end, points)
        median, low, high = median_band(np.stack([curve.at(cost) for curve in group]), level, seed)
        tables.append(
            pd.DataFrame(
                {
                    "problem": cell.problem,
                    **dict(cell.grid),
                    "cell": cell.label,
                    "optimizer": optimizer,
                    "cost": cost,
                    "median": median,
                    "low": low,
                    "high": high,
                    "n": len(group),
                    "failed": sum(curve.failed for curve in group),
                }
            )
        )
    return tables
