"""How much of what is possible an optimizer gains without any normalization: does it escape by itself?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from gfopt.analysis.curves import StepCurve, any_cost, step_curves
from gfopt.analysis.frames import Cell, arms, as_loss, gradient_optimizers, split_cells
from gfopt.analysis.leaders import curve_metric
from gfopt.analysis.norms import NONE

_COLUMNS = ["problem", "panel", "optimizer", "gradients", "gain", "best", "best_norm"]


def unaided_gain(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """What each optimizer gains without normalization, as a share of the best gain of its panel.

    `gain = (final - start) / (best - start)` of median headline scores, where `start` is the unnormalized
    network before training and `best` the best median final score in the panel; below 0 counts as 0.

    Args:
        runs: one row a run.
        curves: one row a logged point.

    Returns:
        One row per panel with a `none` cell and optimizer: `problem`, `panel`, `optimizer`, `gradients`,
        `gain`, and the `best` arm with its `best_norm`. A panel is left out where start or best is unknown
        or infinite, or nothing improves on the start.
    """
    rows: list[dict[str, object]] = []
    if runs.empty or curves.empty:
        return pd.DataFrame(columns=_COLUMNS)
    for _, mine in runs.groupby(runs["problem"].astype(str), sort=False):
        metric = curve_metric(mine, curves)
        every = step_curves(mine, curves, any_cost(curves), metric)
        cells = split_cells(mine)
        for cell, members in cells:
            if cell.norm == NONE:
                panel = [(other, rest) for other, rest in cells if other.panel == cell.panel]
                rows += _panel(cell, members, panel, every, metric)
    gradients = gradient_optimizers(runs)
    rows = [row | {"gradients": row["optimizer"] in gradients} for row in rows]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _panel(
    cell: Cell,
    plain: pd.DataFrame,
    panel: list[tuple[Cell, pd.DataFrame]],
    every: Mapping[str, StepCurve],
    metric: str,
) -> list[dict[str, object]]:
    def lowest(value: float) -> float:
        return float(as_loss(np.array([value]), metric)[0])

    final = {
        (other.norm, name): float(np.median([_final(every[str(run)]) for run in group["run"]]))
        for other, rest in panel
        for name, group in arms(rest)
    }
    starts = [curve.value[0] for curve in (every[str(run)] for run in plain["run"]) if curve.value.size]
    start = float(np.median(starts)) if starts else math.nan
    (best_norm, best), value = min(final.items(), key=lambda item: lowest(item[1]))
    if not math.isfinite(start) or not math.isfinite(value) or lowest(value) >= lowest(start):
        return []
    return [
        {
            "problem": cell.problem,
            "panel": cell.panel,
            "optimizer": name,
            "gain": max(0.0, (final[NONE, name] - start) / (value - start)),
            "best": best,
            "best_norm": best_norm,
        }
        for name, _ in arms(plain)
    ]


def _final(curve: StepCurve) -> float:
    return curve.worst if curve.failed else float(curve.value[-1])
