"""Which rows train, which choose between runs, and which judge: a seeded split, stratified by class, or one by time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfopt import rng
from gfopt.errors import ConfigError, DataError, expectation

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the three parts: disjoint; together all rows, in random order, unless they are split by time."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(
    groups: Rows,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    classes: tuple[object, ...] = (),
) -> Split:
    """A split in which every group has its share of every part.

    The number of rows of a group in a part is within one row of the exact share. Where that share is below
    one row it is still one, so that no class is missing from any part.

    Args:
        groups: `(N,)` class indices; all 0 for data without classes.
        test_fraction: share of all rows; 0 gives an empty part.
        validation_fraction: share of all rows; 0 gives an empty part.
        seed: with the data itself, all that the split depends on.
        classes: labels of the groups, for messages.

    Raises:
        ConfigError: if a fraction is out of range or nothing is left to train on.
        DataError: if a group has fewer rows than there are parts.
    """
    fractions = check_fractions(test_fraction, validation_fraction)
    sizes = np.bincount(groups)
    _check_sizes(sizes, int((fractions > 0).sum()), classes)
    # One permutation of everything: a group's first rows in it are for training, the next for validation.
    order = rng.generator(int(seed), "split").permutation(len(groups))
    part = np.empty(len(groups), dtype=np.int64)
    assigned, exact = np.zeros(3), np.zeros(3)
    for group in np.flatnonzero(sizes):
        exact += sizes[group] * fractions
        counts = _apportion(int(sizes[group]), fractions, exact - assigned)
        assigned += counts
        part[order[groups[order] == group]] = np.repeat(np.arange(3), counts)
    train, validation, test = (order[part[order] == index] for index in range(3))
    return Split(train, validation, test)


def split_in_time(count: int, gap: int, *, test_fraction: float = 0.2, validation_fraction: float = 0.1) -> Split:
    """A split of rows in the order of time: first the training rows, then validation, then test, each in order.

    Between two parts that have rows, `gap` rows are left out, so that windows of one series that share a value never
    lie in different parts. The fractions are those of the rows that are left.

    Args:
        count: number of rows.
        gap: rows left out at each border, at least 0.
        test_fraction: share of the rows that are used; 0 gives an empty part.
        validation_fraction: share of the rows that are used; 0 gives an empty part.

    Raises:
        ConfigError: if a fraction is out of range or nothing is left to train on.
        DataError: if there are too few rows for the gaps and one row in every part.
    """
    fractions = check_fractions(test_fraction, validation_fraction)
    parts = int((fractions > 0).sum())
    used = count - gap * (parts - 1)
    if used < parts:
        wanted = (
            f"at least {parts + gap * (parts - 1)} rows: one for each of {parts} parts, {gap} left out between them"
        )
        fix = "Use a longer series or a shorter window, or set test_fraction or validation_fraction to 0."
        raise DataError(expectation(wanted, f"`{count}`", fix))
    train, validation, test = (int(size) for size in _apportion(used, fractions, np.zeros(3)))
    after_train = train + gap
    after_validation = after_train + validation + (gap if validation else 0)
    rows = np.arange(count, dtype=np.int64)
    return Split(
        rows[:train],
        rows[after_train : after_train + validation],
        rows[after_validation : after_validation + test],
    )


def check_fractions(test_fraction: float, validation_fraction: float) -> NDArray[np.float64]:
    """The shares of training, validation and test part.

    Raises:
        ConfigError: unless both are in [0, 1) and their sum is below 1.
    """
    for name, value in (("test_fraction", test_fraction), ("validation_fraction", validation_fraction)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not 0 <= value < 1:
            raise ConfigError(f"{name}: " + expectation("a number of at least 0 and below 1", value))
    held_out = test_fraction + validation_fraction
    if held_out > 1 - 1e-9:
        fix = "Leave something to train on."
        raise ConfigError("test_fraction + validation_fraction: " + expectation("a sum below 1", held_out, fix))
    return np.array([1 - held_out, validation_fraction, test_fraction], dtype=np.float64)


def _check_sizes(sizes: Rows, parts: int, classes: tuple[object, ...]) -> None:
    small = [group for group, size in enumerate(sizes) if 0 < size < parts]
    if not small:
        return
    group, size = small[0], int(sizes[small[0]])
    fix = "Add rows, or set test_fraction or validation_fraction to 0"
    if not classes:
        raise DataError(expectation(f"at least {parts} rows, one for each part of the split", f"`{size}`", fix + "."))
    label = repr(classes[group])
    more = f" (and {len(small) - 1} more such classes)" if len(small) > 1 else ""
    fix += "; drop or merge rare classes; if the target is a quantity, give task: regression."
    raise DataError(
        expectation(
            f"at least {parts} rows of every class, one for each part",
            f"`{size}` of class {label}{more}",
            fix,
        )
    )


def _apportion(size: int, fractions: NDArray[np.float64], missing: NDArray[np.float64]) -> Rows:
    """`(3,)` counts that sum to `size`: the shares rounded down, odd rows to where most is `missing`."""
    # Rounded, because 10 * (1 - 0.1 - 0.2) is a little below 7.
    share = np.round(size * fractions, 9)
    counts = np.floor(share).astype(np.int64)
    counts[(fractions > 0) & (counts == 0)] = 1
    while counts.sum() < size:
        # Of the parts that are below their share, the one to which the groups so far have given least.
        below = np.flatnonzero(counts < share)
        counts[below[np.argmax((missing - counts)[below])]] += 1
    while counts.sum() > size:
        counts[np.argmax(np.where(counts > 1, counts - share, -math.inf))] -= 1
    return counts
