"""Comparisons of two arms repeat by repeat: the design is paired, so the tests are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from gfopt.analysis.statistics import Floats, median_band


@dataclass(frozen=True)
class Paired:
    """A comparison of two arms over the repeats they share.

    Attributes:
        n: paired repeats.
        wins, ties: repeats in which the first had the lower loss, or the same.
        difference: median of first minus second.
        p: two-sided exact signed-rank p-value; 1 if nothing differs.
    """

    n: int
    wins: int
    ties: int
    difference: float
    p: float


def paired_comparison(x: ArrayLike, y: ArrayLike) -> Paired:
    """Compare two arms repeat by repeat, lower is better; two failed runs (both `+inf`, or both `-inf`) tie.

    Args:
        x: `(n,)` losses of the first arm.
        y: `(n,)` losses of the second arm in the same repeats.

    References:
        Wilcoxon 1945, "Individual comparisons by ranking methods".
    """
    difference = paired_difference(x, y)
    if difference.size == 0:
        return Paired(0, 0, 0, math.nan, 1.0)
    nonzero = difference[difference != 0]
    p = 1.0 if nonzero.size == 0 else _signed_rank(nonzero)
    return Paired(
        n=int(difference.size),
        wins=int(np.sum(difference < 0)),
        ties=int(np.sum(difference == 0)),
        difference=float(median_band(difference[:, None])[0][0]),
        p=p,
    )


def paired_difference(x: ArrayLike, y: ArrayLike) -> Floats:
    """`(n,)` first minus second, 0 where both are the same infinity."""
    first, second = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    same = first == second
    return np.where(same, 0.0, first) - np.where(same, 0.0, second)


def _signed_rank(difference: Floats, exact_up_to: int = 25) -> float:
    """Two-sided p of the signed-rank sum; exact with ties too, which scipy's exact method refuses."""
    doubled = np.rint(2 * stats.rankdata(np.abs(difference))).astype(int)  # mid-ranks are halves
    total, positive = int(doubled.sum()), int(doubled[difference > 0].sum())
    if difference.size > exact_up_to:
        spread = math.sqrt(float(np.sum(doubled.astype(float) ** 2)) / 4)
        return float(2 * stats.norm.sf(abs(positive - total / 2) / spread))
    ways = np.zeros(total + 1)
    ways[0] = 1
    for rank in doubled:  # number of sign patterns with each sum, rank by rank
        ways[rank:] += ways[: total + 1 - rank].copy()
    tail = ways[: min(positive, total - positive) + 1].sum() / 2.0**difference.size
    return float(min(1.0, 2 * tail))


def repeats_needed(alpha: float = 0.05) -> int:
    """Fewest paired repeats with which a signed-rank test can fall below `alpha`: `2^(1 - n) < alpha`."""
    return math.floor(1 - math.log2(alpha)) + 1


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for testing all of them together.

    References:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(np.asarray(p, dtype=float), kind="stable")
    adjusted, highest = [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - place) * float(p[index])))
        adjusted[int(index)] = highest
    return adjusted
