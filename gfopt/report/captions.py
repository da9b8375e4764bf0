"""Captions that state a figure's result in words, from the rows that the figure draws."""

from __future__ import annotations

import pandas as pd

from gfopt.analysis.frames import higher_is_better
from gfopt.analysis.wording import AXIS_WORDS, listing, metric_words, number

GRADIENT = "Gradient norm of each layer at the initialization."


def scores(rows: pd.DataFrame) -> str:
    """For each optimizer its best and its worst norm, or its one median."""
    metric = str(rows["metric"].iloc[0])
    parts = [_spread(str(name), group, metric) for name, group in rows.groupby("optimizer", sort=False)]
    return f"Median final {metric_words(metric)}: {'; '.join(parts)}."


def _spread(optimizer: str, rows: pd.DataFrame, metric: str) -> str:
    if len(rows) == 1 or rows["norm"].isna().all():
        return f"{optimizer} {listing([number(value) for value in rows['score']])}"
    ordered = rows.sort_values("score", ascending=not higher_is_better(metric), kind="stable")
    best, last = ordered.iloc[0], ordered.iloc[-1]
    low, high = (
        f"{number(last['score'])} ({_norm(last['norm'])})",
        f"{number(best['score'])} ({_norm(best['norm'])})",
    )
    return f"{optimizer} from {low} to {high}"


def _norm(norm: object) -> str:
    return "no normalization" if norm == "none" else str(norm)


def ends(rows: pd.DataFrame, axis: str, metric: str) -> str:
    """Where the median curves of a cell end.

    Args:
        rows: of `analysis.curve_table`, one cell.
        axis: the cost.
        metric: what the curves show.
    """
    parts = []
    for name, group in rows.groupby("optimizer", sort=False):
        last = group.iloc[-1]
        parts.append(f"{name} {number(last['median'])} at {number(last['cost'])}")
    unit = AXIS_WORDS[axis]
    return f"Median {metric_words(metric)} where each curve ends, cost in {unit}: {'; '.join(parts)}."


def layer_rows(profile: pd.DataFrame) -> list[list[str]]:
    """The gradient figure as a table: layer, then a value per norm."""
    heads = [None if pd.isna(norm) else norm for norm in dict.fromkeys(profile["norm"])]
    found = []
    for layer, rows in profile.groupby("layer", sort=True):
        values = [rows[rows["norm"].isna() if norm is None else rows["norm"] == norm]["value"] for norm in heads]
        found.append([str(layer), *(number(value.iloc[0]) if len(value) else "–" for value in values)])
    return found


def norm_heads(profile: pd.DataFrame) -> list[str]:
    """The column heads of `layer_rows`, without the layer's."""
    return ["gradient norm" if pd.isna(norm) else _norm(norm) for norm in dict.fromkeys(profile["norm"])]


def conversions(runs: pd.DataFrame) -> list[str]:
    """What a backward pass costs in each problem, as measured."""
    if "backward_equivalents" not in runs.columns:
        return []
    found = []
    for problem, rows in runs.groupby("problem", sort=False):
        ratios = rows["backward_equivalents"].dropna()
        ratios = ratios[ratios > 0]
        if len(ratios):
            low, high = number(ratios.min()), number(ratios.max())
            found.append(f"{problem}: {low if low == high else f'{low} to {high}'}")
    return found
