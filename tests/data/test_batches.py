from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.data import batch_rows
from gfopt.data.batches import _permutation
from gfopt.errors import ConfigError, DataError

sizes = st.integers(2, 60).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count - 1)))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 2**40), st.integers(0, 5))
def test_the_batches_of_an_epoch_are_disjoint_and_of_one_size(size, seed, epoch):
    count, batch_size = size
    per_epoch = count // batch_size
    steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    rows = np.stack([batch_rows(count, batch_size, seed, step) for step in steps])
    assert rows.dtype == np.int64
    assert rows.shape == (per_epoch, batch_size)
    assert len(np.unique(rows)) == rows.size
    assert 0 <= rows.min() <= rows.max() < count


@settings(max_examples=30, deadline=None)
@given(sizes, st.lists(st.integers(0, 300), min_size=1, max_size=30), st.integers(0, 9))
def test_neither_the_order_of_calls_nor_the_memory_matters(size, steps, seed):
    count, batch_size = size
    together = {step: batch_rows(count, batch_size, seed, step).copy() for step in steps}
    for step in reversed(steps):
        _permutation.cache_clear()
        assert np.array_equal(batch_rows(count, batch_size, seed, step), together[step])


def test_left_over_rows_come_back_after_the_shuffle():
    seen = {int(row) for step in range(60) for row in batch_rows(10, 7, 0, step)}
    assert seen == set(range(10))


def test_epochs_and_seeds_differ():
    first = batch_rows(100, 50, 0, 0)
    assert not np.array_equal(first, batch_rows(100, 50, 0, 2))
    assert not np.array_equal(first, batch_rows(100, 50, 1, 0))


@pytest.mark.parametrize("batch_size", [None, 12])
def test_the_whole_set_is_all_rows_in_order(batch_size):
    assert np.array_equal(batch_rows(12, batch_size, 3, 5), np.arange(12))


@pytest.mark.parametrize("batch_size", [None, 12, 5])
def test_nobody_can_change_the_rows(batch_size):
    with pytest.raises(ValueError, match="read-only"):
        batch_rows(12, batch_size, 0, 0)[0] = 1


def test_python_and_numpy_integers_give_the_same_rows():
    numpy = batch_rows(np.int64(20), np.int64(4), np.int64(5), np.int64(8))
    _permutation.cache_clear()
    assert np.array_equal(numpy, batch_rows(20, 4, 5, 8))


def test_a_batch_larger_than_the_training_set():
    with pytest.raises(DataError, match=r"batch_size: expected at most the 12 training rows, got 13\. .*null"):
        batch_rows(12, 13, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ((0, None, 0, 0), "count"),
        ((12, 0, 0, 0), "batch_size"),
        ((12, True, 0, 0), "batch_size"),
        ((12, 2.0, 0, 0), "batch_size"),
        ((12, 4, 0, -1), "step"),
    ],
)
def test_numbers_out_of_range(arguments, place):
    with pytest.raises(ConfigError, match=f"^{place}: expected a whole number"):
        batch_rows(*arguments)


def test_a_given_order_is_taken_as_it_is_in_every_epoch():
    order = np.array([4, 2, 0, 3, 1])
    first = [batch_rows(5, 2, 0, step, order).tolist() for step in range(4)]
    assert first == [[4, 2], [0, 3], [4, 2], [0, 3]]
