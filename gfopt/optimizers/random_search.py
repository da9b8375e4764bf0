"""Pure random search: every generation is drawn anew, nothing is learned from losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Integer, Space
from gfopt.types import Evaluation


class RandomSearchOptions(Options):
    """Options of `random-search`.

    Attributes:
        population: rows drawn in a generation.
    """

    population: int = Field(64, ge=1)


class RandomSearch(Optimizer):
    """The baseline that anything has to beat: guessing weights.

    The first generation are the start rows. Every later row is drawn from a normal distribution that
    approximates the one of the start: each gene with the mean of the start rows and the standard deviation
    `scale`, independently of all others. Genes that no initialization varies (gains, shifts) are varied too,
    since `scale` is positive there.
    """

    options_class = RandomSearchOptions
    options: RandomSearchOptions
    space: ClassVar[Space] = {"population": Integer(16, 256, log=True)}

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The rows drawn in a generation."""
        assert isinstance(options, RandomSearchOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        self._rows = start
        self._mean = start.mean(dim=0)
        self._told = False

    def ask(self, batch: int) -> Tensor:
        """The generation at hand; the next one once its losses were told."""
        del batch
        if self._told:
            self._rows, self._told = self._draw(), False
        return self._rows.clone()

    def _draw(self) -> Tensor:
        rows, kind = self._rows, np.float64 if self._rows.dtype == torch.float64 else np.float32
        noise = torch.from_numpy(self.generator.standard_normal(tuple(rows.shape), dtype=kind))
        drawn = noise.to(rows).mul_(self.scale.to(rows)).add_(self._mean)
        return drawn if self.bounds is None else drawn.clamp_(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Note that the generation is done; who keeps the best row is the loop."""
        del population, evaluation
        self._told = True

    def state_dict(self) -> dict[str, Any]:
        """The generation at hand, the mean of the start and the stream of random numbers."""
        return {
            "rows": self._rows.cpu().numpy().copy(),
            "mean": self._mean.cpu().numpy().copy(),
            "told": self._told,
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._rows = torch.from_numpy(np.array(state["rows"])).to(self._rows)
        self._mean = torch.from_numpy(np.array(state["mean"])).to(self._mean)
        self._told = state["told"]
        self.generator.bit_generator.state = state["generator"]
