"""The last step of every way to load data: split the rows, scale them by what the training part shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gfopt.data.dataset import Dataset, Inputs, Scaling, Targets
from gfopt.data.shift import ShiftOptions, corrupt, shift_rows
from gfopt.data.source import RawData
from gfopt.data.splits import Split, check_fractions, split_in_time, split_rows
from gfopt.errors import ConfigError, expectation

Part = tuple[Inputs, Targets]


@dataclass(frozen=True)
class Preparation:
    """How rows become a data set.

    Attributes:
        test_fraction: share of all rows that judge; 0 for none.
        validation_fraction: share of all rows that choose between runs; 0 for none.
        seed: the split depends on it and on the data alone.
        scale: whether inputs, and the targets of a regression, get mean 0 and standard deviation 1.
        shift: how the training rows differ from the test rows; `None` for not at all.

    Raises:
        ConfigError: for a value out of range.
    """

    test_fraction: float = 0.2
    validation_fraction: float = 0.1
    seed: int = 0
    scale: bool = True
    shift: ShiftOptions | None = None

    def __post_init__(self) -> None:
        check_fractions(self.test_fraction, self.validation_fraction)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer):
            raise ConfigError("seed: " + expectation("a whole number", self.seed))
        if not isinstance(self.scale, bool | np.bool_):
            raise ConfigError("scale: " + expectation("true or false", self.scale))


def assemble(
    name: str,
    raw: RawData,
    how: Preparation,
    *,
    validation: Part | None = None,
    test: Part | None = None,
) -> Dataset:
    """`raw`, split and scaled.

    Args:
        name: the data set's name.
        raw: rows to split; with both parts given they are all for training.
        how: fractions, seed and scaling.
        validation: held-out rows of the caller's own, in original units, instead of `validation_fraction`.
        test: the same for testing.

    Raises:
        DataError: if the rows are too few to split, or cannot be scaled.
    """
    own = test is not None or validation is not None or raw.test is not None
    if test is None and how.test_fraction > 0:
        test = raw.test
    rows = _split(
        raw,
        test_fraction=0.0 if test is not None else how.test_fraction,
        validation_fraction=0.0 if validation is not None else how.validation_fraction,
        seed=how.seed,
    )
    ratio = raw.importance
    if how.shift is not None:
        rows, ratio = shift_rows(raw, rows, how.shift, how.seed, own_parts=own)
    importance = None if ratio is None else ratio[rows.train]
    importance_validation = None if ratio is None or validation is not None else ratio[rows.validation]
    train = (raw.x[rows.train], raw.y[rows.train])
    validation = (raw.x[rows.validation], raw.y[rows.validation]) if validation is None else validation
    test = (raw.x[rows.test], raw.y[rows.test]) if test is None else test
    if how.shift is not None:
        test = (corrupt(test[0], train[0], how.shift, how.seed), test[1])
    inputs = Scaling.fit(train[0], raw.shared) if how.scale else Scaling.identity(raw.x.shape[1:])
    regression = how.scale and raw.task == "regression"
    steps = (0,) if raw.y.ndim == 3 else ()
    targets = Scaling.fit(train[1], steps) if regression else Scaling.identity(raw.y.shape[1:])

    def scaled(y: Targets) -> Targets:
        return targets.transform(y) if raw.task == "regression" else y

    return Dataset(
        name=name,
        task=raw.task,
        x_train=inputs.transform(train[0]),
        y_train=scaled(train[1]),
        x_validation=inputs.transform(validation[0]),
        y_validation=scaled(validation[1]),
        x_test=inputs.transform(test[0]),
        y_test=scaled(test[1]),
        input_scaling=inputs,
        target_scaling=targets,
        classes=raw.classes,
        feature_names=raw.feature_names,
        importance=importance,
        importance_validation=importance_validation,
    )


def _split(raw: RawData, *, test_fraction: float, validation_fraction: float, seed: int) -> Split:
    """By time where the rows have an order, else at random, stratified where a row has one class."""
    if raw.gap is not None:
        return split_in_time(len(raw.x), raw.gap, test_fraction=test_fraction, validation_fraction=validation_fraction)
    stratified = raw.task == "classification" and raw.y.ndim == 1
    return split_rows(
        raw.y if stratified else np.zeros(len(raw.y), dtype=np.int64),
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=seed,
        classes=raw.classes if stratified else (),
    )
