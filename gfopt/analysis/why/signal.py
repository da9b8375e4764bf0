"""What backprop sends through the layers: a vanishing or exploding gradient, dead units, saturation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gfopt.analysis.norms import NONE, with_norm
from gfopt.analysis.why import thresholds
from gfopt.analysis.why.panel import Arm, Panel, Reason, ends, labels, sentence, worst_first
from gfopt.analysis.wording import listing, number, percent
from gfopt.diagnostics.quantities import BACKWARD_GAIN, DEAD_SHARE, GRADIENT_NORM, SATURATION_FRACTION


@dataclass(frozen=True)
class _Flow:
    """The signal of one cell before training: gain per layer, and the first layer's over the last one's."""

    arm: Arm
    gain: float
    share: float
    first: int


def vanishing(panel: Panel) -> list[Reason]:
    """A gain that loses the signal on its way, and the normalizations with which it does not."""
    flows = _flows(panel)
    lost = [f for f in flows if f.gain < thresholds.LOW_GAIN and f.share < thresholds.LOST_SHARE]
    end = "so backprop hardly moves the first layers"
    return _flow_sentence(flows, sorted(lost, key=lambda f: f.share), "{} of the output's signal", end)


def exploding(panel: Panel) -> list[Reason]:
    """A gain that blows the signal up on its way."""
    flows = _flows(panel)
    blown = [f for f in flows if f.gain > thresholds.HIGH_GAIN and f.share > 1 / thresholds.LOST_SHARE]
    end = "so a step that suits the last layers throws the first ones far off"
    return _flow_sentence(flows, sorted(blown, key=lambda f: -f.share), "{} times the output's signal", end)


def _flows(panel: Panel) -> list[_Flow]:
    recorded = {arm.cell.label: float(gain.iloc[0]) for arm, gain in panel.layers_at_start(BACKWARD_GAIN)}
    found = []
    for arm, norms in panel.layers_at_start(GRADIENT_NORM):
        if len(norms) > 1:
            first, last = float(norms.iloc[0]), float(norms.iloc[-1])
            share = first / last if last > 0 and math.isfinite(last) else math.nan
            gain = recorded.get(arm.cell.label, _slope(norms))
            found.append(_Flow(arm, gain, share, int(str(norms.index[0]))))
    return found


def _slope(norms: pd.Series) -> float:
    """The gain of the least-squares line through log10 of the norms, as `gfopt.diagnostics.backward_gain` defines it.

    For tables that hold the norms alone. 0 where a norm is 0, NaN where one is infinite.
    """
    values = norms.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        return math.nan
    if (values <= 0).any():
        return 0.0
    places = np.arange(len(values)) - (len(values) - 1) / 2
    return float(10.0 ** -(places @ np.log10(values) / (places @ places)))


def _flow_sentence(flows: list[_Flow], tripped: list[_Flow], share: str, end: str) -> list[Reason]:
    if not tripped:
        return []
    worst = tripped[0]
    received = share.format(number(worst.share, 2))
    text = (
        f"Before training, backward gain {number(worst.gain, 2)} per layer {with_norm(worst.arm.cell.norm)}".rstrip()
        + f": layer {worst.first} receives {received}, {end}"
    )
    likewise = [f"{number(f.gain, 2)} {f.arm.place} ({number(f.share, 2)})" for f in tripped[1:4]]
    if len(tripped) > 4:
        likewise.append(f"the like in {len(tripped) - 4} more")
    text += f"; likewise {listing(likewise)}" if likewise else ""
    return [Reason(text + _contrast(flows, tripped) + ".", labels([(f.arm, f.gain) for f in tripped]))]


def _contrast(flows: list[_Flow], tripped: list[_Flow]) -> str:
    """The norm of the same panel with the gain nearest to 1, where it is a cure: against the unnormalized cell."""
    sound = [f for f in flows if thresholds.LOW_GAIN <= f.gain <= thresholds.HIGH_GAIN and f.arm.cell.norm != NONE]
    if not sound or tripped[0].arm.cell.norm is None:
        return ""
    best = min(sound, key=lambda f: abs(math.log(f.gain)))
    plain = next((f for f in tripped if f.arm.cell.norm == NONE), tripped[0])
    return f"; {best.arm.place} the backward gain is {number(best.gain)} instead of {number(plain.gain)}"


def dead(panel: Panel) -> list[Reason]:
    """Layers of which most units pass nothing on, before training and at the end of the runs."""
    before = []
    for arm, shares in panel.layers_at_start(DEAD_SHARE):
        if shares.max() > thresholds.DEAD_SHARE:
            before.append((arm, float(shares.max()), f"{percent(shares.max())} of layer {shares.idxmax()}"))
    known = {arm.cell.label for arm, _, _ in before}
    after = []
    for arm, rows in panel.arms(DEAD_SHARE):
        worst = ends(rows).nlargest(1, "last").iloc[0]
        if worst["last"] > thresholds.DEAD_SHARE and arm.cell.label not in known:
            after.append((arm, float(worst["last"]), f"{percent(worst['last'])} of layer {worst['layer']}"))
    end = "no gradient reaches their weights, and a small mutation of them changes nothing"
    return [
        *sentence(worst_first(before, high=True), lambda said: f"Units dead before training: {said}; {end}."),
        *sentence(worst_first(after, high=True), lambda said: f"Units dead after training: {said}; {end}."),
    ]


def saturated(panel: Panel) -> list[Reason]:
    """Activations that are flat for most of their inputs before training."""
    found = []
    for arm, shares in panel.layers_at_start(SATURATION_FRACTION):
        if shares.max() > thresholds.SATURATED:
            found.append((arm, float(shares.max()), f"{percent(shares.max())} of layer {shares.idxmax()}"))
    end = "there the activation is flat: little of a gradient gets through, or of a small mutation"
    return sentence(worst_first(found, high=True), lambda said: f"Saturated before training: {said}; {end}.")


def saturating(panel: Panel) -> list[Reason]:
    """The drift into saturation along the runs."""
    found = []
    for arm, rows in panel.arms(SATURATION_FRACTION):
        worst = ends(rows).assign(growth=lambda table: table["last"] - table["first"]).nlargest(1, "growth").iloc[0]
        if worst["growth"] > thresholds.SATURATION_GROWTH:
            change = f"from {percent(worst['first'])} to {percent(worst['last'])} of its entries"
            found.append((arm, float(worst["growth"]), f"layer {worst['layer']} {change} by"))
    end = "each step there gets smaller effects than the one before"
    return sentence(worst_first(found, high=True), lambda said: f"Training drifts into saturation: {said}; {end}.")
