"""Checked rows of one fit, and the data set that they become."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gfopt.data import Dataset, Scaling, split_rows
from gfopt.data.dataset import Task
from gfopt.errors import ConfigError, expectation

WHOLE = 2048  # rows up to which `batch_size="auto"` takes all of them at once

Label = str | int | float | bool


@dataclass(frozen=True)
class Rows:
    """Rows in their own units.

    Attributes:
        task: `classification` or `regression`.
        x: `(N, F)` inputs.
        y: `(N,)` class indices from 0, or `(N,)` or `(N, K)` numbers.
        weight: `(N,)` weights of at least 0, or `None`.
        classes: labels in the order of their indices.
    """

    task: Task
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    classes: tuple[Label, ...] = ()

    def distinct(self) -> Rows:
        """Those whose weight is not 0; of few rows, those that are the same as one, of their joint weight, in order.

        So a row repeated twice and a row of weight 2 give the same fit, bit for bit, in whatever order the rows come.
        The mean of the weights is 1; there are none where all are equal.

        Raises:
            ConfigError: if no row is left.
        """
        weight = np.ones(len(self.x)) if self.weight is None else self.weight
        kept = np.flatnonzero(weight)
        if len(kept) == 0:
            raise ConfigError("sample_weight: " + expectation("a weight that is not 0", "`only zeros`"))
        weight = np.ldexp(weight[kept], -np.frexp(weight.max())[1])  # at most 1, exactly: no sum of them overflows
        if len(kept) <= WHOLE:
            table = np.column_stack([self.x[kept], self.y[kept]])
            _, first, same = np.unique(table, axis=0, return_index=True, return_inverse=True)
            kept, weight = kept[first], np.bincount(same.ravel(), weights=weight)
        joint = None if (weight == weight[0]).all() else weight / weight.mean()
        return replace(self, x=self.x[kept], y=self.y[kept], weight=joint)

    def input_scaling(self) -> Scaling:
        """Gives each column weighted mean 0 and standard deviation 1."""
        return _standard(self.x, self.weight)

    def target_scaling(self) -> Scaling:
        """The same for the targets of a regression; changes nothing otherwise."""
        return _standard(self.y, self.weight) if self.task == "regression" else Scaling.identity(())

    def dataset(
        self, inputs: Scaling, targets: Scaling, validation_fraction: float, seed: int
    ) -> tuple[Dataset, np.ndarray | None]:
        """The scaled rows, a share of them for validation, and the weights of those that train."""
        strata = self.y if self.task == "classification" else np.zeros(len(self.y), dtype=np.int64)
        train, held_out = np.arange(len(self.x)), np.arange(0)
        if validation_fraction != 0:
            split = split_rows(
                strata, test_fraction=0.0, validation_fraction=validation_fraction, seed=seed, classes=self.classes
            )
            train, held_out = np.sort(split.train), np.sort(split.validation)
        x, y = inputs.transform(self.x), targets.transform(self.y) if self.task == "regression" else self.y
        dataset = Dataset(
            name="the given rows",
            task=self.task,
            x_train=x[train],
            y_train=y[train],
            x_validation=x[held_out],
            y_validation=y[held_out],
            x_test=x[:0],
            y_test=y[:0],
            input_scaling=inputs,
            target_scaling=targets,
            classes=self.classes,
        )
        return dataset, None if self.weight is None else self.weight[train]


def _standard(values: np.ndarray, weight: np.ndarray | None) -> Scaling:
    """The scaling that gives `(N, ...)` values weighted mean 0 and standard deviation 1, column by column."""
    plain = Scaling.fit(values)  # refuses values whose variance overflows
    if weight is None:
        return plain
    mean = np.average(values, axis=0, weights=weight)
    scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
    constant = (values == values[0]).all(axis=0) | (scale == 0)
    return Scaling(np.where(constant, values[0], mean), np.where(constant, 1.0, scale))
