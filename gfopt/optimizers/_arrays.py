"""Tensors of a state as arrays, which a file can hold, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's own copy in main memory."""
    return tensor.detach().cpu().numpy().copy()


def to_tensor(array: NDArray[Any], like: Tensor) -> Tensor:
    """A copy of the array with the type and on the device of `like`."""
    return torch.from_numpy(np.array(array)).to(like)


def without_failures(loss: Tensor) -> Tensor:
    """`(P,)` losses that arithmetic can be done on: a failed row has the highest of the others', 0 if there is none."""
    broken = loss.isinf()
    if not broken.any():
        return loss
    highest = loss[~broken].max() if not broken.all() else loss.new_zeros(())
    return torch.where(broken, highest, loss)
