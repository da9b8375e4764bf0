"""From a column of targets to class indices or numbers, and the rule that decides between the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gfopt.data.dataset import Targets, Task
from gfopt.errors import ConfigError, DataError, expectation

# Integers with more distinct values than this are taken for a quantity, as a year or a count.
FEW = 20

AS_CLASSES = "Give task='classification' if they are classes."
AS_QUANTITY = "Give task='regression' if it is a quantity."

Label = str | int | float | bool


@dataclass(frozen=True, eq=False)
class Target:
    """Targets as a data set holds them.

    Attributes:
        task: `classification` or `regression`.
        values: `(N,)` class indices from 0, or `(N,)` or `(N, K)` numbers; with a target at every step `(N, T)` class
            indices or `(N, T, K)` numbers.
        classes: labels in the order of their indices; empty for a regression.
    """

    task: Task
    values: Targets
    classes: tuple[Label, ...]


def encode_target(
    y: np.ndarray, task: Task | None = None, classes: tuple[Label, ...] | None = None, steps: int | None = None
) -> Target:
    """Class indices or numbers, whichever `y` is.

    Without `task`, text, bools and integers of at most 20 distinct values are classes; floats, and integers
    of more distinct values, are quantities. The labels are numbered in sorted order.

    Args:
        y: `(N,)`, or `(N, K)` for a regression with several targets; finite; text, bool, int or float. For inputs with
            `T` steps also `(N, T, K)`, a regression at every step, and with `task` classification `(N, T)`, a label
            at every step.
        task: overrules the rule.
        classes: known labels, for rows that are held out.
        steps: `T` where a row's input is a sequence `(T, F)`.

    Raises:
        ConfigError: for an unknown task.
        DataError: if `y` cannot be what `task` says, has one class only, or a label that is not in `classes`.
    """
    if task not in (None, "classification", "regression"):
        raise ConfigError("task: " + expectation("classification or regression", task))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2, 3) or 0 in y.shape or (y.ndim == 3 and y.shape[1] != steps):
        raise DataError(expectation("shape (N,), or (N, K) for several quantities", f"`{y.shape}`"))
    task = task or _task_of(y)
    if task == "classification":
        if y.ndim == 2 and y.shape[1] == steps and not _is_one_hot(y):
            every = _as_classes(y.ravel(), classes, y.shape[1])
            return Target("classification", every.values.reshape(y.shape), every.classes)
        return _as_classes(y, classes)
    if y.dtype.kind not in "biuf":
        raise DataError(expectation("numbers for a regression", str(y.ravel()[0]), AS_CLASSES))
    values = y.astype(np.float64)
    if classes is None and (values == values[0]).all():
        raise DataError(expectation("a target that differs between rows", float(values.ravel()[0])))
    return Target("regression", values, ())


def _task_of(y: np.ndarray) -> Task:
    if y.ndim > 1:
        if y.dtype.kind == "f" or y.ndim == 3:
            return "regression"
        fix = "Give one label a row, as y.argmax(axis=1), or task='regression' for several quantities."
        raise DataError(expectation("shape (N,)", f"`{y.shape}` of {y.dtype}", fix))
    if y.dtype.kind in "biu":
        return "classification" if len(np.unique(y)) <= FEW else "regression"
    return "regression" if y.dtype.kind == "f" else "classification"


def _is_one_hot(y: np.ndarray) -> bool:
    """Whether every row of `(N, C)` looks like one class in one-hot form rather than like a label at every step."""
    return y.dtype.kind in "biuf" and bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def _as_classes(y: np.ndarray, known: tuple[Label, ...] | None, per_row: int = 1) -> Target:
    """Indices of the labels `y`, of which each row of the data has `per_row`."""
    if y.ndim != 1:
        fix = "For one-hot rows give y.argmax(axis=1)."
        raise DataError(expectation("one class label a row, shape (N,)", f"`{y.shape}`", fix))
    if y.dtype.kind == "f":
        broken = np.flatnonzero(y != np.floor(y))
        if len(broken):
            got = f"`{y[broken[0]]:g}` in row {broken[0] // per_row + 1}"
            raise DataError(expectation("class labels: text, bools or whole numbers", got, AS_QUANTITY))
        y = y.astype(np.int64)
    labels, indices = np.unique(y, return_inverse=True)
    classes: tuple[Label, ...] = tuple(labels.tolist())
    if known is not None:
        return Target("classification", _indices(y, known, per_row), known)
    if len(classes) < 2:
        raise DataError(expectation("at least two classes", f"`{classes[0]!r}` in every row", AS_QUANTITY))
    return Target("classification", indices.astype(np.int64), classes)


def _indices(y: np.ndarray, known: tuple[Label, ...], per_row: int) -> Targets:
    table = {label: index for index, label in enumerate(known)}
    labels = y.tolist()
    for place, label in enumerate(labels):
        if label not in table:
            got = f"`{label!r}` in row {place // per_row + 1}"
            raise DataError(expectation(f"one of the training rows' classes {known}", got))
    return np.array([table[label] for label in labels], dtype=np.int64)
