"""The best of several initializations: no search at all, but a choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from gfopt.optimizers._arrays import to_array, to_tensor
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Integer, Space
from gfopt.types import Evaluation


class BestOfNOptions(Options):
    """Options of `best-of-n`.

    Attributes:
        candidates: how many initializations are evaluated (`N`).
    """

    candidates: int = Field(64, ge=1)


class BestOfN(Optimizer):
    """The baseline of who only initializes: `N` starts, each evaluated once, and it ends.

    With minibatches they are compared on the first one. Nothing is drawn: the starts are the problem's own, and which
    is the best is kept by whoever drives it.
    """

    options_class: ClassVar[type[Options]] = BestOfNOptions
    space: ClassVar[Space] = {"candidates": Integer(1, 1024, log=True)}

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of candidates."""
        assert isinstance(options, BestOfNOptions)
        return options.candidates

    def _initialize(self, start: Tensor) -> None:
        self._start = start

    def ask(self, batch: int) -> Tensor:
        """The starts, once; no rows when they are done."""
        del batch
        return self._start[: 0 if self.stopped else None].clone()

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Note that there is nothing more to try."""
        del population, evaluation
        self.stopped = True

    def state_dict(self) -> dict[str, Any]:
        """The starts, and whether they are done."""
        return {"start": to_array(self._start), "stopped": self.stopped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._start = to_tensor(state["start"], self._start)
        self.stopped = state["stopped"]
