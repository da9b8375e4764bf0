"""How the table of diagnostics is read: what was measured at the starts, and along which run."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from gfopt.analysis.frames import split_cells
from gfopt.diagnostics.quantities import INVARIANT, QUANTITIES

START = "before training"  # stands for an optimizer where a number belongs to none
_ADDED = {"optimizer": "", "run": "", "name": "", "step": 0, "forward_equivalents": 0.0, "layer": 0, "repeat": 0}
_TRAJECTORY = ["panel", "cell", "norm", "optimizer", "layer", "name", "step", "cost", "value", "low", "high", "n"]


def measured(diagnostics: pd.DataFrame | None, quantity: str | None = None) -> pd.DataFrame:
    """The rows with a number, with every column that older tables lack.

    Args:
        diagnostics: long table: `problem`, its grid columns, `repeat`, `optimizer` and `run` (empty for the starts),
            `step`, `forward_equivalents`, `quantity`, `layer`, `name`, `value`.
        quantity: only this one.

    Returns:
        The same table without the rows whose value is missing; infinite values stay.
    """
    if diagnostics is None or diagnostics.empty:
        return pd.DataFrame(columns=["problem", "quantity", "value", *_ADDED])
    table = diagnostics[diagnostics["value"].notna()].copy()
    if quantity is not None:
        table = table[table["quantity"].astype(str) == quantity]
    for column, empty in _ADDED.items():
        given = table[column] if column in table.columns else pd.Series(empty, index=table.index)
        filled = given.astype(object).where(given.notna(), empty)
        table[column] = filled.astype(str) if isinstance(empty, str) else pd.to_numeric(filled)
    return table.assign(quantity=table["quantity"].astype(str), value=table["value"].astype(float))


def at_start(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that were measured before any training, and belong to no optimizer."""
    return table[table["optimizer"] == ""]


def along(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that were measured along a run."""
    return table[table["optimizer"] != ""]


def recorded_quantities(diagnostics: pd.DataFrame | None) -> list[str]:
    """The quantities that have numbers, in the order of `QUANTITIES`; names that it does not know come last."""
    present = list(dict.fromkeys(measured(diagnostics)["quantity"]))
    known = [name for name in QUANTITIES if name in present and name != INVARIANT]
    return known + [name for name in present if name not in QUANTITIES]


def meaning(quantity: str) -> str:
    """What a quantity is, in one line, with its unit; its own name where it is unknown."""
    known = QUANTITIES.get(quantity)
    if known is None:
        return f"{quantity}."
    unit = f" ({known.unit})" if known.unit not in ("1", "share", "0 or 1") else ""
    return f"{known.meaning[:1].upper()}{known.meaning[1:]}{unit}."


def title(quantity: str) -> str:
    """A quantity with its unit, for an axis."""
    known, words = QUANTITIES.get(quantity), quantity.replace("_", " ")
    return f"{words} ({known.unit})" if known and known.unit != "1" else words


def trajectories(diagnostics: pd.DataFrame | None, quantity: str) -> pd.DataFrame:
    """Median over repeats of a quantity at every recorded step, with its smallest and largest repeat.

    Args:
        diagnostics: see `measured`.
        quantity: which of them.

    Returns:
        One row per cell, optimizer (empty at the starts), layer, name and step: `panel`, `cell`, `norm`, `optimizer`,
        `layer` (0 for the whole run), `name`, `step`, `cost` (median forward-equivalents), `value`, `low`, `high` and
        `n` repeats.
    """
    return _trajectories(measured(diagnostics, quantity))


def _trajectories(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["optimizer", "layer", "name", "step"]
    found = []
    for cell, members in split_cells(table):
        grouped = members.groupby(keys, sort=True)
        numbers = grouped["value"].agg(value="median", low="min", high="max", n="size")
        numbers["cost"] = grouped["forward_equivalents"].median()
        place = {"panel": cell.panel, "cell": cell.label, "norm": cell.norm}
        found.append(numbers.reset_index().assign(**place)[_TRAJECTORY])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=_TRAJECTORY)


def all_trajectories(diagnostics: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Quantity to its `trajectories`, in the order of `recorded_quantities`."""
    table = measured(diagnostics)
    return {name: _trajectories(table[table["quantity"] == name]) for name in recorded_quantities(table)}


def measured_table(diagnostics: pd.DataFrame | None) -> pd.DataFrame:
    """The first and the last number of every quantity, see `measured_ends`."""
    return measured_ends(all_trajectories(diagnostics))


def measured_ends(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The first and the last number of every quantity: what stands beside the figures.

    Args:
        tables: quantity to its `trajectories`.

    Returns:
        One row per quantity, cell and optimizer (empty at the starts): `quantity`, `panel`, `cell`, `norm`,
        `optimizer`, `steps` recorded, `lowest_layer` and `highest_layer` (0 for the whole run), and for each of the
        two layers the medians `lowest_first`, `lowest_last`, `highest_first`, `highest_last`.
    """
    rows = []
    for quantity, table in tables.items():
        for (cell, optimizer), group in table.groupby(["cell", "optimizer"], sort=False):
            ends = group.groupby("layer", sort=True)["value"].agg(["first", "last"])
            first = group.iloc[0]
            rows.append(
                {
                    "quantity": quantity,
                    "panel": first["panel"],
                    "cell": cell,
                    "norm": first["norm"],
                    "optimizer": optimizer,
                    "steps": group["step"].nunique(),
                    "lowest_layer": int(ends.index[0]),
                    "highest_layer": int(ends.index[-1]),
                    "lowest_first": float(ends["first"].iloc[0]),
                    "lowest_last": float(ends["last"].iloc[0]),
                    "highest_first": float(ends["first"].iloc[-1]),
                    "highest_last": float(ends["last"].iloc[-1]),
                }
            )
    return pd.DataFrame(rows)
