"""A data set as every problem sees it: split, scaled, read-only arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfopt.errors import DataError, ShapeError, expectation, suggestion

Task = Literal["classification", "regression"]
Inputs = NDArray[np.float64]
Targets = np.ndarray  # (N,) or (N, T) int64 class indices, or (N,), (N, K) or (N, T, K) float64 quantities

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Scaling:
    """The affine map `(values - mean) / scale`, one mean and one scale for each entry of a row.

    Attributes:
        mean: shape of one row.
        scale: shape of one row, never 0.
    """

    mean: Inputs
    scale: Inputs

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", _frozen(np.asarray(self.mean, dtype=np.float64)))
        object.__setattr__(self, "scale", _frozen(np.asarray(self.scale, dtype=np.float64)))

    @classmethod
    def fit(cls, values: Inputs, shared: tuple[int, ...] = ()) -> Scaling:
        """The scaling that gives `values` `(N, ...)` mean 0 and standard deviation 1, entry by entry.

        An entry that is the same in all rows gets its own value as mean, and scale 1. So it becomes exactly
        0; a standard deviation of rounding errors would turn the first other value into a huge outlier.

        Args:
            values: `(N, ...)`.
            shared: axes of a row along which all entries have one mean and one scale.

        Raises:
            DataError: if the values are so large that their variance overflows.
        """
        axes = (0, *(axis + 1 for axis in shared))
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = values.mean(axis=axes, keepdims=True)[0], values.std(axis=axes, keepdims=True)[0]
        first = values[(slice(1), *(slice(1 if axis in shared else None) for axis in range(values.ndim - 1)))]
        constant = (values == first).all(axis=axes, keepdims=True)[0] | (scale == 0)
        if not (np.isfinite(scale) | constant).all():
            largest = float(np.abs(values).max())
            raise DataError(
                expectation("values with a finite variance", f"`{largest:g}`", "Give them in a larger unit.")
            )
        row = values.shape[1:]
        mean, scale = np.where(constant, first[0], mean), np.where(constant, 1.0, scale)
        return cls(np.broadcast_to(mean, row).copy(), np.broadcast_to(scale, row).copy())

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> Scaling:
        """The scaling that changes nothing, for rows of `shape`."""
        return cls(np.zeros(shape), np.ones(shape))

    def transform(self, values: Inputs) -> Inputs:
        """Scaled `values` `(N, ...)`."""
        scaled = values - self.mean
        scaled /= self.scale  # in place: pictures are large
        return scaled

    def inverse(self, values: Inputs) -> Inputs:
        """`values` `(N, ...)` back in the original units."""
        return values * self.scale + self.mean


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to learn from and rows to be judged on; the arrays are scaled and read-only.

    Attributes:
        name: what messages and tables call it.
        task: `classification` or `regression`.
        x_train, x_validation, x_test: `(N, ...)` inputs; the two held-out ones may have 0 rows.
        y_train, y_validation, y_test: `(N,)` class indices from 0, or `(N,)` or `(N, K)` scaled targets; with a
            target at each of `T` steps `(N, T)` class indices or `(N, T, K)` scaled targets.
        input_scaling: what was done to the inputs; fitted on the training rows only.
        target_scaling: what was done to the targets of a regression, fitted alike; changes nothing otherwise.
        classes: labels in the order of their indices; empty for a regression.
        feature_names: names of the columns of two-dimensional inputs; empty where there are none.
        importance: `(N,)` true ratios of the density of inputs among test rows to that among training rows, for
            each training row, up to a constant; `None` where they are not known.
        importance_validation: the same for each validation row.
    """

    name: str
    task: Task
    x_train: Inputs
    y_train: Targets
    x_validation: Inputs
    y_validation: Targets
    x_test: Inputs
    y_test: Targets
    input_scaling: Scaling = field(repr=False)
    target_scaling: Scaling = field(repr=False)
    classes: tuple[str | int | float | bool, ...] = ()
    feature_names: tuple[str, ...] = ()
    importance: Inputs | None = field(default=None, repr=False)
    importance_validation: Inputs | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise DataError("task: " + expectation("classification or regression", self.task))
        kind = np.int64 if self.task == "classification" else np.float64
        for part in PARTS:
            x = np.ascontiguousarray(getattr(self, f"x_{part}"), dtype=np.float64)
            y = np.ascontiguousarray(getattr(self, f"y_{part}"), dtype=kind)
            object.__setattr__(self, f"x_{part}", _frozen(x))
            object.__setattr__(self, f"y_{part}", _frozen(y))
            self._check(part, x, y)
        for name, x in (("importance", self.x_train), ("importance_validation", self.x_validation)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _frozen(_checked_ratios(name, getattr(self, name), len(x))))

    def _check(self, part: str, x: Inputs, y: Targets) -> None:
        if len(x) != len(y):
            raise ShapeError(f"y_{part}: expected {len(x)} rows as in x_{part}, got {len(y)}")
        most = 2 if self.task == "classification" else 3
        if not 1 <= y.ndim <= most:
            wanted = "(N,) or (N, T)" if most == 2 else "(N,), (N, K) or (N, T, K)"
            raise ShapeError(f"y_{part}: expected shape {wanted}, got {y.shape}")
        if x.shape[1:] != self.x_train.shape[1:] or y.shape[1:] != self.y_train.shape[1:]:
            raise ShapeError(f"{part}: expected rows of the same shape as in the training part")
        if part == "train" and len(x) == 0:
            raise DataError("x_train: " + expectation("at least one row", 0))
        if self.task == "classification" and len(y) and not 0 <= y.min() <= y.max() < len(self.classes):
            got = f"`{y.min()}` to `{y.max()}`"
            raise DataError(f"y_{part}: " + expectation(f"class indices 0 to {len(self.classes) - 1}", got))

    def __setstate__(self, state: Mapping[str, object]) -> None:
        # numpy forgets in a pickle that an array was read-only.
        for name, value in state.items():
            object.__setattr__(self, name, _frozen(value) if isinstance(value, np.ndarray) else value)

    def __repr__(self) -> str:
        rows = ", ".join(f"{part} {len(getattr(self, f'x_{part}'))}" for part in PARTS)
        kind = f"{len(self.classes)} classes" if self.classes else f"{self.targets} target(s)"
        kind += f" at {self.steps} steps" if self.steps else ""
        return f"Dataset({self.name!r}, {self.task}, {rows}, input {self.input_shape}, {kind})"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row's input."""
        return self.x_train.shape[1:]

    @property
    def targets(self) -> int:
        """Number of target columns; 1 for class indices."""
        return 1 if self.task == "classification" or self.y_train.ndim == 1 else self.y_train.shape[-1]

    @property
    def steps(self) -> int | None:
        """Number of steps of a row that have a target each; `None` for one target a row."""
        return self.y_train.shape[1] if self.y_train.ndim == (2 if self.task == "classification" else 3) else None

    @property
    def splits(self) -> tuple[str, ...]:
        """The held-out parts that have rows, of `validation` and `test`."""
        return tuple(part for part in PARTS[1:] if len(getattr(self, f"x_{part}")))

    def split(self, name: str) -> tuple[Inputs, Targets]:
        """Inputs and targets of `train`, `validation` or `test`.

        Raises:
            DataError: for another name, and for a part without rows.
        """
        if name not in PARTS:
            raise DataError("split: " + expectation(f"one of {', '.join(PARTS)}", name, suggestion(name, PARTS)))
        if name not in ("train", *self.splits):
            fix = f"Load the data with a {name}_fraction above 0, or with {name} data of your own."
            raise DataError(f"data set {self.name}: " + expectation(f"{name} rows", "none", fix))
        return getattr(self, f"x_{name}"), getattr(self, f"y_{name}")

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(repr((self.task, self.classes)).encode())
        for part in PARTS:
            for values in (getattr(self, f"x_{part}"), getattr(self, f"y_{part}")):
                digest.update(f"{part} {values.shape} {values.dtype.kind}".encode())
                digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
        for name in ("importance", "importance_validation"):
            if getattr(self, name) is not None:
                digest.update(f"{name} ".encode() + getattr(self, name).astype("<f8", copy=False).tobytes())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """A sha256 in hexadecimal over arrays, true ratios, task and classes; equal content gives equal fingerprints.

        Names and scalings are not part of it.
        """
        return self._digest


def _checked_ratios(name: str, values: object, count: int) -> Inputs:
    ratios = np.ascontiguousarray(values, dtype=np.float64)
    if ratios.shape != (count,):
        raise ShapeError(f"{name}: expected shape ({count},), one ratio a row, got {ratios.shape}")
    if not np.isfinite(ratios).all() or (ratios < 0).any():
        raise DataError(f"{name}: " + expectation("finite ratios of at least 0", "`others among them`"))
    return ratios


def _frozen(values: np.ndarray) -> np.ndarray:
    """A read-only view, so that the caller's own array stays as writable as it was."""
    view = values.view()
    view.flags.writeable = False
    return view
