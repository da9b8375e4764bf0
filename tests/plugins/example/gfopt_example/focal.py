"""A cross-entropy that counts samples less that are right already."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gfopt.problems.losses import SampleLoss


class FocalLoss(SampleLoss):
    """Cross-entropy times `(1 - p)**gamma`, `p` being the probability of the right class.

    Args:
        gamma: 0 is the cross-entropy.

    References: Lin et al. 2017, "Focal loss for dense object detection", arXiv:1708.02002, eq. 4.
    """

    name = "focal"
    tasks = frozenset({"classification"})

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N,)` class indices."""
        del dtype
        return torch.from_numpy(np.array(y)).to(torch.int64)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(..., B)` losses of outputs `(..., B, C)`."""
        index = targets.expand(outputs.shape[:-1]).unsqueeze(-1)
        log_probability = outputs.log_softmax(-1).gather(-1, index).squeeze(-1)
        return -((1 - log_probability.exp()) ** self.gamma) * log_probability
