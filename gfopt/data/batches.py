"""Which training rows minibatch `step` has: a pure function, so that all optimizers see the same batches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gfopt import rng
from gfopt.errors import ConfigError, DataError, expectation


def batch_rows(
    count: int, batch_size: int | None, seed: int, step: int, order: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """`(batch_size,)` row numbers of minibatch `step`, read-only.

    Each epoch is one permutation of all rows, from a stream of its own. All batches have exactly `batch_size`
    rows: the `count % batch_size` rows that are left over at the end of an epoch wait for the next shuffle,
    so that no batch has a row twice and the losses of all steps are equally noisy.

    Args:
        count: number of training rows.
        batch_size: rows of a batch; `None` or `count` gives all rows in order, at every step.
        seed: the stream; other seeds give other permutations.
        step: number of the batch, from 0, over all epochs.
        order: `(count,)` the rows in the order that every epoch takes them in, unshuffled; `None` shuffles.

    Raises:
        DataError: if `batch_size` exceeds the number of rows.
        ConfigError: if a number is out of range.
    """
    for name, value, least in (("count", count, 1), ("batch_size", batch_size, 1), ("step", step, 0)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least):
            raise ConfigError(f"{name}: " + expectation(f"a whole number of at least {least}", value))
    if batch_size is None or batch_size == count:
        return _all_rows(int(count))
    if batch_size > count:
        fix = "Choose a smaller one, or null for the whole training set."
        raise DataError("batch_size: " + expectation(f"at most the {count} training rows", batch_size, fix))
    epoch, position = divmod(int(step), int(count) // int(batch_size))
    start = position * int(batch_size)
    epoch_rows = _permutation(int(count), int(seed), epoch) if order is None else order
    return epoch_rows[start : start + int(batch_size)]


@lru_cache(maxsize=4)
def _all_rows(count: int) -> NDArray[np.int64]:
    return _read_only(np.arange(count, dtype=np.int64))


# A memory of the last permutations only: the same arguments give the same rows whether or not they are in it.
@lru_cache(maxsize=8)
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return _read_only(rng.generator(seed, "batches", epoch).permutation(count).astype(np.int64, copy=False))


def _read_only(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    rows.flags.writeable = False
    return rows
