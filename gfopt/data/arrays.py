"""A user's own arrays, tensors or frames as a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gfopt.data.assemble import Part, Preparation, assemble
from gfopt.data.columns import features_of, target_of
from gfopt.data.dataset import Dataset, Inputs, Task
from gfopt.data.shift import ShiftOptions, shift_options
from gfopt.data.source import RawData
from gfopt.data.targets import encode_target
from gfopt.errors import DataError, expectation, located


def from_arrays(
    X: object,  # the name that scikit-learn and the field use
    y: object,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    *,
    task: Task | None = None,
    seed: int = 0,
    scale: bool = True,
    name: str = "arrays",
    test: tuple[object, object] | None = None,
    validation: tuple[object, object] | None = None,
    shift: Mapping[str, object] | ShiftOptions | None = None,
) -> Dataset:
    """A data set from arrays, CPU or GPU tensors, lists, or pandas objects.

    Args:
        X: `(N, ...)` numbers of any rank; `(N,)` is one feature, `(N, 1)`.
        y: `(N,)` labels or numbers, or `(N, K)` numbers. For X `(N, T, F)` also a target at every step: `(N, T, K)`
            numbers, or, with `task="classification"`, `(N, T)` labels.
        test_fraction: share of all rows that judge; not used with `test`.
        validation_fraction: share of all rows that choose between runs; not used with `validation`.
        task: by default text, bools and integers of at most 20 distinct values are classes, other numbers a
            regression.
        seed: the split depends on it and on the data alone.
        scale: give every entry of a row, and the targets of a regression, mean 0 and standard deviation 1
            over the training rows. Data that should be scaled in another way (all pixels or all time steps
            together) come scaled, with `scale=False`.
        name: what messages and tables call the data.
        test: `(X, y)` of test rows of your own.
        validation: `(X, y)` of validation rows of your own.
        shift: covariate shift on purpose, as `{"kind": "split-by-feature"}`; see `gfopt.data.ShiftOptions`.

    Raises:
        ConfigError: for an argument out of range.
        DataError: for unequal lengths, no rows, NaN, infinities, text or objects among the inputs, a single
            class, or fewer rows of a class than parts of the split.
    """
    how = Preparation(test_fraction, validation_fraction, seed, scale, shift_options(shift))
    with located(name):
        raw = raw_of(X, y, task)
        parts = {}
        for part, given in (("test", test), ("validation", validation)):
            with located(part):
                parts[part] = _held_out(given, raw) if given is not None else None
        return assemble(name, raw, how, **parts)


def raw_of(x: object, y: object, task: Task | None, places: tuple[str, str] = ("X", "y")) -> RawData:
    """Checked rows in original units; `places` is what messages call the two arrays.

    Raises:
        DataError: as `from_arrays`.
    """
    inputs, names = _inputs(x, places[0])
    values = _target_values(y, task, places[1])
    _same_length(inputs, values, places)
    with located(places[1]):
        target = encode_target(values, task, steps=_steps(inputs))
    return RawData(target.task, inputs, target.values, target.classes, names)


def _held_out(given: tuple[object, object], raw: RawData) -> Part:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise DataError(expectation("a pair (X, y)", f"`{type(given).__name__}`"))
    inputs, names = _inputs(given[0])
    values = _target_values(given[1], raw.task)
    _same_length(inputs, values)
    if inputs.shape[1:] != raw.x.shape[1:]:
        raise DataError("X: " + expectation(f"rows of shape {raw.x.shape[1:]} as for training", inputs.shape[1:]))
    if names and raw.feature_names and names != raw.feature_names:
        raise DataError("X: " + expectation(f"the columns {raw.feature_names} as for training", names))
    with located("y"):
        target = encode_target(values, raw.task, raw.classes, _steps(inputs) if raw.y.ndim > 1 else None)
        if target.values.shape[1:] != raw.y.shape[1:]:
            raise DataError(expectation(f"rows of shape {raw.y.shape[1:]} as for training", target.values.shape[1:]))
    return inputs, target.values


def _steps(inputs: Inputs) -> int | None:
    """Steps of a row where it is a sequence `(T, F)`."""
    return inputs.shape[1] if inputs.ndim == 3 else None


def _inputs(x: object, place: str = "X") -> tuple[Inputs, tuple[str, ...]]:
    """`(N, ...)` finite numbers, and the column names of a frame."""
    with located(place):
        if isinstance(x, pd.DataFrame):
            return features_of(x)
        values = _as_array(x)
        if values.ndim == 0 or 0 in values.shape:
            raise DataError(expectation("shape (N, ...) with at least one row and one feature", f"`{values.shape}`"))
        if values.dtype.kind not in "biuf":
            fix = "Encode text as numbers; give every row the same shape; X.toarray() for a sparse matrix."
            raise DataError(expectation("an array of numbers", f"`dtype {values.dtype}`", fix))
        numbers = values.astype(np.float64)
    _check_finite(place, numbers)
    return (numbers[:, None] if numbers.ndim == 1 else numbers), ()


def _target_values(y: object, task: Task | None, place: str = "y") -> np.ndarray:
    with located(place):
        if isinstance(y, pd.DataFrame):
            y = y.iloc[:, 0] if y.shape[1] == 1 else y.to_numpy()
        if isinstance(y, pd.Series):
            return target_of(y, task)
        values = _as_array(y)
        if values.dtype.kind == "O":
            if values.ndim == 1 and len(values):
                return target_of(pd.Series(values), task)
            raise DataError(expectation("labels or numbers", f"`dtype object, shape {values.shape}`"))
        if values.dtype.kind not in "biufU":
            raise DataError(expectation("labels or numbers", f"`dtype {values.dtype}`"))
    if values.dtype.kind == "f":
        _check_finite(place, values)
    return values


def _as_array(values: object) -> np.ndarray:
    # Tensors are known by what they can do, so that this package needs no torch.
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        values = tensor.double() if tensor.is_floating_point() else tensor  # numpy has no bfloat16
    try:
        return np.asarray(values)
    except ValueError as error:
        fix = "Give every row the same shape."
        raise DataError(expectation("an array", f"`{type(values).__name__}` ({error})", fix)) from None


def _check_finite(place: str, values: np.ndarray) -> None:
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        index = tuple(int(i) for i in broken[0])
        fix = "Fill in or remove missing values."
        shown = ", ".join(map(str, index))
        raise DataError(f"{place}[{shown}]: " + expectation("a finite number", float(values[index]), fix))


def _same_length(inputs: Inputs, values: np.ndarray, places: tuple[str, str] = ("X", "y")) -> None:
    count = len(values) if values.ndim else 0
    if len(inputs) != count:
        raise DataError(f"{places[1]}: " + expectation(f"{len(inputs)} rows as {places[0]} has", f"`{count}`"))
