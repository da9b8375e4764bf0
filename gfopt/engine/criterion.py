"""From a network's outputs to its loss, in a form that says enough for compiled code to do it itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["", "cross_entropy", "squared_error"]


@dataclass(frozen=True)
class Criterion:
    """A loss with the targets and weights of the samples that it is taken of.

    Attributes:
        loss: `(outputs (..., B, C), targets, weight) -> (...)` losses.
        targets: of the samples, first axis `B`.
        weight: `(B,)` weights of the samples, `None` for equal ones.
        ahead: samples in front that are in no loss (the reference rows of batch statistics).
        kind: which of the compiled losses it is, for outputs `(..., B, C)`: `cross_entropy` with `(B,)` classes,
            `squared_error`, the mean over `C` columns, with `(B, C)` or `(B,)` values; empty for any other.
        axis: of the samples in the outputs, from the end.
    """

    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    targets: Tensor
    weight: Tensor | None = None
    ahead: int = 0
    kind: Kind = ""
    axis: int = -2

    def __call__(self, outputs: Tensor) -> Tensor:
        """`(...)` losses of `(..., ahead + B, C)` outputs."""
        if self.ahead:
            outputs = outputs.narrow(self.axis, self.ahead, outputs.shape[self.axis] - self.ahead)
        return self.loss(outputs, self.targets, self.weight)


def side_by_side(criteria: Sequence[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """The losses `(T,)` of `(T, B, C)` outputs, each member by its own criterion."""

    def losses(outputs: Tensor) -> Tensor:
        each = zip(criteria, outputs, strict=True)
        return torch.cat([criterion(output[None]) for criterion, output in each])

    return losses
