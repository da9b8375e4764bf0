"""Figures of the diagnostics as plain dicts for plotly.js: small multiples that share their scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gfopt.analysis.measured import START, meaning, title
from gfopt.analysis.wording import AXIS_TITLES, number, plural
from gfopt.report.figures import Figure, base_layout, safe, significant
from gfopt.report.style import Look, norm_key, norm_label, shades

HEIGHT = 330
MOST_LAYERS = 8  # lines in one facet: of a deeper network the first, the last and some evenly between
_DECADES = 30  # values that span more than this factor are drawn on a log axis
_LAYER_AXIS = "layer (1 is next to the input)"
_NORM_AXIS = "normalization"
_COST_AXIS = AXIS_TITLES["forward_equivalents"].partition(":")[0] + ")"


def spec(rows: pd.DataFrame, quantity: str, norms: Mapping[str, Look]) -> dict[str, Any] | None:
    """One quantity of one panel and optimizer as `{"facets": [...], "caption": ...}`; `None` without a finite value.

    Before training: over the layers, one line per norm (one mark, where the whole network has one number). Along the
    runs: over the cost; a quantity of the whole run has one line per norm, one of the layers a facet per norm with a
    line per layer.

    Args:
        rows: of `analysis.trajectories`, one panel and optimizer.
        quantity: which.
        norms: norm to how it is drawn.
    """
    known = rows[np.isfinite(rows["value"].to_numpy(dtype=float))]
    if known.empty:
        return None
    known = known.assign(key=known["norm"].map(norm_key))
    # a layer may have several names, as one activation that is used twice
    known = known.groupby(["key", "optimizer", "layer", "step"])[["cost", "value", "n"]].median().reset_index()
    by_norm = [(name, known[known["key"] == name]) for name in norms if (known["key"] == name).any()]
    layers = sorted(int(layer) for layer in known["layer"].unique())
    notes = [meaning(quantity), "Medians over repeats."]
    if (known["optimizer"] == "").all():
        notes[1:] = [f"{START.capitalize()}; medians over repeats."]
        lines = [(name, _line(r, "layer", norms[name], norm_label(name))) for name, r in by_norm]
        if layers == [0]:  # one number for each network
            named = [line | {"x": [safe(norm_label(name) or "the network")]} for name, line in lines]
            facets = [_facet("", named, _NORM_AXIS)]
        else:
            facets = [_facet("", [line for _, line in lines], _LAYER_AXIS)]
    elif layers == [0]:
        facets = [_facet("", [_line(r, "cost", norms[name], norm_label(name)) for name, r in by_norm], _COST_AXIS)]
    else:
        facets = [_facet(norm_label(name), _layer_lines(r, layers), _COST_AXIS) for name, r in by_norm]
        notes.append(f"Light with circles: layer {layers[0]}; dark with squares: layer {layers[-1]}.")
    scale = _scale(known["value"].to_numpy(dtype=float))
    for facet in facets:
        facet["layout"]["yaxis"] |= {"title": {"text": safe(title(quantity)), "standoff": 8}, **scale}
    return {"facets": facets, "caption": " ".join(notes)}


def _line(rows: pd.DataFrame, over: str, look: Look, name: str) -> Figure:
    """One line over the layers or over the cost."""
    layers, values = rows["layer"].tolist(), rows["value"].tolist()
    text = [f"layer {layer}: {number(v)}" if layer else number(v) for layer, v in zip(layers, values, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": significant(rows[over].astype(float)),
        "y": significant(values),
        "name": safe(name),
        "text": [f"{line}, {plural(int(n), 'repeat')}" for line, n in zip(text, rows["n"], strict=True)],
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "marker": {"color": look.colour, "symbol": look.symbol, "size": 7},
        "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
    }


def _layer_lines(rows: pd.DataFrame, layers: Sequence[int]) -> list[Figure]:
    """A line per layer, darker with depth; the ends of the network have marks."""
    chosen = sorted({layers[round(place)] for place in np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS))})
    looks = dict(zip(chosen, shades(len(chosen)), strict=True))
    lines = [(layer, _line(rows[rows["layer"] == layer], "cost", looks[layer], f"layer {layer}")) for layer in chosen]
    inner = set(chosen[1:-1])
    return [line | {"mode": "lines"} if layer in inner else line for layer, line in lines if line["x"]]


def _facet(heading: str, data: list[Figure], x: str) -> Figure:
    drawn = base_layout(HEIGHT, x, "", 0 if heading else len(data))
    drawn["showlegend"] = len(data) > 1 and not heading
    drawn["margin"] |= {"t": 34 if heading else 16}
    if heading:
        drawn["title"] = {"text": safe(heading), "font": {"size": 14}, "x": 0.02, "y": 0.97}
    if x == _COST_AXIS:
        drawn["xaxis"] |= {"type": "log", "exponentformat": "power", "nticks": 6}
    elif x == _LAYER_AXIS:
        drawn["xaxis"] |= {"dtick": max(1, math.ceil(max(max(line["x"]) for line in data) / 12))}
    return {"data": data, "layout": drawn}


def _scale(values: np.ndarray) -> Figure:
    """One range for all facets, so that heights compare; a log axis where values span orders of magnitude."""
    positive = values[values > 0]
    if positive.size and (values >= 0).all() and positive.max() / positive.min() > _DECADES:
        low, high = math.log10(positive.min()), math.log10(positive.max())
        pad = 0.05 * (high - low)
        return {"type": "log", "exponentformat": "power", "nticks": 6, "range": [low - pad, high + pad]}
    low, high = float(min(values.min(), 0.0)), float(values.max())
    pad = 0.05 * (high - low or 1.0)
    return {"range": [low - pad, high + pad]}
