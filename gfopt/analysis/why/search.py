"""What selection has to go by, and what a population makes of it."""

from __future__ import annotations

import math

from gfopt.analysis.why import thresholds
from gfopt.analysis.why.panel import Arm, Panel, Reason, ends, is_number, middle, sentence, worst_first
from gfopt.analysis.wording import number, percent
from gfopt.diagnostics.quantities import (
    DIVERSITY,
    GRADIENT_COSINE,
    IMPROVING_SHARE,
    MINIBATCH_RANK_CORRELATION,
    RELATIVE_SPREAD,
    TIE_SHARE,
)


def blind(panel: Panel) -> list[Reason]:
    """First layers whose perturbation the loss hardly shows: the gradient-free form of a vanishing gradient."""
    ties = {arm.cell.label: shares for arm, shares in panel.layers_at_start(TIE_SHARE)}
    found = []
    for arm, spread in panel.layers_at_start(RELATIVE_SPREAD):
        value = float(spread.iloc[0])
        if value < thresholds.BLIND_SPREAD:
            tied = ties.get(arm.cell.label)
            same = float(tied.iloc[0]) if tied is not None else 0.0
            only = f" (only {percent(1 - same)} of those losses differ)" if same > thresholds.TIED else ""
            found.append((arm, value, f"{number(value, 2)}{only}"))
    return sentence(
        worst_first(found, high=False),
        lambda said: (
            "Gradient-free search hardly sees the first layer: the spread of the loss when it alone is perturbed, over "
            f"the last layer's, is {said}; selection there is blind."
        ),
    )


def tied(panel: Panel) -> list[Reason]:
    """Layers whose perturbations mostly leave the loss the same number, where that is not said as blindness."""
    spreads = panel.layers_at_start(RELATIVE_SPREAD)
    known = {arm.cell.label for arm, spread in spreads if spread.iloc[0] < thresholds.BLIND_SPREAD}
    found = []
    for arm, shares in panel.layers_at_start(TIE_SHARE):
        if shares.max() > thresholds.TIED and arm.cell.label not in known:
            figures = f"{percent(1 - shares.max())} for layer {shares.idxmax()}"
            found.append((arm, float(shares.max()), figures))
    return sentence(
        worst_first(found, high=True),
        lambda said: (
            f"Of the losses of candidates that differ in one layer, few are distinct: {said}; "
            "selection cannot rank the rest."
        ),
    )


def noisy(panel: Panel) -> list[Reason]:
    """Minibatches that rank candidates otherwise than the whole training set."""
    found = []
    for arm, values in panel.layers_at_start(MINIBATCH_RANK_CORRELATION):
        value = float(values.iloc[0])
        if value < thresholds.RANK_CORRELATION:
            found.append((arm, value, number(value, 2)))
    return sentence(
        worst_first(found, high=False),
        lambda said: (
            f"A minibatch ranks candidates little like the whole training set, rank correlation {said}; selection "
            "picks noise: a larger batch helps."
        ),
    )


def converged(panel: Panel) -> list[Reason]:
    """Populations that lose their diversity long before their budget is spent."""
    found = []
    for arm, rows in panel.arms(DIVERSITY):
        half = thresholds.DIVERSITY_EARLY * float(rows["forward_equivalents"].max())
        early = rows[rows["forward_equivalents"] <= half]
        if early.empty:
            continue
        first, last = ends(early).iloc[0][["first", "last"]]
        if is_number(first) and first > 0 and last / first < thresholds.DIVERSITY_LEFT:
            found.append((arm, last / first, f"{percent(last / first)} by"))
    return sentence(
        worst_first(found, high=False),
        lambda said: (
            f"The population loses its diversity in the first half of its budget; what is left of it: {said}; "
            "recombination then finds nothing new."
        ),
    )


def stuck(panel: Panel) -> list[Reason]:
    """Searches whose offspring hardly ever improve."""
    found = []
    for arm, rows in panel.arms(IMPROVING_SHARE):
        share = float(middle(rows).iloc[0])
        if share < thresholds.IMPROVING:
            found.append((arm, share, f"{percent(share)} by"))
    return sentence(
        worst_first(found, high=False),
        lambda said: f"Hardly any offspring improve on their parent: {said}; smaller mutations or a restart help.",
    )


def askew(panel: Panel) -> list[Reason]:
    """Steps of populations that have next to nothing of the gradient's direction."""
    found = []
    for arm, rows in panel.arms(GRADIENT_COSINE):
        value = float(middle(rows).iloc[0])
        if is_number(value) and value < thresholds.COSINE:
            found.append((arm, value, f"{number(value, 2)}{_expected(panel, arm)} by"))
    return sentence(
        worst_first(found, high=False),
        lambda said: f"The population's step is almost at right angles to the gradient, cosine {said}.",
    )


def expected_cosine(pairs: float, dim: float) -> float:
    """Cosine of the gradient and an evolution strategy's estimate of it: `sqrt(m / (m + n + 1))`.

    For a linear loss and `m` mirrored pairs of normal perturbations in `n` dimensions; measured values agree from
    about eight pairs on.

    Args:
        pairs: `m`.
        dim: `n`.
    """
    return math.sqrt(pairs / (pairs + dim + 1))


def _expected(panel: Panel, arm: Arm) -> str:
    """What as many evaluations can know of the gradient, where the table of runs says how many there are."""
    search = panel.searches.get(arm.optimizer)
    if search is None or not is_number(search.members) or not is_number(search.dim) or search.members < 2:
        return ""
    best = expected_cosine(search.members / 2, search.dim)
    return f" (mirrored sampling with as many evaluations: {number(best, 2)})"
