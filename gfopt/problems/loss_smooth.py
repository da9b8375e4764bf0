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
    mean_over_steps,
    value_targets,
)


class CrossEntropy(SampleLoss):
    """Negative natural log-likelihood of the softmax, `-log softmax(z)[y]`, one logit a class."""

    name = "cross_entropy"
    tasks = CLASSIFICATION
    sequences = True
    compiled = "cross_entropy"

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N,)` or `(N, T)` int64 class indices."""
        del dtype
        return class_targets(y)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses; equal to `torch.nn.functional.cross_entropy` member by member."""
        check_shapes(self.name, outputs, tuple(targets.shape))
        log_probability = functional.log_softmax(outputs, dim=-1)
        index = targets.unsqueeze(-1).expand(*outputs.shape[:-1], 1)
        return mean_over_steps(-log_probability.gather(-1, index).squeeze(-1), targets)


class BinaryCrossEntropy(SampleLoss):
    """Negative log-likelihood of one logit `z` of class 1: `softplus(z) - y z`."""

    name = "binary_cross_entropy"
    tasks = CLASSIFICATION
    sequences = True

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
        """`(N,)` or `(N, T)` zeros and ones."""
        return class_targets(y).to(dtype)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses of outputs `(..., B, 1)` or `(..., B, T, 1)`."""
        check_shapes(self.name, outputs, tuple(targets.shape), 1)
        logit = outputs.squeeze(-1)
        return mean_over_steps(functional.softplus(logit) - targets.to(logit.dtype) * logit, targets)


class MeanSquaredError(SampleLoss):
    """Mean over target columns of the squared difference."""

    name = "mse"
    tasks = REGRESSION
    sequences = True
    compiled = "squared_error"

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N, K)` or `(N, T, K)` values."""
        return value_targets(y, dtype)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses of outputs `(..., B, K)` and targets `(B, K)`, or `(B,)` where `K` is 1.

        For targets `(B, T, K)` the outputs are `(..., B, T, K)`.
        """
        if targets.ndim == 1:
            targets = targets.unsqueeze(-1)
        check_shapes(self.name, outputs, tuple(targets.shape[:-1]), targets.shape[-1])
        return mean_over_steps((outputs - targets).square().mean(-1), targets[..., 0])
