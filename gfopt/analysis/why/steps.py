"""Steps that are too small or too large for the weights they change, or that turn them less and less."""

from __future__ import annotations

import pandas as pd

from gfopt.analysis.norms import norm_kind
from gfopt.analysis.why import thresholds
from gfopt.analysis.why.panel import Arm, Panel, Reason, ends, middle, sentence, worst_first
from gfopt.analysis.wording import number
from gfopt.diagnostics.quantities import (
    DIVERSITY,
    EFFECTIVE_ANGLE,
    IMPROVING_SHARE,
    PARENTS_REPRESENTED,
    SELECTION_INTENSITY,
    STEP_SIZE,
    UPDATE_RATIO,
)

_OF_POPULATIONS = (DIVERSITY, IMPROVING_SHARE, SELECTION_INTENSITY, PARENTS_REPRESENTED, STEP_SIZE)
# Norms whose rows of weights have no size, as `Normalization.neutral` says; written out, because that needs torch.
ROW_INVARIANT = frozenset(
    {
        "batch", "ghost", "batch_renorm", "weight", "weight_mean", "centred_weight", "weight_standardization", "cosine",
        "pearson", "instance", "filter_response",
    }
)  # fmt: skip
"""Norms that divide each unit's weights by their size, or its output by its spread: only the direction counts."""


def small(panel: Panel) -> list[Reason]:
    """Backprop whose steps leave the weights as they are."""
    found = []
    for arm, rows in _backprop(panel):
        ratios = middle(rows)
        if ratios.min() < thresholds.SMALL_UPDATE:
            found.append((arm, float(ratios.min()), f"{number(ratios.min(), 2)} at layer {ratios.idxmin()} by"))
    end = "these layers stay where they started (1e-3 is usual)"
    return sentence(
        worst_first(found, high=False), lambda said: f"Steps are tiny against the weights they change: {said}; {end}."
    )


def large(panel: Panel) -> list[Reason]:
    """Backprop whose steps replace the weights."""
    found = []
    for arm, rows in _backprop(panel):
        ratios = middle(rows)
        if ratios.max() > thresholds.LARGE_UPDATE:
            found.append((arm, float(ratios.max()), f"{number(ratios.max(), 2)} at layer {ratios.idxmax()} by"))
    end = "what was learned is overwritten; a smaller learning rate helps (1e-3 is usual)"
    return sentence(
        worst_first(found, high=True), lambda said: f"Steps are large against the weights they change: {said}; {end}."
    )


def _backprop(panel: Panel) -> list[tuple[Arm, pd.DataFrame]]:
    found = panel.arms(UPDATE_RATIO)
    return [(arm, rows) for arm, rows in found if not panel.is_population(arm.optimizer, _OF_POPULATIONS)]


def turning(panel: Panel) -> list[Reason]:
    """Mutations that turn scale-invariant weights less and less while the weights grow."""
    found = []
    for arm, rows in panel.arms(EFFECTIVE_ANGLE):
        if norm_kind(arm.cell.norm or "") not in ROW_INVARIANT:
            continue
        if not panel.is_population(arm.optimizer, _OF_POPULATIONS):
            continue  # with a gradient the steps shrink because the loss gets flatter
        table = ends(rows)
        worst = table[table["first"] > 0].assign(left=lambda kept: kept["last"] / kept["first"]).nsmallest(1, "left")
        for row in worst[worst["left"] < thresholds.ANGLE_SHRINK].to_dict("records"):
            change = f"from {number(row['first'], 2)} to {number(row['last'], 2)} rad"
            found.append((arm, float(row["left"]), f"layer {row['layer']} {change} by"))
    end = (
        "the length of these rows has no effect on the output, so they grow and equal mutations turn them less, which "
        "works as a step size that falls; project_neutral holds their length"
    )
    return sentence(
        worst_first(found, high=False), lambda said: f"Mutations turn the weights less and less: {said}; {end}."
    )
