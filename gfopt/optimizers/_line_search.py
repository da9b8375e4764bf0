"""Line searches along one direction that are told one trial at a time, so that they can be stopped and gone on with.

A search knows `phi(0)` and `phi'(0)` of `phi(a) = f(x + a d)` and proposes a step `a`; it is told `phi(a)` and
`phi'(a)`, and either proposes another one or is over. All is plain numbers: a search is its own state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

SMALLEST_SHARE, LARGEST_SHARE = 0.1, 0.5  # of a step that was too long: what an interpolation may make of it
FAILED_SHARE = 0.1  # the same where the trial failed and there is nothing to interpolate
GROWTH = 4.0  # how much longer a step becomes while the slope still falls (bracketing)
INSIDE = 0.01  # share of a bracket that a trial keeps away from its ends

Verdict = Literal["again", "here", "lowest", "none"]
"""Go on with the new step; take this trial; take the best trial before; take none."""


@dataclass
class Search:
    """Takes the first trial, unless it failed: no line search at all.

    Attributes:
        loss: `phi(0)`; only compared with losses of the same batch.
        slope: `phi'(0)`, negative.
        step: the trial `a`.
        trials: how many it was told.
        limit: trials after which it gives up.
    """

    loss: float
    slope: float
    step: float
    limit: int
    trials: int = 0

    def tell(self, loss: float, slope: float) -> Verdict:
        """Take `phi(step)` and `phi'(step)`; `loss` is `inf` for a trial that failed."""
        del slope
        self.trials += 1
        if math.isfinite(loss):
            return "here"
        return self._shorter(FAILED_SHARE * self.step)

    def _shorter(self, step: float) -> Verdict:
        self.step = step
        return "again" if self.trials < self.limit else "none"

    def state_dict(self) -> dict[str, Any]:
        """Its numbers, and which search it is."""
        return {"search": _NAMES[type(self)], **asdict(self)}


@dataclass
class Backtracking(Search):
    """Shorter and shorter, until the loss has fallen enough (Nocedal and Wright 2006, algorithm 3.1).

    Enough is `phi(a) <= phi(0) + c1 a phi'(0)` (eq. 3.4); the next trial is where the parabola through `phi(0)`,
    `phi'(0)` and `phi(a)` is lowest (eq. 3.58), between a tenth and half of the one before.

    Attributes:
        decrease: `c1`.
    """

    decrease: float = 1e-4

    def tell(self, loss: float, slope: float) -> Verdict:
        """Take `phi(step)`."""
        del slope
        self.trials += 1
        if loss <= self.loss + self.decrease * self.step * self.slope:
            return "here"
        share = FAILED_SHARE
        if math.isfinite(loss):
            excess = loss - self.loss - self.step * self.slope  # positive: the loss is above the Armijo line
            share = min(max(-self.step * self.slope / (2 * excess), SMALLEST_SHARE), LARGEST_SHARE)
        return self._shorter(share * self.step)


@dataclass
class StrongWolfe(Search):
    """A step with enough decrease and a slope that is nearly flat (Nocedal and Wright 2006, algorithms 3.5 and 3.6).

    Enough is `phi(a) <= phi(0) + c1 a phi'(0)` and `|phi'(a)| <= -c2 phi'(0)` (eq. 3.7). Steps grow until a bracket
    is known to hold one, then trials inside the bracket make it smaller: the lowest point of the cubic through its ends
    (eq. 3.59) where both slopes are known, kept away from the ends.

    Attributes:
        decrease: `c1`.
        flatness: `c2`.
        low_step, low_loss, low_slope: the best end of the bracket, which has enough decrease; 0 is the start.
        high_step, high_loss, high_slope: the other end; the slope is NaN where the trial failed, the step infinite
            while there is no bracket.
        improved: whether the trial told last is the best end.
    """

    decrease: float = 1e-4
    flatness: float = 0.9
    low_step: float = 0.0
    low_loss: float = math.nan
    low_slope: float = math.nan
    high_step: float = math.inf
    high_loss: float = math.inf
    high_slope: float = math.nan
    improved: bool = False

    def __post_init__(self) -> None:
        if self.low_step == 0.0:
            self.low_loss, self.low_slope = self.loss, self.slope

    def tell(self, loss: float, slope: float) -> Verdict:
        """Take `phi(step)` and `phi'(step)`."""
        self.trials += 1
        self.improved = False
        enough = loss <= self.loss + self.decrease * self.step * self.slope
        if not enough or loss >= self.low_loss:
            self.high_step, self.high_loss = self.step, loss
            self.high_slope = slope if math.isfinite(loss) else math.nan
        elif abs(slope) <= -self.flatness * self.slope:
            return "here"
        else:
            if slope * (self.high_step - self.low_step) >= 0:
                self.high_step, self.high_loss, self.high_slope = self.low_step, self.low_loss, self.low_slope
            self.low_step, self.low_loss, self.low_slope = self.step, loss, slope
            self.improved = True
        if self.trials >= self.limit:
            return self._best()
        self.step = self._next()
        return "again"

    def _best(self) -> Verdict:
        """What to take where no trial was good enough in both ways: the lowest that has enough decrease."""
        if self.improved:
            return "here"
        return "lowest" if self.low_step > 0 else "none"

    def _next(self) -> float:
        """The next trial: farther out, or inside the bracket."""
        width = self.high_step - self.low_step
        if math.isinf(width):
            return GROWTH * self.step
        if math.isinf(self.high_loss):
            return self.low_step + FAILED_SHARE * width
        if math.isnan(self.high_slope):
            share = 0.5
        else:
            share = _cubic(self.low_loss, width * self.low_slope, self.high_loss, width * self.high_slope)
        return self.low_step + width * min(max(share, INSIDE), 1 - INSIDE)


def _cubic(first: float, first_slope: float, last: float, last_slope: float) -> float:
    """Where in `[0, 1]` the cubic with these values and slopes at 0 and 1 is lowest (eq. 3.59), else the middle."""
    one = first_slope + last_slope - 3 * (last - first)
    square = one * one - first_slope * last_slope
    if square < 0:
        return 0.5
    two = math.sqrt(square)
    below = last_slope - first_slope + 2 * two
    return 0.5 if below == 0 else 1 - (last_slope + two - one) / below


_SEARCHES: dict[str, type[Search]] = {"none": Search, "backtracking": Backtracking, "strong-wolfe": StrongWolfe}
_NAMES = {search: name for name, search in _SEARCHES.items()}


def begin(name: str, loss: float, slope: float, step: float, **options: Any) -> Search:
    """A new search of the kind `name`; `options` are its own beside `limit`."""
    return _SEARCHES[name](loss, slope, step, **options)


def restored(state: Mapping[str, Any]) -> Search:
    """The search that `Search.state_dict` was taken of."""
    return _SEARCHES[state["search"]](**{name: value for name, value in state.items() if name != "search"})
