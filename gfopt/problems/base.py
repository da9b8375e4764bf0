"""The contract of a problem: what every optimizer, with or without gradients, trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gfopt.problems.requests import Request
from gfopt.types import Evaluation, Group


@dataclass(frozen=True)
class Cost:
    """What one sample costs one member, measured once per problem.

    Attributes:
        forward_flops: floating-point operations of a forward pass of one sample; 0 where nothing can be counted.
        backward_flops: the same for the backward pass.
        backward_equivalents: a backward pass of one sample over a forward pass of one sample.
    """

    forward_flops: float
    backward_flops: float
    backward_equivalents: float


class Problem(ABC):
    """Something to minimize over a flat vector of `D` parameters.

    Attributes:
        dim: `D`, the number of parameters.
        scale: `(D,)` each gene's standard deviation under the network's own initialization; where that is 0, its
            layer's weights', else 0.1.
        bounds: `(D,)` lowest and highest admissible values, or `None`.
        groups: name, slice and shape of every parameter.
        differentiable: whether `evaluate(gradient=True)` works.
        cost: what one sample costs.
    """

    dim: int
    scale: Tensor
    bounds: tuple[Tensor, Tensor] | None
    groups: tuple[Group, ...]
    differentiable: bool
    cost: Cost

    @abstractmethod
    def initial(self, count: int, seed: int) -> Tensor:
        """`(count, D)`, one network initialization per member; `initial(n, s)[:k]` equals `initial(k, s)`."""

    @abstractmethod
    def evaluate(self, population: Tensor, step: int = 0, *, seed: int = 0, gradient: bool = False) -> Evaluation:
        """Losses of the `(P, D)` rows on minibatch `step` of stream `seed`: the same data for every member.

        Raises:
            ShapeError: if `population` is not `(P, D)`.
            NotDifferentiableError: if a gradient is asked of a problem that has none.
        """

    def evaluate_together(self, requests: Sequence[Request]) -> list[Evaluation]:
        """What `evaluate` gives for each request, in their order.

        A problem overrides it where the requests of several runs cost less as one computation. What a request gets
        may not depend on which others stand beside it: losses are those of `evaluate`; gradients, and the losses of
        rows that `evaluate` would have computed alone, may differ from them by rounding.

        Raises:
            Whatever `evaluate` raises; for which request is not said.
        """
        return [self.evaluate(r.population, r.step, seed=r.seed, gradient=r.gradient) for r in requests]

    @abstractmethod
    def score(self, parameters: Tensor, split: str = "test") -> dict[str, float]:
        """Metrics of one `(D,)` vector on `train`, `validation` or `test`; empty where there is no such split."""

    def batch(self, step: int) -> int:
        """Identity of the rows of minibatch `step`; constant with a full batch."""
        del step
        return 0

    def ready(self, *, gradient: bool = False) -> None:  # noqa: B027 - most have nothing to load
        """Load or compile what the first evaluation would wait for, with a gradient or without."""

    def probe(self, population: Tensor) -> Evaluation:
        """Reported losses of `(P, D)` rows on fixed rows, so that values of different steps compare."""
        return self.evaluate(population)

    def why_no_gradient(self) -> str:
        """The part that has no gradient, and what to do about it; empty if there is one."""
        return "" if self.differentiable else "the objective has none. Use a gradient-free optimizer"

    @property
    def judged_by(self) -> str:
        """`loss` where the loss itself is what counts, `task` where the data's task has a metric that says more."""
        return "loss"

    @property
    def splits(self) -> tuple[str, ...]:
        """The held-out splits that `score` knows, of `validation` and `test`."""
        return ()
