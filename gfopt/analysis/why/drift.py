"""Internal covariate shift: what the steps of the layers below do to a layer."""

from __future__ import annotations

from gfopt.analysis.norms import NONE
from gfopt.analysis.why import thresholds
from gfopt.analysis.why.panel import Arm, Panel, Reason, clauses, labels, middle, sentence, worst_first
from gfopt.analysis.wording import number, percent
from gfopt.diagnostics.quantities import ICS_RELATIVE, INPUT_MEAN_DRIFT

_NOT_REDUCED = "Batch normalization need not reduce this shift (Santurkar et al. 2018)"


def shifted(panel: Panel) -> list[Reason]:
    """Layers whose gradient changes by the layers below; a fact, since networks that shift more may train better."""
    every: list[tuple[Arm, float, str]] = []
    for arm, rows in panel.arms(ICS_RELATIVE):
        shift = middle(rows)
        every.append((arm, float(shift.max()), f"{percent(shift.max())} at layer {shift.idxmax()} by"))
    tripped = worst_first([item for item in every if item[1] > thresholds.COVARIATE_SHIFT], high=True)
    if not tripped:
        return []
    what = "the step of the layers below changes a layer's gradient by this share of its size"
    text = f"Internal covariate shift: {what}: {clauses(tripped)}"
    first = tripped[0][0]
    plain = [
        value
        for arm, value, _ in every
        if arm.cell.norm == NONE != first.cell.norm and arm.optimizer == first.optimizer
    ]
    against = f" ({percent(plain[0])} by {first.optimizer} without normalization)" if plain else ""
    note = f"{_NOT_REDUCED}; at one learning rate the steps differ in size."
    return [Reason(f"{text}{against}. {note}", labels(tripped), "fact")]


def drifting(panel: Panel) -> list[Reason]:
    """Layers whose input moves far from one step to the next."""
    found = []
    for arm, rows in panel.arms(INPUT_MEAN_DRIFT):
        moves = middle(rows)
        if moves.max() > thresholds.INPUT_DRIFT:
            found.append((arm, float(moves.max()), f"{number(moves.max(), 2)} at layer {moves.idxmax()} by"))
    return sentence(
        worst_first(found, high=True),
        lambda said: (
            f"From one step to the next the means of a layer's input move by {said}, in standard deviations: "
            "the layers above chase a moving target."
        ),
        "fact",
    )
