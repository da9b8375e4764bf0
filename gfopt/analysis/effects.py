"""What normalization changes: each normalized network against the same one without, repeat by repeat."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from gfopt.analysis.frames import arms, as_loss, final_values, gradient_optimizers, headline, split_cells
from gfopt.analysis.norms import NONE
from gfopt.analysis.paired import paired_comparison
from gfopt.analysis.statistics import Floats, bootstrap_interval

_COLUMNS = [
    "problem",
    "panel",
    "optimizer",
    "gradients",
    "norm",
    "metric",
    "n",
    "wins",
    "ties",
    "without",
    "with",
    "difference",
    "low",
    "high",
    "p",
]


def normalization_effect(
    runs: pd.DataFrame, *, metric: str | None = None, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Every normalization minus none, paired by repeat: same problem, optimizer and batches.

    Args:
        runs: one row a run.
        metric: what to compare; by default each problem's headline score.
        level: of the bootstrap interval of the median difference.
        seed: of the bootstrap.

    Returns:
        One row per panel, optimizer and norm: medians `without` and `with` over the paired repeats, the
        median `difference` (with minus without, in the metric's own direction) with `low` and `high`, `n`
        pairs, `wins` (repeats in which the normalized network was better), `ties`, and the signed-rank `p`.
        Empty where no norm is varied or `none` is missing.
    """
    if runs.empty:
        return pd.DataFrame(columns=_COLUMNS)
    rows, gradients = [], gradient_optimizers(runs)
    for _, mine in runs.groupby(runs["problem"].astype(str), sort=False):
        name = metric or headline(mine)
        cells = split_cells(mine)
        plain = {cell.panel: dict(arms(members)) for cell, members in cells if cell.norm == NONE}
        for cell, members in cells:
            if cell.norm in (None, NONE):
                continue
            for optimizer, group in arms(members):
                if optimizer in plain.get(cell.panel, {}):
                    found = _compare(group, plain[cell.panel][optimizer], name, level, seed)
                    rows.append(
                        {
                            "problem": cell.problem,
                            "panel": cell.panel,
                            "optimizer": optimizer,
                            "gradients": optimizer in gradients,
                            "norm": cell.norm,
                            "metric": name,
                            **found,
                        }
                    )
    return pd.DataFrame(rows, columns=_COLUMNS)


def pair(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> tuple[Floats, Floats]:
    """Final values of two arms in the repeats that both have, `(n,)` each."""
    x = pd.Series(final_values(first, metric), index=first["repeat"].to_numpy())
    y = pd.Series(final_values(second, metric), index=second["repeat"].to_numpy())
    shared = sorted(set(x.index) & set(y.index))
    return np.asarray(x.loc[shared], dtype=np.float64), np.asarray(y.loc[shared], dtype=np.float64)


def _compare(normed: pd.DataFrame, plain: pd.DataFrame, metric: str, level: float, seed: int) -> dict[str, float]:
    x, y = pair(normed, plain, metric)
    if x.size == 0:
        return {
            "n": 0,
            "wins": 0,
            "ties": 0,
            "p": 1.0,
            **dict.fromkeys(("without", "with", "difference", "low", "high"), math.nan),
        }
    outcome = paired_comparison(as_loss(x, metric), as_loss(y, metric))
    same = x == y
    change = np.where(same, 0.0, x) - np.where(same, 0.0, y)
    low, high = bootstrap_interval(change, "median", level, seed)
    return {
        "n": outcome.n,
        "wins": outcome.wins,
        "ties": outcome.ties,
        "p": outcome.p,
        "without": float(np.median(y)),
        "with": float(np.median(x)),
        "difference": _median(change),
        "low": low,
        "high": high,
    }


def _median(values: Floats) -> float:
    """Median that survives infinities of both signs in the middle: undecided is 0."""
    ordered = np.sort(values)
    first, second = float(ordered[(len(ordered) - 1) // 2]), float(ordered[len(ordered) // 2])
    return 0.0 if math.isinf(first) and first == -second else (first + second) / 2
