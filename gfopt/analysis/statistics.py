"""The definitions behind every number of a report: pure functions of arrays, with their sources.

Losses are lower-is-better everywhere. No function touches a global random number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gfopt.errors import ConfigError, DataError, expectation

Floats = NDArray[np.float64]

RESAMPLES = 2000


def expected_running_time(cost: ArrayLike, success: ArrayLike) -> float:
    """Cost of restarting runs until one succeeds: total cost over number of successes.

    Args:
        cost: `(n,)` what each run spent until its success, or until its own end if it had none. Every run
            is charged its own cost, never another run's budget.
        success: `(n,)` whether it reached the target.

    Returns:
        In the unit of `cost`; `inf` if no run succeeded.

    Raises:
        DataError: no run, unequal lengths, or a cost that is negative, infinite or NaN.

    References:
        Price 1997; Auger & Hansen 2005, "Performance evaluation of an advanced local search EA", eq. 1-3.
    """
    spent, reached = np.asarray(cost, dtype=float).ravel(), np.asarray(success, dtype=bool).ravel()
    if spent.size == 0 or spent.shape != reached.shape:
        raise DataError(
            "cost, success: " + expectation("as many of each, at least one", f"`{spent.size} and {reached.size}`")
        )
    if not np.all(np.isfinite(spent)) or np.any(spent < 0):
        raise DataError(
            "cost: " + expectation("finite numbers of at least 0", spent.tolist(), "A failed run costs what it spent.")
        )
    return float(spent.sum() / reached.sum()) if reached.any() else math.inf


def success_rate(successes: int, runs: int) -> tuple[float, float, float]:
    """Share of runs that reached the target, with its Wilson score interval.

    Returns:
        `(rate, low, high)` at 95 %.

    Raises:
        DataError: unless `0 <= successes <= runs` and `runs >= 1`.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if runs < 1 or not 0 <= successes <= runs:
        raise DataError(
            "successes, runs: " + expectation("0 <= successes <= runs with runs >= 1", f"`{successes} and {runs}`")
        )
    interval = stats.binomtest(int(successes), int(runs)).proportion_ci(confidence_level=0.95, method="wilson")
    return successes / runs, float(interval.low), float(interval.high)


@lru_cache(maxsize=64)
def _median_ranks(n: int, seed: int, resamples: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Ranks of the two middle values of each resample: they depend on `n` alone, not on the values."""
    drawn = np.sort(np.random.default_rng(seed).integers(0, n, size=(resamples, n)), axis=1)
    return drawn[:, (n - 1) // 2], drawn[:, n // 2]


def _percentiles(sample: Floats, level: float) -> tuple[Floats, Floats]:
    # order statistics rather than interpolation: between two infinite values interpolation gives NaN
    tail = (1 - level) / 2
    low, high = np.quantile(sample, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return np.asarray(low, dtype=float), np.asarray(high, dtype=float)


def median_band(values: Floats, level: float = 0.95, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Pointwise median over runs with its percentile bootstrap interval; whole runs are resampled.

    Args:
        values: `(n, m)`, one row a run. Infinite values are allowed; a column with a NaN has NaN results.
        level: coverage of the interval.
        seed: of the resampling; the same resamples of runs serve every column.

    Returns:
        `(median, low, high)`, each `(m,)`; `low` and `high` are NaN for fewer than two runs.
    """
    n, m = values.shape
    ordered = np.sort(values, axis=0)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2 if n else np.full(m, np.nan)
    if n < 2:
        return median, np.full(m, np.nan), np.full(m, np.nan)
    lower, upper = _median_ranks(n, seed, RESAMPLES)
    low, high = _percentiles((ordered[lower] + ordered[upper]) / 2, level)
    missing = np.isnan(values).any(axis=0)
    return tuple(np.where(missing, np.nan, part) for part in (median, low, high))  # type: ignore[return-value]  # three parts


def bootstrap_interval(
    values: ArrayLike,
    statistic: str | Callable[[Floats], float] = "median",
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of independent runs.

    Infinite values (a failed run's loss) are kept, so an end may be infinite. A NaN is never dropped: it
    makes both ends NaN, and so does a single value, from which no spread can be told. With fewer than 6
    values the interval of the median covers less than it says (about 0.76 at n = 3, 0.94 at n = 5 for
    `level` 0.95).

    Args:
        values: `(n,)`, one value a run.
        statistic: `"median"`, `"mean"`, or a function from `(n,)` to a number.
        level: nominal coverage, in (0, 1).
        seed: of the function's own generator; the same seed gives the same interval.

    Returns:
        `(low, high)`.

    Raises:
        ConfigError: an unknown statistic, or a level outside (0, 1).
        DataError: no values.

    References:
        Efron 1979, "Bootstrap methods: another look at the jackknife".
    """
    if not 0 < level < 1:
        raise ConfigError("level: " + expectation("a number between 0 and 1", level))
    sample = np.asarray(values, dtype=float).ravel()
    if sample.size == 0:
        raise DataError("values: " + expectation("at least one number", "`none`"))
    if not callable(statistic) and statistic not in ("median", "mean"):
        raise ConfigError("statistic: " + expectation("'median', 'mean' or a function", statistic))
    if sample.size < 2 or np.isnan(sample).any():
        return math.nan, math.nan
    if statistic == "median":
        _, low, high = median_band(sample[:, None], level, seed)
        return float(low[0]), float(high[0])
    function: Callable[[Floats], float] = statistic if callable(statistic) else lambda row: float(np.mean(row))
    drawn = np.random.default_rng(seed).integers(0, sample.size, size=(RESAMPLES, sample.size))
    low, high = _percentiles(np.array([[function(sample[row])] for row in drawn], dtype=float), level)
    return float(low[0]), float(high[0])


def critical_difference(optimizers: int, problems: int, alpha: float = 0.05) -> float:
    """Smallest difference of mean ranks that is significant after Friedman's test (Nemenyi).

    `CD = q_alpha sqrt(k (k + 1) / (6 N))`, where `q_alpha` is the studentized range quantile divided by
    `sqrt(2)`.

    Args:
        optimizers: `k`, how many are ranked, at least 2.
        problems: `N`, the blocks. Repeats of one problem are not blocks.
        alpha: family-wise error rate.

    Raises:
        ConfigError: too few of either, or `alpha` outside (0, 1).

    References:
        Demšar 2006, JMLR 7, section 3.2.2 (k = 4, N = 12, 0.05: 1.354).
    """
    if optimizers < 2 or problems < 1 or not 0 < alpha < 1:
        raise ConfigError(
            expectation("at least 2 optimizers, 1 problem, alpha in (0, 1)", (optimizers, problems, alpha))
        )
    q = float(stats.studentized_range.ppf(1 - alpha, optimizers, math.inf)) / math.sqrt(2)
    return q * math.sqrt(optimizers * (optimizers + 1) / (6 * problems))


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """Probability that a run of `x` has a lower loss than a run of `y`, ties counted half: `U / (n m)`.

    A NaN loss is a failed run and counts as `+inf`.

    Args:
        x: `(n,)` losses.
        y: `(m,)` losses, not paired with `x`.

    Raises:
        DataError: if either is empty.

    References:
        Mann & Whitney 1947; Agarwal et al. 2021, arXiv:2108.13264, section 4.
    """
    first, second = (
        np.nan_to_num(np.asarray(v, dtype=float).ravel(), nan=np.inf, posinf=np.inf, neginf=-np.inf) for v in (x, y)
    )
    if first.size == 0 or second.size == 0:
        raise DataError("x, y: " + expectation("at least one loss of each", f"`{first.size} and {second.size}`"))
    return float(np.mean((first[:, None] < second) + 0.5 * (first[:, None] == second)))


def ecdf(costs: ArrayLike, at: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Share of runs (or of run-target pairs) that were done by a given cost.

    Args:
        costs: any shape; the cost at which each was done, `inf` or NaN for never. The unfinished stay in
            the denominator.
        at: `(m,)` costs to evaluate at; by default the distinct finite `costs`.

    Returns:
        `(cost, share)`, each `(m,)`; a right-continuous step function.

    Raises:
        DataError: if `costs` is empty.
    """
    done = np.asarray(costs, dtype=float).ravel()
    if done.size == 0:
        raise DataError("costs: " + expectation("at least one", "`none`"))
    finite = np.sort(done[np.isfinite(done)])
    grid = np.unique(finite) if at is None else np.asarray(at, dtype=float).ravel()
    return grid, np.searchsorted(finite, grid, side="right") / done.size
