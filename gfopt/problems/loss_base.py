"""The contract of a loss, and the reduction over samples that all of them share.

Outputs are `(..., B, C)`. For data with a target at each of `T` steps they are `(..., B, T, C)`; a loss that takes them
says so (`sequences`), and the loss of a row is the mean over its steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gfopt.data.dataset import Dataset
from gfopt.engine.criterion import Kind
from gfopt.errors import ConfigError, ShapeError, expectation

CLASSIFICATION = frozenset({"classification"})
REGRESSION = frozenset({"regression"})


class Loss(ABC):
    """Compares outputs `(..., B, C)` with targets of the same `B` rows; lower is better.

    All members of a population (the leading dimensions) are compared at once, without a Python loop.

    Attributes:
        name: the name in a study file.
        tasks: the tasks that it makes sense for, of `classification` and `regression`.
        differentiable: whether a gradient with respect to the outputs exists and says anything.
        per_sample: whether it is a mean over samples, so that minibatches estimate it without bias.
        accepts_weight: whether samples may be weighted.
        sequences: whether it takes data with a target at every step.
        compiled: the name that the engine's compiled code has for it, empty where it has none.
    """

    name: str
    tasks: ClassVar[frozenset[str]]
    differentiable: bool = True
    per_sample: bool = True
    accepts_weight: bool = True
    sequences: bool = False
    compiled: ClassVar[Kind] = ""

    def check(self, dataset: Dataset) -> None:
        """Refuse a data set that the loss says nothing about.

        Raises:
            ConfigError: if the data set's task does not fit, or it has a target at every step and the loss takes
                one a row.
        """
        if dataset.task not in self.tasks:
            instead = "mse" if dataset.task == "regression" else "cross_entropy"
            raise ConfigError(
                f"loss {self.name}: "
                + expectation(
                    f"a {' or '.join(sorted(self.tasks))} data set",
                    f"`{dataset.name}`, which is for {dataset.task}",
                    f"Use loss: {instead} instead.",
                )
            )
        if dataset.steps is not None and not self.sequences:
            instead = "mse" if dataset.task == "regression" else "cross_entropy or classification_error"
            got = f"`{dataset.name}`, with a target at each of {dataset.steps} steps"
            raise ConfigError(
                f"loss {self.name}: " + expectation("one target a row", got, f"Use loss: {instead} instead.")
            )

    def out_features(self, dataset: Dataset) -> int | None:
        """Outputs `C` that a network must have: one per class or target column; `None` if it is not fixed."""
        return len(dataset.classes) if dataset.task == "classification" else dataset.targets

    @abstractmethod
    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """The targets of a data set as the loss wants them.

        Args:
            y: `(N,)` or `(N, T)` class indices, or `(N,)`, `(N, K)` or `(N, T, K)` target values.
            dtype: the floating type of the network's outputs.
        """

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """`(...)` losses of outputs `(..., B, C)`, one per member.

        Args:
            outputs: `(..., B, C)`, or `(..., B, T, C)` for targets at every step.
            targets: `(B,)`, `(B, K)`, `(B, T)` or `(B, T, K)`, from `targets`, the same for every member.
            weight: `(B,)` non-negative sample weights `w`; a mean becomes `sum(w l) / sum(w)`.

        Raises:
            ShapeError: if the shapes do not fit together.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SampleLoss(Loss):
    """A loss that is the mean of one value per sample."""

    @abstractmethod
    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses of the single samples of outputs `(..., B, C)` or `(..., B, T, C)`."""

    def __call__(self, outputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """`(...)` mean losses of outputs `(..., B, C)` or `(..., B, T, C)`; see `Loss.__call__`."""
        return mean_over_samples(self.each(outputs, targets), weight)


def class_targets(y: np.ndarray) -> Tensor:
    """`(N,)` or `(N, T)` class indices as int64."""
    # A copy: torch warns where it would share a read-only array, as a data set's are.
    return torch.from_numpy(np.array(y)).to(torch.int64)


def value_targets(y: np.ndarray, dtype: torch.dtype) -> Tensor:
    """`(N, K)` or `(N, T, K)` target values; `(N,)` becomes `(N, 1)`, which never broadcasts against outputs."""
    values = torch.from_numpy(np.array(y)).to(dtype)
    return values.unsqueeze(-1) if values.ndim == 1 else values


def mean_over_samples(values: Tensor, weight: Tensor | None) -> Tensor:
    """`(...)` means of values `(..., B)`, `sum(w l) / sum(w)` with weights `(B,)`."""
    if weight is None:
        return values.mean(-1)
    weight = weight.to(values.dtype)
    return (values * weight).sum(-1) / weight.sum()


def mean_over_steps(values: Tensor, targets: Tensor) -> Tensor:
    """`(..., B)` losses of rows from losses `(..., B)` for targets `(B,)`, or `(..., B, T)` for targets `(B, T)`."""
    return values.mean(-1) if targets.ndim == 2 else values


def check_shapes(loss: str, outputs: Tensor, rows: tuple[int, ...], columns: int | None = None) -> None:
    """Refuse outputs that are not `(..., *rows, C)`, `rows` being `(B,)` or `(B, T)`, with `C = columns` if given.

    Raises:
        ShapeError: with the expected and the given shape. Without this, broadcasting would hide the mistake.
    """
    found = tuple(outputs.shape[-1 - len(rows) : -1])
    if found != tuple(rows) or (columns is not None and outputs.shape[-1] != columns):
        wanted = f"(..., {', '.join(map(str, rows))}, {'C' if columns is None else columns})"
        raise ShapeError(f"loss {loss}: outputs: expected shape {wanted}, got {tuple(outputs.shape)}")


def check_two_classes(loss: str, dataset: Dataset, fix: str) -> None:
    """Refuse a classification set that has not exactly two classes.

    Raises:
        ConfigError: with the number of classes that it has.
    """
    if len(dataset.classes) != 2:
        raise ConfigError(
            f"loss {loss}: " + expectation("2 classes", f"`{dataset.name}` with {len(dataset.classes)}", fix)
        )
