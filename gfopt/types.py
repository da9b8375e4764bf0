"""The plain values that problems and optimizers exchange; importable by every part of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from gfopt.trace import Ledger


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
        neutral: which scaling of it leaves the network's function as it is, because a normalization follows: of each
            of its `rows` (entries that share the first index), of the whole `matrix`, or none.
    """

    name: str
    slice: slice
    shape: tuple[int, ...]
    neutral: Literal["", "rows", "matrix"] = ""


@dataclass(frozen=True)
class Observation:
    """A step that is done, for those who look on.

    Attributes:
        population: `(Q, D)` rows that the optimizer asked for; `Q` may be 0.
        evaluation: what it was told of them.
        minibatch: number of the batch.
        seed: of the minibatches' stream.
        incumbent: `(D,)` the best so far.
        ledger: what the run has spent; the loop goes on to write in it.
        spent: share of the budget.
        logged: whether the step is a logged point.
        last: whether the run ends here.
    """

    population: Tensor
    evaluation: Evaluation
    minibatch: int
    seed: int
    incumbent: Tensor
    ledger: Ledger
    spent: float
    logged: bool
    last: bool


class Observer(Protocol):
    """Looks on, and changes nothing: neither the tensors that it sees nor any random numbers."""

    def observe(self, seen: Observation) -> None:
        """Called after each step; what it takes is on no clock and in no ledger."""
