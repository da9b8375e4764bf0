"""The differentiable losses: cross-entropy, binary cross-entropy and mean squared error."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gfopt.data.dataset import Dataset
from gfopt.problems.loss_base import (
    CLASSIFICATION,
    REGRESSION,
    SampleLoss,
    check_shapes,
    check_two_classes,
    class_targets,
    value_targets,
)


class CrossEntropy(SampleLoss):
    """Negative natural log-likelihood of the softmax, `-log softmax(z)[y]`, one logit a class."""

    name = "cross_entropy"
    tasks = CLASSIFICATION

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N,)` int64 class indices."""
        del dtype
        return class_targets(y)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses; equal to `torch.nn.functional.cross_entropy` member by member."""
        check_shapes(self.name, outputs, len(targets))
        log_probability = functional.log_softmax(outputs, dim=-1)
        index = targets.unsqueeze(-1).expand(*outputs.shape[:-1], 1)
        return -log_probability.gather(-1, index).squeeze(-1)


class BinaryCrossEntropy(SampleLoss):
    """Negative log-likelihood of one logit `z` of class 1: `softplus(z) - y z`."""

    name = "binary_cross_entropy"
    tasks = CLASSIFICATION

    def check(self, dataset: Dataset) -> None:
        """Refuse anything but two classes.

        Raises:
            ConfigError: if the data set is not of two classes.
        """
        super().check(dataset)
        check_two_classes(self.name, dataset, "Use loss: cross_entropy instead.")

    def out_features(self, dataset: Dataset) -> int:
        """One logit."""
        del dataset
        return 1

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N,)` zeros and ones."""
        return class_targets(y).to(dtype)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses of outputs `(..., B, 1)`."""
        check_shapes(self.name, outputs, len(targets), 1)
        logit = outputs.squeeze(-1)
        return functional.softplus(logit) - targets.to(logit.dtype) * logit


class MeanSquaredError(SampleLoss):
    """Mean over target columns of the squared difference."""

    name = "mse"
    tasks = REGRESSION

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N, K)` values."""
        return value_targets(y, dtype)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses of outputs `(..., B, K)` and targets `(B, K)`, or `(B,)` where `K` is 1."""
        if targets.ndim == 1:
            targets = targets.unsqueeze(-1)
        check_shapes(self.name, outputs, *targets.shape)
        return (outputs - targets).square().mean(-1)
