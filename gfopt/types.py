"""The plain values that problems and optimizers exchange; importable by every part of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

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
        loss: the incumbent's, on the probe rows; both are looked for anew at logged points only.
        batch_loss: the lowest of this step's batch; NaN before the first.
        scores: the incumbent's held-out metrics, as `validation_accuracy`.
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
    loss: float = float("nan")
    batch_loss: float = float("nan")
    scores: Mapping[str, float] = field(default_factory=dict)


class Callback:
    """Looks on while a run trains, and may ask it to end; what it takes is on no clock and in no ledger.

    A class below this one overrides what it needs. It changes nothing: neither the tensors that it sees nor any
    random numbers.
    """

    def on_train_begin(self, dim: int) -> None:
        """Called once, before the first step of a run; not again where one is resumed.

        Args:
            dim: `D` of the problem.
        """

    def on_generation_end(self, seen: Observation) -> str | None:
        """Called after each step: a generation, a gradient step.

        Returns:
            Why the run should end here, in words; `None` to go on.
        """
        del seen
        return None

    def on_train_end(self) -> None:
        """Called once, when the run is over, however it ended."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs of it: nested dicts and lists of str, int, float, bool, None and `np.ndarray`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        del state
