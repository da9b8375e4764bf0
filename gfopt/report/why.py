"""The section that says why: sentences from the diagnostics, and every measured quantity as a figure to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gfopt import analysis
from gfopt.analysis.finding import Finding
from gfopt.analysis.measured import START, all_trajectories, meaning, measured_ends
from gfopt.analysis.wording import number
from gfopt.report import why_figures
from gfopt.report.style import norm_key, norm_looks

GRADIENT = "gradient_norm"  # before training it has a picture of its own beside the final scores


@dataclass(frozen=True)
class Reasons:
    """The sentences on one panel, or several that agree: what makes it hard to train, and what is worth knowing."""

    panel: str
    causes: list[str]
    facts: list[str]


@dataclass(frozen=True)
class Why:
    """What the section offers.

    Attributes:
        reasons: by panel; panels without a sentence are left out.
        panels, optimizers: choices in order; their places are the first and last part of a figure's key.
        quantities: name to words, the middle part of the key.
        meanings: quantity to what it is, in one line.
        specs: `"<place of the panel>|<quantity>|<place of the optimizer>"` to facets and caption.
        rows: the table: quantity, cell, optimizer, then first and last values of the first and the last layer.
    """

    reasons: list[Reasons]
    panels: list[str]
    optimizers: list[str]
    quantities: dict[str, str]
    meanings: dict[str, str]
    specs: dict[str, Any]
    rows: list[list[str]]


def why(diagnostics: pd.DataFrame | None, runs: pd.DataFrame) -> Why | None:
    """The section; `None` where nothing was measured that the page does not show already, and nothing stands out."""
    found = analysis.explain(diagnostics, runs)
    tables = all_trajectories(diagnostics)
    if GRADIENT in tables:
        tables[GRADIENT] = tables[GRADIENT][tables[GRADIENT]["optimizer"] != ""]
    tables = {name: table for name, table in tables.items() if not table.empty}
    reasons = _reasons(found)
    norms = norm_looks(norm_key(norm) for table in tables.values() for norm in table["norm"].unique())
    panels = list(dict.fromkeys(panel for table in tables.values() for panel in table["panel"]))
    optimizers = list(dict.fromkeys(name for table in tables.values() for name in table["optimizer"]))
    specs = {
        f"{panels.index(str(panel))}|{quantity}|{optimizers.index(str(optimizer))}": spec
        for quantity, table in tables.items()
        for (panel, optimizer), rows in table.groupby(["panel", "optimizer"], sort=False)
        if (spec := why_figures.spec(rows, quantity, norms))
    }
    if not reasons and not specs:
        return None
    return Why(
        reasons,
        panels,
        [name or START for name in optimizers],
        {name: name.replace("_", " ") for name in tables},
        {name: meaning(name) for name in tables},
        specs,
        _rows(measured_ends(tables)),
    )


def _reasons(found: Sequence[Finding]) -> list[Reasons]:
    """The sentences by panel; panels of which the same is said share them."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for panel in dict.fromkeys(f.panel for f in found):
        alike.setdefault(tuple((f.topic, f.text) for f in found if f.panel == panel), []).append(panel)
    return [
        Reasons("; ".join(panels), *([text for kind, text in said if kind == topic] for topic in ("why", "fact")))
        for said, panels in alike.items()
    ]


def _rows(table: pd.DataFrame) -> list[list[str]]:
    return [
        [
            row["quantity"].replace("_", " "),
            row["cell"],
            row["optimizer"] or START,
            _change(row, "lowest", by_layer=row["highest_layer"] > 0),
            _change(row, "highest", by_layer=True) if row["highest_layer"] > row["lowest_layer"] else "",
        ]
        for row in table.to_dict("records")
    ]


def _change(row: Mapping[Any, Any], end: str, *, by_layer: bool) -> str:
    """`layer 1: 0.14 to 0.2`, or one number where there is one point."""
    first, last = number(row[f"{end}_first"]), number(row[f"{end}_last"])
    layer = f"layer {row[f'{end}_layer']}: " if by_layer else ""
    return layer + (f"{first} to {last}" if row["steps"] > 1 else first)
