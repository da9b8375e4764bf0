import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gfopt import analysis
from gfopt.analysis.statistics import median_band
from gfopt.errors import ConfigError, DataError

losses = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=12)


def test_running_time_of_one_success_and_one_failure():
    # cocopp.toolsstats.sp([50, 100], issuccessful=[1, 0]) gives 150
    assert analysis.expected_running_time([50, 100], [True, False]) == 150


def test_running_time_of_two_stuck_runs_and_a_success_at_50():
    cost, success = [100, 100, 50], [False, False, True]
    assert analysis.expected_running_time(cost, success) == 250
    assert analysis.success_rate(1, 3)[0] == pytest.approx(1 / 3)


def test_running_time_charges_a_failure_its_own_cost():
    # a tool that charges every failure the largest budget of the study gives 450 here
    assert analysis.expected_running_time([50, 100], [True, False]) != 450
    assert analysis.expected_running_time([50, 400], [True, False]) == 450


def test_running_time_without_success_is_infinite():
    assert analysis.expected_running_time([1, 2], [False, False]) == math.inf


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=20))
@settings(max_examples=50)
def test_running_time_is_the_restart_formula(pairs):
    cost, success = np.array([c for c, _ in pairs]), np.array([s for _, s in pairs])
    if success.any():
        rate = success.mean()
        failed = cost[~success].mean() if (~success).any() else 0.0
        restart = cost[success].mean() + (1 - rate) / rate * failed
        assert analysis.expected_running_time(cost, success) == pytest.approx(restart)


@pytest.mark.parametrize(("cost", "success"), [([], []), ([1], [True, False]), ([math.nan], [False]), ([-1], [True])])
def test_running_time_refuses(cost, success):
    with pytest.raises(DataError, match="cost"):
        analysis.expected_running_time(cost, success)


@pytest.mark.parametrize(("successes", "runs"), [(0, 5), (5, 5), (2, 7), (1, 1)])
def test_success_rate_is_wilson(successes, runs):
    z, p = stats.norm.ppf(0.975), successes / runs
    middle = (p + z**2 / (2 * runs)) / (1 + z**2 / runs)
    half = z / (1 + z**2 / runs) * math.sqrt(p * (1 - p) / runs + z**2 / (4 * runs**2))
    expected = (p, max(0, middle - half), min(1, middle + half))
    assert analysis.success_rate(successes, runs) == pytest.approx(expected)


def test_no_success_in_five_does_not_mean_impossible():
    assert analysis.success_rate(0, 5)[1:] == pytest.approx((0, 0.434), abs=1e-3)


@pytest.mark.parametrize(("successes", "runs"), [(1, 0), (-1, 3), (4, 3)])
def test_success_rate_refuses(successes, runs):
    with pytest.raises(DataError, match="successes"):
        analysis.success_rate(successes, runs)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=25)
    for statistic in ("median", "mean", lambda v: float(np.std(v))):
        first = analysis.bootstrap_interval(values, statistic, seed=3)
        assert first == analysis.bootstrap_interval(values, statistic, seed=3)
        assert first != analysis.bootstrap_interval(values, statistic, seed=4)


def test_interval_ignores_and_leaves_the_global_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = analysis.bootstrap_interval([1.0, 2.0, 5.0, 9.0])
    np.random.seed(1)  # noqa: NPY002
    assert analysis.bootstrap_interval([1.0, 2.0, 5.0, 9.0]) == first
    np.random.set_state(("MT19937", before, 624, 0, 0.0))  # noqa: NPY002


@pytest.mark.parametrize("n", [5, 6, 11])
def test_interval_of_the_median_agrees_with_scipy(n):
    values = np.random.default_rng(n).lognormal(size=n)
    other = stats.bootstrap((values,), np.median, method="percentile", n_resamples=4000, rng=np.random.default_rng(1))
    low, high = analysis.bootstrap_interval(values)
    spread = np.ptp(values)
    assert low == pytest.approx(other.confidence_interval.low, abs=0.1 * spread)
    assert high == pytest.approx(other.confidence_interval.high, abs=0.1 * spread)


def test_the_median_given_as_a_function_has_the_same_interval():
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    assert analysis.bootstrap_interval(values, lambda v: float(np.median(v))) == analysis.bootstrap_interval(values)


def test_interval_of_the_median_covers():
    # n = 10: 0.94 to 0.98 by the binomial argument; a band of 10 % around a tail would cover far less
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        low, high = analysis.bootstrap_interval(rng.lognormal(size=10))
        inside += low <= 1 <= high
    assert 0.88 <= inside / 200 <= 0.995


def test_a_failed_run_opens_the_interval_to_infinity():
    low, high = analysis.bootstrap_interval([1.0, 2.0, 3.0, math.inf, math.inf])
    assert low == 1.0
    assert high == math.inf


def test_no_interval_from_one_value_or_with_nan():
    assert all(map(math.isnan, analysis.bootstrap_interval([1.0])))
    for statistic in ("median", "mean", lambda row: float(np.nanmean(row))):
        assert all(map(math.isnan, analysis.bootstrap_interval([1.0, math.nan, 2.0], statistic)))


@given(losses, st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=30)
def test_interval_follows_scale_and_shift_and_not_the_order(values, scale, shift):
    low, high = analysis.bootstrap_interval(values)
    moved = analysis.bootstrap_interval(scale * np.array(values[::-1]) + shift)
    if len(values) > 1:
        assert min(values) <= low <= high <= max(values)
        assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("options", [{"statistic": "mode"}, {"level": 1.0}, {"level": 0}])
def test_interval_refuses(options):
    with pytest.raises(ConfigError):
        analysis.bootstrap_interval([1.0, 2.0], **options)
    with pytest.raises(DataError, match="values"):
        analysis.bootstrap_interval([])


def test_median_band_is_the_interval_of_every_column():
    values = np.random.default_rng(0).normal(size=(7, 3))
    median, low, high = median_band(values)
    assert median == pytest.approx(np.median(values, axis=0))
    for column in range(3):
        assert (low[column], high[column]) == analysis.bootstrap_interval(values[:, column])


def test_critical_difference_of_demsar():
    # Demsar 2006, section 3.2.2: q = 2.569 for 4 classifiers, CD = 1.354 on 12 data sets
    assert analysis.critical_difference(4, 12, 0.05) == pytest.approx(1.3540, abs=5e-5)
    assert analysis.critical_difference(5, 3, 0.05) == pytest.approx(3.52, abs=5e-3)


@pytest.mark.parametrize("given", [(1, 5, 0.05), (3, 0, 0.05), (3, 3, 0), (3, 3, 1)])
def test_critical_difference_refuses(given):
    with pytest.raises(ConfigError):
        analysis.critical_difference(*given)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(0, 5), min_size=1, max_size=9))
@settings(max_examples=50)
def test_probability_of_improvement_is_mann_whitney(x, y):
    # U of y counts the pairs in which y is above x
    u = stats.mannwhitneyu(y, x, method="asymptotic").statistic if len(set(x + y)) > 1 else len(x) * len(y) / 2
    assert analysis.probability_of_improvement(x, y) == pytest.approx(u / (len(x) * len(y)))
    both = analysis.probability_of_improvement(x, y) + analysis.probability_of_improvement(y, x)
    assert both == pytest.approx(1)


def test_a_failed_run_never_improves():
    assert analysis.probability_of_improvement([math.nan, math.inf], [5.0]) == 0
    assert analysis.probability_of_improvement([math.nan], [math.inf]) == 0.5
    with pytest.raises(DataError):
        analysis.probability_of_improvement([], [1.0])


def test_ecdf_keeps_the_unfinished_in_the_denominator():
    cost, share = analysis.ecdf([10, math.inf, 10, 30, math.nan])
    assert cost.tolist() == [10, 30]
    assert share == pytest.approx([0.4, 0.6])
    assert analysis.ecdf([10, math.inf], at=[9.9, 10, 11])[1] == pytest.approx([0, 0.5, 0.5])
    with pytest.raises(DataError):
        analysis.ecdf([])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
@settings(max_examples=30)
def test_ecdf_without_censoring_is_scipys(costs):
    reference = stats.ecdf(costs).cdf
    cost, share = analysis.ecdf(costs)
    assert cost == pytest.approx(reference.quantiles)
    assert share == pytest.approx(reference.probabilities)
