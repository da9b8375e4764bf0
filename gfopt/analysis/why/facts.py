"""What a network does not see: the scalings and shifts that leave its output as it is."""

from __future__ import annotations

import pandas as pd

from gfopt.analysis.measured import at_start
from gfopt.analysis.why.panel import Arm, Panel, Reason, clauses, labels
from gfopt.analysis.wording import listing
from gfopt.diagnostics.quantities import INVARIANT

# The stronger of two statements stands for both.
_WEIGHTS = {"row_scale": "scaling each unit's incoming weights", "weight_scale": "scaling the weights"}
_DATA = {
    "sample_scale": "scaling each sample's inputs",
    "data_scale": "scaling all inputs",
    "sample_shift": "shifting each sample's inputs",
    "data_shift": "shifting all inputs",
}
_WEAKER = {"row_scale": "weight_scale", "sample_scale": "data_scale"}


def unseen(panel: Panel) -> list[Reason]:
    """Cells in which a transformation left the network's output unchanged in every repeat."""
    found: dict[str, list[Arm]] = {}
    for cell, tables in panel.cells:
        if INVARIANT in tables and (statement := _statement(at_start(tables[INVARIANT]))):
            found.setdefault(statement, []).append(Arm(cell))
    return [
        Reason(_text(statement, arms), labels([(arm, "") for arm in arms]), "fact") for statement, arms in found.items()
    ]


def _text(statement: str, arms: list[Arm]) -> str:
    said = clauses([(arm, "") for arm in arms], most=4).strip()
    return (
        f"{said[:1].upper()}{said[1:]}{', ' if said else ''}{statement}."
        if said
        else f"{statement[:1].upper()}{statement[1:]}."
    )


def _statement(table: pd.DataFrame) -> str:
    """Of one cell: the weights' and the data's transformations that held in every repeat; empty if none did."""
    holds = table.assign(change=_transformations(table)).groupby(["change", "layer"], sort=True)["value"].min() >= 1
    layers = {change: sorted(group) for change, group in _where(holds).items()}
    parts = []
    for change, words in _WEIGHTS.items():
        said = [place for strong, weak in _WEAKER.items() if weak == change for place in layers.get(strong, [])]
        mine = [place for place in layers.get(change, []) if place not in said and place > 0]
        if mine:
            parts.append(f"{words} in {_layers(mine)}")
    for change, words in _DATA.items():
        weaker = any(weak == change and strong in layers for strong, weak in _WEAKER.items())
        if change in layers and not weaker:
            parts.append(words)
    return f"{listing(parts)} leaves the output as it is" if parts else ""


def _transformations(table: pd.DataFrame) -> pd.Series:
    """`row_scale` of `layers.0.row_scale.network`; what is seen at the layer's own output is no fact of the network."""
    return table["name"].str.removesuffix(".network").str.split(".").str[-1]


def _where(holds: pd.Series) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in holds[holds].reset_index().itertuples():
        found.setdefault(str(row.change), []).append(int(str(row.layer)))
    return found


def _layers(layers: list[int]) -> str:
    """`layer 1`, `layers 1 to 8`, `layers 1 and 3`."""
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if len(layers) > 2 and layers == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layers {listing([str(layer) for layer in layers])}"
