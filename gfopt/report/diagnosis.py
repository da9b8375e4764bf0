"""What `gfopt diagnose` prints of one problem: a table of its layers, and what its network does not see."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from rich.table import Table
from rich.text import Text

# Quantities of a layer: heading, and whether it is a share.
_COLUMNS = {
    "gradient_norm": ("|dL/dz|", False),
    "weight_gradient_norm": ("|dL/dW|", False),
    "saturation_fraction": ("saturated", True),
    "dead_share": ("dead", True),
    "fitness_spread": ("spread", False),
    "tie_share": ("ties", True),
}
_BY_NAME = ("fitness_spread", "tie_share")  # counted in declared order; the others in the order of execution
LEGEND = (
    "|dL/dz|, |dL/dW|: gradient of the loss with respect to a layer's pre-activations and weights. saturated: share of "
    "its activations with a slope below 0.01; dead: share of units that pass nothing on. spread, ties: standard "
    "deviation and share of equal losses when this layer alone is perturbed. Medians over the starts."
)


def layer_table(rows: pd.DataFrame) -> Table:
    """One line a layer, medians over the starts.

    Args:
        rows: measurements of one problem cell: `quantity`, `layer`, `name`, `value`.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown = [quantity for quantity in _COLUMNS if quantity in set(rows["quantity"])]
    table.add_column("layer", justify="right")
    table.add_column("name", overflow="fold", min_width=8)
    for quantity in shown:
        table.add_column(_COLUMNS[quantity][0], justify="right", no_wrap=True)
    for place, name, values in _layers(rows):
        cells = [_number(values.get(quantity, math.nan), share=_COLUMNS[quantity][1]) for quantity in shown]
        table.add_row(place, Text(name), *cells)
    return table


def run_line(rows: pd.DataFrame) -> str:
    """The quantities of the whole network in a sentence; empty if there are none."""
    middle = rows[rows["layer"] == 0].groupby("quantity")["value"].median()
    parts = []
    if "backward_gain" in middle:
        parts.append(f"backward gain {middle['backward_gain']:.3g} a layer")
    if "minibatch_rank_correlation" in middle:
        parts.append(f"rank correlation of minibatch and full losses {middle['minibatch_rank_correlation']:.2f}")
    return "; ".join(parts)


def invariance_table(rows: pd.DataFrame) -> Table | None:
    """Which transformations leave the outputs unchanged, `None` if that was not measured."""
    mine = rows[rows["quantity"] == "invariant"]
    if mine.empty:
        return None
    parts = mine["name"].str.rsplit(".", n=2)
    mine = mine.assign(kind=parts.str[-2], output=parts.str[-1])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("unchanged by", "a layer's own output", "the network's output"):
        table.add_column(heading)
    for kind, group in mine.groupby("kind", sort=False):
        own = group[group["output"] == "layer"].groupby("layer")["value"].median() > 0.5
        whole = group[(group["output"] == "network") & (group["layer"] == 0)]["value"]
        network = "" if whole.empty else "yes" if whole.median() > 0.5 else "no"
        table.add_row(str(kind).replace("_", " "), _which(own), network)
    return table


def _layers(rows: pd.DataFrame) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Number, name and values of each layer: in the order of execution, then what runs in no known layer."""
    mine = rows[rows["quantity"].isin(_COLUMNS) & (rows["layer"] > 0)]
    middle = mine.groupby(["quantity", "layer", "name"], sort=False)["value"].median().reset_index()
    run = middle[middle["quantity"] == "gradient_norm"]
    found: dict[tuple[int, str], dict[str, float]] = {
        (int(place), str(name)): {} for place, name in zip(run["layer"], run["name"], strict=True)
    }
    names = {name: (place, name) for place, name in reversed(found)}
    places = {place: (place, name) for place, name in found}
    for row in middle.to_dict("records"):
        quantity, place, name = str(row["quantity"]), int(row["layer"]), str(row["name"])
        key = names.get(name) if quantity in _BY_NAME else places.get(place)
        found.setdefault(key or (place, name), {}).setdefault(quantity, float(row["value"]))
    for place, name in found:
        of_execution = (place, name) in places.values() or not places
        yield (str(place) if of_execution else ""), name, found[place, name]


def _which(flags: pd.Series) -> str:
    if flags.empty or flags.all() or not flags.any():
        return "" if flags.empty else f"yes, all {len(flags)}" if flags.all() else "no"
    return "layers " + ", ".join(str(place) for place, flag in flags.items() if flag)


def _number(value: float, *, share: bool) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.0%}" if share else f"{value:.1e}" if value and not 1e-2 <= abs(value) < 1e4 else f"{value:.3g}"
