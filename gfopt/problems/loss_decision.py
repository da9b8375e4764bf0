"""Losses of the decisions that a classifier takes: error rate, macro F1, area under the ROC curve, costs.

They are piecewise constant in the outputs, so only optimizers without gradients can minimize them. A member
with an output that allows no decision (see `decisions`) has the loss NaN, as it has under cross-entropy.

With two classes a network may have one logit or two, whichever its surrogate for gradients needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gfopt.data.dataset import Dataset
from gfopt.errors import ConfigError, ShapeError, expectation
from gfopt.problems.loss_base import (
    CLASSIFICATION,
    Loss,
    SampleLoss,
    check_shapes,
    check_two_classes,
    class_targets,
    mean_over_steps,
)

UNDECIDED = -1


def decisions(outputs: Tensor) -> Tensor:
    """`(..., B)` int64 classes that outputs `(..., B, C)` decide for, `UNDECIDED` where they allow none.

    The class is that of the largest output, the first of equals; a single output decides for class 1 where it
    is positive. No decision is possible where the softmax is not defined: an output is NaN or `+inf`, or all
    are `-inf`.
    """
    highest, choice = outputs.max(-1)
    if outputs.shape[-1] == 1:
        choice = (highest > 0).to(torch.int64)
    return choice.masked_fill(~highest.isfinite(), UNDECIDED)


def macro_f1(decided: Tensor, targets: Tensor, classes: int, weight: Tensor | None = None) -> Tensor:
    """`(...)` float64 mean over classes of `2 tp / (2 tp + fp + fn)`.

    The mean is over the classes that occur among the targets or among the member's own decisions, as in
    scikit-learn. An `UNDECIDED` sample misses its class and counts as no decision for another.

    Args:
        decided: `(..., B)` classes.
        targets: `(B,)` classes.
        classes: `C`, classes are below it.
        weight: `(B,)` sample weights.
    """
    unit = torch.ones(len(targets), dtype=torch.float64, device=targets.device)
    weight = unit if weight is None else weight.to(unit)
    actual, predicted, hits = class_sums(decided, targets, classes, weight)
    occurs = (actual + predicted) > 0
    f1 = torch.where(occurs, 2 * hits / (actual + predicted).clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    return f1.sum(-1) / occurs.sum(-1)


def class_sums(decided: Tensor, targets: Tensor, classes: int, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights by class: `(C,)` of the targets, `(..., C)` of the decisions, `(..., C)` of the right ones."""
    valid = decided >= 0
    index = decided.clamp_min(0)
    zeros = weight.new_zeros((*decided.shape[:-1], classes))
    actual = weight.new_zeros(classes).scatter_add(0, targets, weight)
    predicted = zeros.scatter_add(-1, index, torch.where(valid, weight, 0.0))
    hits = zeros.scatter_add(-1, index, torch.where(decided == targets, weight, 0.0))
    return actual, predicted, hits


class DecisionLoss(Loss):
    """A loss that sees of the outputs only what they decide, or how they order the samples."""

    tasks = CLASSIFICATION
    differentiable = False

    def out_features(self, dataset: Dataset) -> int | None:
        """One output per class; not fixed for two classes, where one logit does as well."""
        return None if len(dataset.classes) == 2 else len(dataset.classes)

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N,)` or `(N, T)` int64 class indices."""
        del dtype
        return class_targets(y)


class ClassificationError(DecisionLoss, SampleLoss):
    """Share of the samples, or of the steps of all samples, that are not decided for their class, `1 - accuracy`."""

    name = "classification_error"
    sequences = True

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` 0 or 1, NaN where no decision is possible; see `Loss.__call__` and `decisions`.

        For targets `(B, T)` the share of the steps that are not decided for their class.
        """
        check_shapes(self.name, outputs, tuple(targets.shape))
        decided = decisions(outputs)
        wrong = (decided != targets).to(outputs.dtype).masked_fill(decided < 0, torch.nan)
        return mean_over_steps(wrong, targets)


class F1Error(DecisionLoss):
    """`1 - F1`, the F1 being the unweighted mean over the classes."""

    name = "f1_error"
    per_sample = False

    def __call__(self, outputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """`(...)` losses of outputs `(..., B, C)`, or one logit of class 1; see `Loss.__call__`."""
        check_shapes(self.name, outputs, (len(targets),))
        decided = decisions(outputs)
        f1 = macro_f1(decided, targets, max(2, outputs.shape[-1]), weight)
        return (1 - f1).to(outputs.dtype).masked_fill((decided < 0).any(-1), torch.nan)


class AUCError(DecisionLoss):
    """`1 - AUC`: how probably a sample of class 0 is scored above one of class 1, equal scores counting half.

    The score is the one logit, or the difference of the two. A minibatch with one class only says nothing
    about the order of scores; every member then has the loss 1/2, that of guessing.

    References:
        Hanley & McNeil 1982, Radiology 143(1): the area as the Wilcoxon statistic.
    """

    name = "auc_error"
    per_sample = False

    def check(self, dataset: Dataset) -> None:
        """Refuse anything but two classes.

        Raises:
            ConfigError: if the data set is not of two classes.
        """
        super().check(dataset)
        check_two_classes(self.name, dataset, "Use loss: f1_error or classification_error instead.")

    def __call__(self, outputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """`(...)` losses of outputs `(..., B, 1)` or `(..., B, 2)`; see `Loss.__call__`."""
        check_shapes(self.name, outputs, (len(targets),))
        if outputs.shape[-1] > 2:
            raise ShapeError(f"loss {self.name}: outputs: expected 1 or 2 in the last place, got {outputs.shape[-1]}")
        score = outputs[..., -1] if outputs.shape[-1] == 1 else outputs[..., 1] - outputs[..., 0]
        area = _area_under_roc(score, targets == 1, weight)
        # An infinite score would still have an order, but it means that the network has overflowed.
        return (1 - area).to(outputs.dtype).masked_fill(~score.isfinite().all(-1), torch.nan)


def _area_under_roc(score: Tensor, positive: Tensor, weight: Tensor | None) -> Tensor:
    """`(...)` float64 areas of scores `(..., B)`, in `O(B log B)` a member."""
    weight = torch.ones_like(positive, dtype=torch.float64) if weight is None else weight.to(torch.float64)
    w_positive, w_negative = weight[positive], weight[~positive]
    total = w_positive.sum() * w_negative.sum()
    if total == 0:
        return torch.full(score.shape[:-1], 0.5, dtype=torch.float64, device=score.device)
    wins, order = score[..., ~positive].sort(-1)
    below = torch.nn.functional.pad(w_negative[order].cumsum(-1), (1, 0))  # weight of the k lowest negatives
    candidates = score[..., positive].contiguous()
    lower = below.gather(-1, torch.searchsorted(wins, candidates))
    lower_or_equal = below.gather(-1, torch.searchsorted(wins, candidates, right=True))
    return ((lower + lower_or_equal) / 2 * w_positive).sum(-1) / total


class CostMatrix(DecisionLoss, SampleLoss):
    """Mean cost of the decisions.

    Args:
        matrix: `(C, C)` costs, `matrix[i][j]` that of deciding for class `j` where `i` is right.

    Raises:
        ConfigError: if the matrix is not square and finite.
    """

    name = "cost_matrix"

    def __init__(self, matrix: Sequence[Sequence[float]]) -> None:
        try:
            cost = np.array(matrix, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError("matrix: " + expectation("rows of numbers, all of one length", matrix)) from error
        if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or len(cost) < 2:
            raise ConfigError(
                "matrix: " + expectation("a square matrix, a row and a column a class", f"`shape {cost.shape}`")
            )
        if not np.isfinite(cost).all():
            raise ConfigError("matrix: " + expectation("finite costs", matrix))
        self.matrix = torch.from_numpy(cost)

    def __repr__(self) -> str:
        return f"CostMatrix({self.matrix.tolist()})"

    def check(self, dataset: Dataset) -> None:
        """Refuse a data set with another number of classes than the matrix.

        Raises:
            ConfigError: if the data set does not fit.
        """
        super().check(dataset)
        if len(dataset.classes) != len(self.matrix):
            got, wanted = len(self.matrix), len(dataset.classes)
            raise ConfigError(
                f"loss {self.name}: matrix: "
                + expectation(f"{wanted} rows, one for each class of {dataset.name!r}", f"`{got}`")
            )

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` costs, NaN where no decision is possible; see `Loss.__call__` and `decisions`."""
        classes = len(self.matrix)
        check_shapes(self.name, outputs, (len(targets),), 1 if outputs.shape[-1] == 1 and classes == 2 else classes)
        decided = decisions(outputs)
        cost = self.matrix.to(outputs)[targets, decided.clamp_min(0)]
        return cost.masked_fill(decided < 0, torch.nan)
