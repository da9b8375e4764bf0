"""The gradient that each layer receives at the initialization, from the diagnostics table."""

from __future__ import annotations

import pandas as pd

from gfopt.analysis.frames import split_cells
from gfopt.analysis.measured import at_start, measured

_PROFILE = ["problem", "panel", "cell", "norm", "layer", "name", "value", "low", "high", "n"]


def gradient_profile(diagnostics: pd.DataFrame | None, quantity: str = "gradient_norm") -> pd.DataFrame:
    """Median over repeats of a per-layer quantity before training, with its smallest and largest repeat.

    Args:
        diagnostics: long table: `problem`, its grid columns, `repeat`, `quantity`, `layer` (1 is next to
            the input), `name`, `value`.
        quantity: which of them.

    Returns:
        One row per cell and layer: `problem`, `panel`, `cell`, `norm`, `layer`, `name`, `value`, `low`,
        `high`, `n` repeats. Layers whose value is missing are left out.
    """
    rows = []
    for cell, members in split_cells(at_start(measured(diagnostics, quantity))):
        for layer, group in members.groupby("layer", sort=True):
            value = group["value"]
            rows.append(
                {
                    "problem": cell.problem,
                    "panel": cell.panel,
                    "cell": cell.label,
                    "norm": cell.norm,
                    "layer": int(str(layer)),
                    "name": str(group["name"].iloc[0]),
                    "value": float(value.median()),
                    "low": float(value.min()),
                    "high": float(value.max()),
                    "n": len(value),
                }
            )
    return pd.DataFrame(rows, columns=_PROFILE)


def gradient_ratio(diagnostics: pd.DataFrame | None, quantity: str = "gradient_norm") -> pd.DataFrame:
    """How much of the last layer's gradient reaches the first: one row per cell with at least two layers.

    Returns:
        `problem`, `panel`, `cell`, `norm`, `layers` (number of layers), `ratio` (first layer over last,
        each the median over repeats; NaN if the last is 0).
    """
    rows = []
    for _, group in gradient_profile(diagnostics, quantity).groupby("cell", sort=False):
        if len(group) < 2:
            continue
        first, last = group.iloc[0], group.iloc[-1]
        rows.append(
            {
                "problem": first["problem"],
                "panel": first["panel"],
                "cell": first["cell"],
                "norm": first["norm"],
                "layers": len(group),
                "ratio": float(first["value"] / last["value"]) if last["value"] else float("nan"),
            }
        )
    return pd.DataFrame(rows, columns=["problem", "panel", "cell", "norm", "layers", "ratio"])
