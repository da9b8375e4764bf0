"""The plain values that problems and optimizers exchange; importable by every part of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """What evaluating `Q` rows gave.

    Attributes:
        loss: `(Q,)` losses, lower is better.
        gradient: `(Q, D)` of the loss with respect to each row, or `None` if it was not asked for.
        samples: rows of data that each member has seen.
        batch: identity of those rows; constant with a full batch.
    """

    loss: Tensor
    gradient: Tensor | None
    samples: int
    batch: int


@dataclass(frozen=True)
class Group:
    """A named parameter's place in the flat vector.

    Attributes:
        name: the parameter's name in its module, as `layers.0.weight`.
        slice: its entries of the `(D,)` vector.
        shape: its shape in the module; the entries are in row-major order.
    """

    name: str
    slice: slice
    shape: tuple[int, ...]
