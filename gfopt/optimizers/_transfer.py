"""Populations that live on the CPU as arrays and are evaluated elsewhere: one copy each way a generation."""

from __future__ import annotations

import torch
from torch import Tensor


def staging(rows: int, like: Tensor) -> Tensor:
    """An empty `(rows, D)` tensor on the CPU, of the dtype of `like`, which is `(P, D)`.

    In page-locked memory if `like` is on a GPU, so that the copy there is direct.
    """
    return torch.empty(rows, like.shape[1], dtype=like.dtype, pin_memory=like.is_cuda)


def deliver(staged: Tensor, like: Tensor) -> Tensor:
    """What was staged, on the device of `like`: itself if that is the CPU.

    The CPU does not wait; torch keeps page-locked memory until the copy is done, and the GPU's own order does the
    rest.
    """
    return staged.to(like.device, non_blocking=True)
