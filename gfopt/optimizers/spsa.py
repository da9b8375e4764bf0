"""Simultaneous perturbation stochastic approximation: a slope in one random direction, and a step along it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.draws import Draws
from gfopt.optimizers._arrays import to_array, to_tensor
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Real, Space
from gfopt.types import Evaluation

_CALIBRATION = 30  # steps that tell how steep the loss is


class SPSAOptions(Options):
    """Options of `spsa`.

    Attributes:
        population: searches side by side, each from a start row of its own; they know nothing of each other.
        first_step: how far a gene goes in the first step on a slope as steep as that of the first 30, in units of its
            scale; it decides the numerator `a` of the gain.
        step_decay: exponent of the steps' gain (`alpha`).
        stability: steps by which the steps' gain is delayed (`A`).
        perturbation: how far a gene is perturbed at first, in units of its scale (`c`).
        perturbation_decay: exponent of the perturbations' gain (`gamma`).

    The defaults of the exponents are those of Spall 1998, who also says to take a tenth of the expected steps for
    `stability` and to choose `a` by the first steps.
    """

    population: int = Field(1, ge=1)
    first_step: float = Field(0.2, gt=0)
    step_decay: float = Field(0.602, ge=0, le=1)
    stability: float = Field(100.0, ge=0)
    perturbation: float = Field(0.02, gt=0)
    perturbation_decay: float = Field(0.101, ge=0)


class SPSA(Optimizer):
    """Two evaluations for each step, whatever the number of genes.

    With random signs `d`, the scale `s`, and the gains `a_k = a / (A + k + 1)^alpha` and `c_k = c / (k + 1)^gamma`, the
    slope is `g = (f(x + c_k s d) - f(x - c_k s d)) / (2 c_k)`, and `x = x - a_k g s d`. Both rows are evaluated on the
    same batch, so nothing is stale on a new one; a pair with a failed row tells nothing and moves nothing.

    Losses have units of their own: `a` is such that a slope as steep as the mean `|g|` of the first steps moves a gene
    by `first_step` times its scale at `k = 0`.

    References: Spall 1992, IEEE Trans. Automatic Control 37(3), eq. 2.1 and 2.2; Spall 1998, "Implementation of the
        simultaneous perturbation algorithm", IEEE Trans. Aerospace and Electronic Systems 34(3), section III.
    """

    options_class = SPSAOptions
    options: SPSAOptions
    space: ClassVar[Space] = {
        "first_step": Real(0.02, 1.0, log=True),
        "perturbation": Real(0.002, 0.2, log=True),
        "step_decay": Real(0.0, 1.0),
    }

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of searches."""
        assert isinstance(options, SPSAOptions)
        return options.population

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """Both rows of each search."""
        return 2 * cls.population_size(options)

    def _initialize(self, start: Tensor) -> None:
        self._points = start if self.bounds is None else start.clamp_(*self.bounds)
        self._steps = -1  # the first is the start
        self._steepness = start.new_zeros(len(start), dtype=torch.float64)  # mean |g| of the steps that count
        self._counted = torch.zeros_like(self._steepness)
        self._scale = self.scale.to(start)
        self._draws = Draws(int(self.generator.integers(2**63)), start.device)
        self._before = self._draws.state_dict()

    def _reach(self) -> float:
        """How far genes are perturbed in this step, in units of scale (`c_k`)."""
        reach: float = self.options.perturbation / (self._steps + 1) ** self.options.perturbation_decay
        return reach

    def ask(self, batch: int) -> Tensor:
        """The start rows; then, of each search, one row on either side of its point."""
        del batch
        if self._steps < 0:
            return self._points.clone()
        count, dim = self._points.shape
        self._draws.load_state_dict(self._before)
        signs = self._draws.coins_(torch.empty(count, dim, dtype=torch.bool, device=self._points.device))
        rows = self._points.new_empty(2 * count, dim)
        step = self._reach() * self._scale
        torch.where(signs, step, -step, out=rows[:count])
        torch.sub(self._points, rows[:count], out=rows[count:])
        rows[:count] += self._points
        return rows if self.bounds is None else rows.clamp_(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the rows last asked for, and move each point along its slope."""
        loss = evaluation.loss.detach().to(self._steepness)
        if self._steps >= 0:
            count = len(self._points)
            self._move(population[:count] - population[count:], loss[:count], loss[count:])
            self._before = self._draws.state_dict()
        self._steps += 1

    def _move(self, offset: Tensor, ahead: Tensor, behind: Tensor) -> None:
        """Step by `(P,)` losses at both ends of `(P, D)` lines of length `2 c_k` around the points."""
        options, reach = self.options, self._reach()
        whole = (ahead - behind).isfinite()
        slope = torch.where(whole, (ahead - behind) / (2 * reach), 0.0)
        early = whole & (self._counted < _CALIBRATION)
        self._counted += early
        self._steepness += torch.where(early, (slope.abs() - self._steepness) / self._counted, 0.0)
        relative = torch.where(self._steepness > 0, slope / self._steepness, 0.0)
        later = (options.stability + 1) / (options.stability + self._steps + 1)
        gain = options.first_step * later**options.step_decay
        self._points.addcmul_(offset, (relative * (gain / (2 * reach))).to(offset)[:, None], value=-1)
        if self.bounds is not None:
            self._points.clamp_(*self.bounds)

    def state_dict(self) -> dict[str, Any]:
        """The points, what the gains depend on, and the place in the random numbers."""
        return {
            "points": to_array(self._points),
            "steps": self._steps,
            "steepness": to_array(self._steepness),
            "counted": to_array(self._counted),
            "draws": {**self._before, "positions": dict(self._before["positions"])},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        like = self._points
        self._points, self._steps = to_tensor(state["points"], like), state["steps"]
        self._steepness, self._counted = (to_tensor(state[name], self._steepness) for name in ("steepness", "counted"))
        self._draws.load_state_dict(state["draws"])
        self._before = self._draws.state_dict()
