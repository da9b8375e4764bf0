"""Figures as plain dicts for plotly.js: they draw what analysis computed."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gfopt.analysis.frames import arms, final_values, higher_is_better, worst
from gfopt.analysis.wording import AXIS_TITLES, interval, metric_title, number, plural
from gfopt.report.style import Look, norm_key, norm_label

Figure = dict[str, Any]

_FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1f24"}
_GRID = {"gridcolor": "#e3e6ea", "zeroline": False, "linecolor": "#9aa1a9", "automargin": True}


def safe(label: object) -> str:
    """Text for plotly, which reads `<b>` and `<a href=...>` in labels as markup."""
    return html.escape(str(label), quote=False)


def score_figure(
    summary: pd.DataFrame,
    runs: Mapping[tuple[str, str], pd.DataFrame],
    norms: Mapping[str, Look],
    height: int = 400,
) -> Figure:
    """Final headline score of every optimizer: median and interval per norm, single runs as faint dots.

    Args:
        summary: the rows of one panel.
        runs: (cell label, optimizer) to the runs behind a row.
        norms: how each norm is drawn; without a norm, the one look of key `""`.
        height: pixels.
    """
    metric = str(summary["metric"].iloc[0])
    optimizers = list(dict.fromkeys(summary["optimizer"]))
    present = [name for name in norms if name in {norm_key(norm) for norm in summary["norm"]}]
    data, shown = [], []
    for place, norm in enumerate(present):
        rows = summary[[norm_key(value) == norm for value in summary["norm"]]]
        offset = (place - (len(present) - 1) / 2) * 0.8 / len(present)
        x = [optimizers.index(name) + offset for name in rows["optimizer"]]
        data += _marks(rows, x, norm, norms[norm])
        # beside their median, which would hide them
        dots = [
            (position + 0.25 / len(present), runs[cell, name])
            for position, cell, name in zip(x, rows["cell"], rows["optimizer"], strict=True)
        ]
        data += _dots(dots, metric, norms[norm], norm)
        shown += [value for _, group in dots for value in final_values(group, metric)]
    drawn = base_layout(height, "optimizer", metric_title(metric), len(present))
    lost = summary.groupby("optimizer", sort=False)[["n", "ok"]].sum()
    labels = [
        safe(o) + (f"<br>({n - ok} failed)" if (n := int(lost.loc[o, "n"])) > (ok := int(lost.loc[o, "ok"])) else "")
        for o in optimizers
    ]
    drawn["xaxis"] |= {
        "tickvals": list(range(len(optimizers))),
        "ticktext": labels,
        "range": [-0.6, len(optimizers) - 0.4],
    }
    drawn["yaxis"] |= _scale(metric, shown)
    drawn["showlegend"] = len(present) > 1
    return {"data": data, "layout": drawn}


def _marks(rows: pd.DataFrame, x: Sequence[float], norm: str, look: Look) -> list[Figure]:
    score, low, high = (significant(rows[name]) for name in ("score", "score_low", "score_high"))
    text = [
        f"{safe(row['optimizer'])}, {safe(norm_label(norm))}<br>median {number(row['score'])} "
        f"{interval(row['score_low'], row['score_high'])}<br>{row['ok']} of {row['n']} runs ok"
        for row in rows.to_dict("records")
    ]
    error = {
        "type": "data",
        "symmetric": False,
        "thickness": 2,
        "width": 4,
        "array": [_gap(a, b) for a, b in zip(high, score, strict=True)],
        "arrayminus": [_gap(a, b) for a, b in zip(score, low, strict=True)],
    }
    marker = {"color": look.colour, "symbol": look.symbol, "size": 11, "line": {"color": "#fff", "width": 1}}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": list(x),
            "y": score,
            "error_y": error,
            "marker": marker,
            "name": safe(norm_label(norm)),
            "legendgroup": norm,
            "text": text,
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]


def _dots(dots: Sequence[tuple[float, pd.DataFrame]], metric: str, look: Look, norm: str) -> list[Figure]:
    x, y, text, symbols = [], [], [], []
    for position, group in dots:
        values = final_values(group, metric)
        for value, repeat, status in zip(values, group["repeat"], group["status"], strict=True):
            x.append(position)
            y.append(value if math.isfinite(value) else None)
            text.append(f"repeat {repeat}: {number(value)} ({safe(status)})")
            symbols.append("circle" if status == "ok" else "x")
    marker = {"color": look.faint(0.45), "size": 5, "symbol": symbols}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": x,
            "y": y,
            "marker": marker,
            "text": text,
            "hovertemplate": "%{text}<extra></extra>",
            "legendgroup": norm,
            "showlegend": False,
        }
    ]


def gradient_figure(profile: pd.DataFrame, norms: Mapping[str, Look], height: int = 400) -> Figure:
    """Gradient norm per layer at the initialization on a log axis, one line per norm.

    Args:
        profile: rows of `analysis.gradient_profile` of one panel.
        norms: as in `score_figure`.
        height: pixels.
    """
    data = []
    for norm in [name for name in norms if name in {norm_key(value) for value in profile["norm"]}]:
        rows = profile[[norm_key(value) == norm for value in profile["norm"]]]
        look = norms[norm]
        positive = [value if value > 0 else None for value in rows["value"]]
        text = [f"layer {row['layer']} {safe(row['name'])}: {number(row['value'])}" for row in rows.to_dict("records")]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": rows["layer"].tolist(),
                "y": positive,
                "name": safe(norm_label(norm)),
                "text": text,
                "line": {"color": look.colour, "dash": look.dash, "width": 2},
                "marker": {"color": look.colour, "symbol": look.symbol, "size": 8},
                "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
            }
        )
    drawn = base_layout(height, "layer (1 is next to the input)", "gradient norm of dL/dz", len(data))
    drawn["yaxis"] |= {"type": "log", "exponentformat": "power", "dtick": None, "nticks": 8}
    drawn["xaxis"] |= {"dtick": max(1, math.ceil(profile["layer"].max() / 12))}
    drawn["showlegend"] = len(data) > 1
    return {"data": data, "layout": drawn}


def convergence_figure(
    table: pd.DataFrame,
    singles: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    axis: str,
    metric: str,
    looks: Mapping[str, Look],
    height: int = 460,
    *,
    bands: bool = True,
) -> Figure:
    """Median step curve with its band for every optimizer of a cell, single runs as thin lines.

    Args:
        table: rows of `analysis.curve_table` of one cell.
        singles: optimizer to `(cost, value)` of its runs; may be empty.
        axis: the cost.
        metric: what the curves show.
        looks: how each optimizer is drawn.
        height: pixels.
        bands: whether bands are drawn; many of them hide the curves.
    """
    # what is infinite has no place on the axis: a band that is open above ends at the highest value shown
    values = table[["median", "low", "high"]].to_numpy(dtype=float)
    known = values[np.isfinite(values)]
    limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    data: list[Figure] = []
    for optimizer, rows in arms(table):
        look = looks[optimizer]
        data += [_thin(cost, value, look, optimizer) for cost, value in singles.get(optimizer, ())]
        data += _band(rows, limits, look, optimizer) if bands else []
        data += _line(rows, look, optimizer)
    drawn = base_layout(height, AXIS_TITLES[axis], metric_title(metric))
    drawn["xaxis"] |= {"type": "log", "exponentformat": "power", "nticks": 8}
    drawn["yaxis"] |= _scale(metric, known.tolist())
    return {"data": data, "layout": drawn}


def _line(rows: pd.DataFrame, look: Look, optimizer: str) -> list[Figure]:
    """The median as steps, and the mark at its end that also stands for it in the legend."""
    n, lost = int(rows["n"].iloc[0]), int(rows["failed"].iloc[0])
    band = list(zip(rows["median"], rows["low"], rows["high"], strict=True))
    name = safe(optimizer) + (f" ({lost} of {n} failed)" if lost else "")
    common = {
        "type": "scatter",
        "legendgroup": optimizer,
        "name": name,
        "hovertemplate": "%{text}<br>cost %{x:.3g}<extra>%{fullData.name}</extra>",
        "line": {"color": look.colour, "dash": look.dash, "width": 2.5, "shape": "hv"},
    }
    text = [f"{number(m)} {interval(low, high)}, {plural(n, 'run')}" for m, low, high in band]
    cost, median = significant(rows["cost"]), significant(rows["median"])
    end = {"mode": "lines+markers", "marker": {"color": look.colour, "symbol": look.symbol, "size": 11}}
    return [
        common | {"mode": "lines", "x": cost, "y": median, "text": text, "showlegend": False},
        common | end | {"x": cost[-1:], "y": median[-1:], "text": text[-1:]},
    ]


def _thin(cost: Sequence[float], value: Sequence[float], look: Look, optimizer: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": significant(cost),
        "y": significant(value),
        "legendgroup": optimizer,
        "showlegend": False,
        "line": {"color": look.faint(0.3), "width": 1, "shape": "hv"},
        "hoverinfo": "skip",
    }


def _band(rows: pd.DataFrame, limits: tuple[float, float], look: Look, optimizer: str) -> list[Figure]:
    rows = rows[rows["low"].notna() & rows["high"].notna()]
    if rows.empty:
        return []
    # corners of the step function there and back: plotly's own fill interpolates between points
    cost = np.repeat(rows["cost"].to_numpy(dtype=float), 2)[1:]
    low, high = (np.clip(np.repeat(rows[side].to_numpy(dtype=float), 2)[:-1], *limits) for side in ("low", "high"))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": significant([*cost, *cost[::-1]]),
            "y": significant([*high, *low[::-1]]),
            "fill": "toself",
            "fillcolor": look.faint(0.15),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "legendgroup": optimizer,
            "showlegend": False,
        }
    ]


def _scale(metric: str, values: Sequence[float]) -> Figure:
    """A share of rows is drawn from 0 to 1, losses over several orders of magnitude on a log axis."""
    if higher_is_better(metric) and worst(metric) == 0:
        return {"range": [-0.02, 1.02]}
    known = [value for value in values if math.isfinite(value)]
    if known and not higher_is_better(metric) and min(known) > 0 and max(known) / min(known) > 50:
        return {"type": "log", "exponentformat": "power", "nticks": 8}
    return {}


def base_layout(height: int, x: str, y: str, entries: int = 0) -> Figure:
    """What all figures share; each four `entries` of a legend beyond the first four add a row to the height."""
    return {
        "height": height + 22 * max(0, math.ceil(entries / 4) - 1),
        "margin": {"l": 60, "r": 16, "t": 16, "b": 50},
        "font": _FONT,
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "xaxis": {"title": {"text": safe(x)}, **_GRID},
        "yaxis": {"title": {"text": safe(y), "standoff": 12}, **_GRID},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
    }


def significant(values: Any, digits: int = 5) -> list[float | None]:
    """The values with 5 significant digits, more than a picture shows; `None` for what is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def _gap(first: float | None, second: float | None) -> float:
    return 0.0 if first is None or second is None else abs(first - second)
