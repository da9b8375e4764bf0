"""The convergence section: every cell, metric and cost axis as a figure of its own, chosen on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gfopt import analysis
from gfopt.analysis.frames import AXES, arms, comparable
from gfopt.analysis.wording import AXIS_WORDS, metric_words
from gfopt.report import captions, figures
from gfopt.report.style import Look

MOST_BANDS = 12  # optimizers of a cell: more bands than that hide each other
MOST_SINGLE_RUNS = 600  # thin lines of more runs would make the page larger than its figures are worth
MOST_POINTS = 60_000  # of median curves, over all cells, axes and metrics

Singles = Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]]


@dataclass(frozen=True)
class Convergence:
    """What the section offers.

    Attributes:
        cells: labels in order; their place is the first part of a figure's key.
        metrics: column to words.
        axes: column to words.
        specs: `"<place of the cell>|<metric>|<axis>"` to figure and caption.
        single_runs: whether single runs are drawn.
        bands: whether the medians have their bands.
    """

    cells: list[str]
    metrics: dict[str, str]
    axes: dict[str, str]
    specs: dict[str, Any]
    single_runs: bool
    bands: bool


def convergence(runs: pd.DataFrame, curves: pd.DataFrame, looks: Mapping[str, Look]) -> Convergence | None:
    """Figures of the median curves with their captions; `None` where nothing was logged."""
    cells = analysis.split_cells(runs)
    known = [axis for axis in AXES if axis in curves.columns]
    axes = {axis: AXIS_WORDS[axis] for axis in known if any(comparable(rows, axis) for _, rows in cells)}
    metrics = _metrics(runs, curves)
    number = sum(len(arms(rows)) for _, rows in cells) * len(axes) * len(metrics)
    if not number or curves.empty:
        return None
    points = max(12, min(50, MOST_POINTS // number))
    bands = max(len(arms(rows)) for _, rows in cells) <= MOST_BANDS
    single_runs = bands and len(runs) <= MOST_SINGLE_RUNS
    specs: dict[str, Any] = {}
    for metric in metrics:
        for axis in axes:
            shown = [(place, cell, rows) for place, (cell, rows) in enumerate(cells) if comparable(rows, axis)]
            drawn = runs[runs["run"].isin([run for _, _, rows in shown for run in rows["run"]])]
            table = analysis.curve_table(drawn, curves, axis, metric, points=points)
            every = analysis.step_curves(runs, curves, axis, metric)
            for place, cell, rows in shown:
                mine = table[table["cell"] == cell.label]
                if np.isfinite(mine["median"].to_numpy(dtype=float)).any():
                    singles = _singles(rows, every) if single_runs else {}
                    figure = figures.convergence_figure(mine, singles, axis, metric, looks, bands=bands)
                    specs[f"{place}|{metric}|{axis}"] = figure | {"caption": captions.ends(mine, axis, metric)}
    labels = [cell.label for cell, _ in cells]
    return Convergence(labels, metrics, axes, specs, single_runs, bands) if specs else None


def _metrics(runs: pd.DataFrame, curves: pd.DataFrame) -> dict[str, str]:
    """The loss, and the headline score of each problem whose curves have it."""
    heads = [analysis.headline(rows) for _, rows in runs.groupby("problem", sort=False)]
    known = [name for name in dict.fromkeys([*heads, "loss"]) if name in curves.columns and curves[name].notna().any()]
    return {name: metric_words(name) for name in known}


def _singles(rows: pd.DataFrame, every: Mapping[str, analysis.StepCurve]) -> Singles:
    found: dict[str, list[tuple[Sequence[float], Sequence[float]]]] = {}
    for optimizer, group in arms(rows):
        steps = [every[str(run)] for run in group["run"]]
        # a log axis has no place for the start at cost 0
        found[optimizer] = [
            (s.cost[s.cost > 0].tolist(), s.value[s.cost > 0].tolist()) for s in steps if s.cost.size > 1
        ]
    return found
