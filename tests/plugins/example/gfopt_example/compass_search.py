"""Compass search along random directions: look both ways, go where it is lower, else look nearer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Integer, Real, Space
from gfopt.types import Evaluation


class CompassSearchOptions(Options):
    """Options of `compass-search`.

    Attributes:
        directions: random directions of a step; both ends of each are tried.
        step: the first distance, in units of each gene's scale (`Delta`).
        growth: factor of the distance after a step that found something lower.
        shrinkage: factor after one that did not (`theta`).
    """

    directions: int = Field(8, ge=1)
    step: float = Field(0.3, gt=0)
    growth: float = Field(1.5, ge=1)
    shrinkage: float = Field(0.9, gt=0, lt=1)


class CompassSearch(Optimizer):
    """Compass search along random directions of one length, by the lower end of the best of them.

    The center `x` moves to the lowest of `x + Delta d` and `x - Delta d` if that is lower than the center itself.

    References: Kolda, Lewis, Torczon 2003, "Optimization by direct search", SIAM Review 45(3), section 3.
    """

    options_class = CompassSearchOptions
    options: CompassSearchOptions
    space: ClassVar[Space] = {"directions": Integer(2, 32, log=True), "step": Real(0.03, 1.0, log=True)}

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """Both ends of every direction."""
        assert isinstance(options, CompassSearchOptions)
        return 2 * options.directions

    def _initialize(self, start: Tensor) -> None:
        self._center, self._step = start[0], self.options.step
        self._center_batch: int | None = None  # where the center's loss is known
        self._loss = math.inf
        self._asked: int | None = None
        self._ends = start[:0]
        self._fresh = False  # whether `_ends` wait for their losses

    def ask(self, batch: int) -> Tensor:
        """The center where its loss is not known; alone at first, then behind the ends of this step's directions."""
        self._asked = batch
        known = batch == self._center_batch
        if self._center_batch is not None and not self._fresh:
            self._ends, self._fresh = self._draw(), True
        return self._ends.clone() if known else torch.cat([self._ends, self._center[None]])

    def _draw(self) -> Tensor:
        """`(2 directions, D)` ends, those of one direction `directions` rows apart."""
        normal = torch.from_numpy(self.generator.standard_normal((self.options.directions, len(self._center))))
        direction = normal.to(self._center) * self.scale.to(self._center)
        ends = torch.cat([self._center + self._step * direction, self._center - self._step * direction])
        return ends if self.bounds is None else ends.clamp_(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Move to the lowest end if it is lower than the center."""
        del population
        loss, count = evaluation.loss.detach(), len(self._ends)
        if len(loss) > count:
            self._loss, self._center_batch = float(loss[count]), self._asked
        if count:
            lowest = int(loss[:count].argmin())
            lower = float(loss[lowest]) < self._loss
            if lower:
                self._center, self._loss = self._ends[lowest].clone(), float(loss[lowest])
            self._step *= self.options.growth if lower else self.options.shrinkage
        self._ends, self._fresh = self._ends[:0], False

    def state_dict(self) -> dict[str, Any]:
        """The center, what is known of it, the ends at hand, and the stream of random numbers."""
        return {
            "center": self._center.cpu().numpy().copy(),
            "loss": self._loss,
            "batch": self._center_batch,
            "step": self._step,
            "ends": self._ends.cpu().numpy().copy(),
            "fresh": self._fresh,
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._center = torch.from_numpy(np.array(state["center"])).to(self._center)
        self._loss, self._center_batch, self._step = state["loss"], state["batch"], state["step"]
        self._ends = torch.from_numpy(np.array(state["ends"])).to(self._center)
        self._fresh = state["fresh"]
        self.generator.bit_generator.state = state["generator"]
