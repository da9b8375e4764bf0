from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.data import split_rows
from gfopt.errors import ConfigError, DataError

fractions = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.25, 1 / 3, 0.4])


@st.composite
def labels(draw: st.DrawFn, least: int = 3, most: int = 60) -> np.ndarray:
    sizes = draw(st.lists(st.integers(least, most), min_size=1, max_size=6))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(groups)


@settings(max_examples=60, deadline=None)
@given(labels(), fractions, fractions, st.integers(0, 2**40))
def test_the_parts_are_disjoint_and_exhaustive(groups, test, validation, seed):
    split = split_rows(groups, test_fraction=test, validation_fraction=validation, seed=seed)
    together = np.concatenate([split.train, split.validation, split.test])
    assert np.array_equal(np.sort(together), np.arange(len(groups)))
    assert (len(split.test) == 0) == (test == 0)
    assert (len(split.validation) == 0) == (validation == 0)


@settings(max_examples=60, deadline=None)
@given(labels(least=20), fractions, fractions, st.integers(0, 9))
def test_the_shares_of_each_class_are_within_one_row_of_exact(groups, test, validation, seed):
    split = split_rows(groups, test_fraction=test, validation_fraction=validation, seed=seed)
    shares = {"train": 1 - test - validation, "validation": validation, "test": test}
    for part, share in shares.items():
        counts = np.bincount(groups[getattr(split, part)], minlength=groups.max() + 1)
        assert (np.abs(counts - share * np.bincount(groups)) < 1 + 1e-6).all()


@settings(max_examples=60, deadline=None)
@given(labels(least=20), fractions, fractions)
def test_the_odd_rows_of_the_classes_do_not_add_up(groups, test, validation):
    split = split_rows(groups, test_fraction=test, validation_fraction=validation)
    assert abs(len(split.test) - test * len(groups)) < 2
    assert abs(len(split.validation) - validation * len(groups)) < 2


@settings(max_examples=40, deadline=None)
@given(labels(least=3, most=9), st.integers(0, 9))
def test_no_class_is_missing_from_any_part(groups, seed):
    split = split_rows(groups, test_fraction=0.2, validation_fraction=0.1, seed=seed)
    for part in (split.train, split.validation, split.test):
        assert set(groups[part]) == set(groups)


def test_whole_shares_are_exact():
    # 90 * (1 - 0.3) is 62.99999999999999 in floating point; the class of 8 leaves odd rows for the next.
    groups = np.repeat([0, 1], [8, 90])
    split = split_rows(groups, test_fraction=0.15, validation_fraction=0.15)
    assert (groups[split.train] == 1).sum() == 63


def test_the_split_depends_on_the_seed_alone():
    groups = np.arange(90) % 3
    first, again, other = (split_rows(groups, seed=seed) for seed in (1, 1, 2))
    np.random.default_rng(0).random(3)
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
        assert not np.array_equal(getattr(first, part), getattr(other, part))


def test_numpy_seeds_are_the_same_as_python_seeds():
    groups = np.zeros(30, dtype=np.int64)
    assert np.array_equal(split_rows(groups, seed=7).train, split_rows(groups, seed=np.int64(7)).train)


def test_the_rows_of_a_part_are_mixed():
    groups = np.repeat([0, 1], 50)
    assert len(set(groups[split_rows(groups).train[:20]])) == 2


def test_a_rare_class_is_named_with_its_size():
    groups = np.array([0] * 20 + [1] * 2)
    with pytest.raises(DataError, match=r"at least 3 rows of every class.*got `2` of class 'rare'"):
        split_rows(groups, classes=("common", "rare"))
    assert len(split_rows(groups, validation_fraction=0, classes=("common", "rare")).test) == 5


def test_too_few_rows_for_a_regression():
    with pytest.raises(DataError, match="at least 3 rows"):
        split_rows(np.zeros(2, dtype=np.int64))


@pytest.mark.parametrize(
    ("test", "validation", "place"),
    [
        (-0.1, 0.1, "test_fraction"),
        (1.0, 0.0, "test_fraction"),
        (0.2, float("nan"), "validation_fraction"),
        (True, 0.1, "test_fraction"),
        ("0.2", 0.1, "test_fraction"),
        (0.5, 0.5, r"test_fraction \+ validation_fraction"),
    ],
)
def test_fractions_out_of_range(test, validation, place):
    with pytest.raises(ConfigError, match=rf"^{place}: expected"):
        split_rows(np.zeros(30, dtype=np.int64), test_fraction=test, validation_fraction=validation)
