import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gfopt.analysis import holm, paired_comparison, repeats_needed


def test_five_paired_repeats_cannot_reach_5_percent_and_six_can():
    best = [paired_comparison(np.zeros(n), np.arange(1, n + 1)).p for n in (5, 6)]
    assert best == [0.0625, 0.03125]
    assert repeats_needed(0.05) == 6


@given(st.floats(1e-6, 0.9))
def test_repeats_needed_is_the_smallest(alpha):
    n = repeats_needed(alpha)
    assert 2.0 ** (1 - n) < alpha
    assert n == 1 or 2.0 ** (2 - n) >= alpha


@given(st.lists(st.floats(-10, 10).filter(lambda v: abs(v) > 1e-6), min_size=1, max_size=12, unique_by=abs))
@settings(max_examples=40)
def test_without_ties_it_is_wilcoxons_exact_test(difference):
    expected = stats.wilcoxon(difference, method="exact").pvalue
    assert paired_comparison(difference, np.zeros(len(difference))).p == pytest.approx(expected)


@given(st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=8))
@settings(max_examples=25)
def test_with_ties_it_is_the_permutation_of_signs(difference):
    ranks = stats.rankdata(np.abs(difference))
    observed = ranks[np.array(difference) > 0].sum()
    signs = np.array(np.meshgrid(*[[0, 1]] * len(difference))).reshape(len(difference), -1)
    sums = ranks @ signs
    tail = min((sums <= observed).mean(), (sums >= observed).mean())
    assert paired_comparison(difference, np.zeros(len(difference))).p == pytest.approx(min(1, 2 * tail))


def test_many_repeats_use_the_normal_approximation():
    difference = np.random.default_rng(0).normal(0.5, 1, size=40)
    expected = stats.wilcoxon(difference, method="approx", correction=False).pvalue
    assert paired_comparison(difference, np.zeros(40)).p == pytest.approx(expected, rel=1e-9)


def test_counts_and_difference():
    found = paired_comparison([1, 2, 3, 4], [2, 2, 1, 9])
    assert (found.n, found.wins, found.ties, found.difference) == (4, 2, 1, -0.5)


def test_two_failed_runs_tie_and_one_failed_run_loses():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_comparison([math.inf, 1.0], [math.inf, math.inf])
    assert (found.wins, found.ties) == (1, 1)


def test_nothing_to_compare():
    assert paired_comparison([], []).n == 0
    assert paired_comparison([1.0, 2.0], [1.0, 2.0]).p == 1


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.lists(st.floats(-5, 5), min_size=8, max_size=8))
@settings(max_examples=30)
def test_exchanging_the_arms_exchanges_wins(x, y):
    y = y[: len(x)]
    one, other = paired_comparison(x, y), paired_comparison(y, x)
    assert (one.wins, one.p) == (other.n - other.wins - other.ties, pytest.approx(other.p))


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, running maximum
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
