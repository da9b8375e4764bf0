"""Few sentences that say why: every check in the order of how much it explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from gfopt.analysis.finding import Finding
from gfopt.analysis.frames import arms, gradient_optimizers
from gfopt.analysis.why import drift, facts, search, signal, steps
from gfopt.analysis.why.panel import Panel, Reason, Search, panels

MOST_PER_CELL = 3  # more sentences on one network would be read as a list of numbers

CHECKS: tuple[Callable[[Panel], list[Reason]], ...] = (
    signal.vanishing,
    signal.exploding,
    search.blind,
    search.tied,
    signal.dead,
    signal.saturated,
    signal.saturating,
    steps.large,
    steps.small,
    search.noisy,
    steps.turning,
    search.converged,
    search.stuck,
    search.askew,
    drift.shifted,
    drift.drifting,
    facts.unseen,
)


def explain(diagnostics: pd.DataFrame | None, runs: pd.DataFrame | None = None) -> list[Finding]:
    """Plain sentences on what the diagnostics show, each only where its threshold trips.

    Cells that differ in the normalization alone share a sentence, and the most important sentences come first: at most
    three speak of the same cell. Values are medians over repeats; the thresholds, with their sources, are in
    `gfopt.analysis.why.thresholds`.

    Args:
        diagnostics: the long table, see `gfopt.analysis.measured.measured`; `None` or empty gives no sentences.
        runs: one row a run. They tell which optimizers use gradients (else those for which a population was measured
            do not), and of how many genes and members.

    Returns:
        Findings of the topics `why` and `fact`, panel by panel.
    """
    searches = _searches(runs)
    found = []
    for name, panel in panels(diagnostics, searches).items():
        said: Counter[str] = Counter()
        for reason in (reason for check in CHECKS for reason in check(panel)):
            if any(said[cell] < MOST_PER_CELL for cell in reason.cells):
                said.update(reason.cells)
                found.append(Finding(reason.topic, name, reason.text))
    return found


def _searches(runs: pd.DataFrame | None) -> dict[str, Search]:
    if runs is None or runs.empty:
        return {}
    gradients = gradient_optimizers(runs)
    return {
        name: Search(name in gradients, _one(rows, "dim"), _members(rows))
        for name, rows in arms(runs.astype({"optimizer": str}))
    }


def _one(rows: pd.DataFrame, column: str) -> float:
    """The value that all runs share; NaN if there is none."""
    values = set(rows[column].dropna().astype(float)) if column in rows.columns else set()
    return values.pop() if len(values) == 1 else float("nan")


def _members(rows: pd.DataFrame) -> float:
    """Median number of evaluations in a step."""
    if not {"evaluations", "steps"} <= set(rows.columns):
        return float("nan")
    each = rows["evaluations"].astype(float) / rows["steps"].astype(float).replace(0, np.nan)
    return float(each.median())
