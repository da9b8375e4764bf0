"""How a learning rate changes while a run spends its budget: one option, in any of its spellings.

A schedule is a factor of the rate as a function of the share of the budget that is spent, so that it ends where the
run ends, whatever the budget is given in. `plateau` alone goes by losses, each row by its own (`PlateauTracker`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from gfopt.errors import ConfigError, expectation, suggestion
from gfopt.options import parse

_ROUNDING = 1e-9  # of an interval: 0.7 / 0.1 is a little less than 7


class ScheduleOptions(BaseModel):
    """What all schedules have in common: a factor that the learning rate is multiplied by."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def at(self, spent: float) -> float:
        """The factor when the share `spent` of the budget, in `[0, 1]`, is spent."""
        del spent
        return 1.0


class ConstantOptions(ScheduleOptions):
    """The same rate to the end, after a linear warm-up if one is wanted.

    Attributes:
        warmup: share of the budget over which the factor rises linearly from `start` to 1 (Goyal et al. 2017,
            arXiv:1706.02677, section 2.2).
        start: the factor at the very beginning, where there is a warm-up.
    """

    kind: Literal["constant"]
    warmup: float = Field(0.0, ge=0, lt=1)
    start: float = Field(0.1, gt=0, le=1)

    def at(self, spent: float) -> float:
        """The factor of the warm-up, then 1."""
        return self.start + (1 - self.start) * spent / self.warmup if spent < self.warmup else 1.0


class StepOptions(ScheduleOptions):
    """Lower by the same factor again and again: `factor ** floor(spent / every)`.

    The defaults are close to what residual networks were trained with, a tenth after each third of the run (He et al.
    2015, arXiv:1512.03385, section 4.2).

    Attributes:
        every: share of the budget between two steps.
        factor: what each of them multiplies the rate by.
    """

    kind: Literal["step"]
    every: float = Field(0.3, gt=0, le=1)
    factor: float = Field(0.1, gt=0, lt=1)

    def at(self, spent: float) -> float:
        """The factor after the steps so far."""
        return float(self.factor ** math.floor(spent / self.every + _ROUNDING))


class CosineOptions(ScheduleOptions):
    """Half a cosine from 1 down to `final`, once or with warm restarts: SGDR (Loshchilov and Hutter 2017).

    `final + (1 - final) (1 + cos(pi T_cur / T_i)) / 2` (arXiv:1608.03983, eq. 5), where `T_cur / T_i` is the share of
    the present cycle; all cycles are equally long.

    Attributes:
        warmup: share of the budget over which the factor rises linearly from `start` to 1, before the first cycle.
        start: the factor at the very beginning, where there is a warm-up.
        final: the factor at the end of a cycle.
        cycles: how often it starts anew at 1, the first time included.
    """

    kind: Literal["cosine"]
    warmup: float = Field(0.0, ge=0, lt=1)
    start: float = Field(0.1, gt=0, le=1)
    final: float = Field(0.0, ge=0, lt=1)
    cycles: int = Field(1, ge=1)

    def at(self, spent: float) -> float:
        """The factor of the warm-up, then of the cosine."""
        if spent < self.warmup:
            return self.start + (1 - self.start) * spent / self.warmup
        passed = self.cycles * (spent - self.warmup) / (1 - self.warmup)
        done = min(math.floor(passed + _ROUNDING), self.cycles - 1)
        return _cosine(1.0, self.final, max(0.0, passed - done))


class OneCycleOptions(ScheduleOptions):
    """Up to the full rate and down to almost nothing, once: the 1cycle policy (Smith and Topin 2018).

    Half a cosine from `start` up to 1, reached at `peak_at` of the budget, then half a cosine down to `final`
    (arXiv:1708.07120, section 3, has straight lines; the cosines are fastai's and torch's). Momentum stays as it is.
    The rate of the optimizer is the highest one: it may be larger than a constant one could be.

    Attributes:
        peak_at: share of the budget at which the rate is highest; the default is fastai's, as is that of `start`.
        start: the factor at the beginning.
        final: the factor at the end, "several orders of magnitude" below that at the beginning.
    """

    kind: Literal["one-cycle"]
    peak_at: float = Field(0.3, gt=0, lt=1)
    start: float = Field(0.04, gt=0, le=1)
    final: float = Field(1e-4, ge=0, lt=1)

    def at(self, spent: float) -> float:
        """The factor on the way up or down."""
        if spent < self.peak_at:
            return _cosine(self.start, 1.0, spent / self.peak_at)
        return _cosine(1.0, self.final, (spent - self.peak_at) / (1 - self.peak_at))


class PlateauOptions(ScheduleOptions):
    """Lower each time that a row's loss has stopped falling, each row for itself.

    What is compared is an average of the row's last losses, `(1 - smoothing) sum_i smoothing^i loss[-i]`, freed of its
    bias towards 0 as Adam's are, since losses of different minibatches do not compare: with the default about the last
    ten. On a full batch `smoothing: 0` compares the losses themselves. A failed row's loss is left out of the average,
    and the step counts as one without improvement.

    The rule is that of torch's `ReduceLROnPlateau`, and the defaults are those of Keras' callback of that name with a
    milder factor, except that any improvement counts.

    Attributes:
        factor: what the row's rate is multiplied by.
        patience: steps without improvement that are tolerated.
        min_delta: how much lower than the lowest before an average has to be.
        smoothing: share of the average that is kept at each step.
        cooldown: steps after a reduction in which none are counted.
        final: no factor is lower than this one.
    """

    kind: Literal["plateau"]
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(10, ge=0)
    min_delta: float = Field(0.0, ge=0)
    smoothing: float = Field(0.9, ge=0, lt=1)
    cooldown: int = Field(0, ge=0)
    final: float = Field(1e-3, ge=0, lt=1)


class PlateauTracker:
    """What each row's factor has become by the losses so far.

    Args:
        options: when and by how much it falls.
        rows: `P`.
        device: where losses come from.

    Attributes:
        factor: `(P,)`, float64; 1 at first.
    """

    _parts = ("factor", "average", "weight", "lowest", "bad", "cooldown")

    def __init__(self, options: PlateauOptions, rows: int, device: torch.device) -> None:
        self.options = options
        self.factor, self._average, self._weight, self._lowest, self._bad, self._cooldown = (
            torch.full((rows,), value, dtype=torch.float64, device=device)
            for value in (1.0, 0.0, 0.0, torch.inf, 0.0, 0.0)
        )

    def update(self, loss: Tensor, seen: Tensor | None = None) -> None:
        """Take the losses of a step.

        Args:
            loss: `(P,)`; `+inf` marks a failed row.
            seen: `(P,)` which rows made a step at all; `None`: all.
        """
        options, loss = self.options, loss.detach().to(self.factor)
        seen = torch.ones_like(loss, dtype=torch.bool) if seen is None else seen
        known, keep = seen & torch.isfinite(loss), options.smoothing
        self._average = torch.where(known, keep * self._average + (1 - keep) * loss, self._average)
        self._weight = torch.where(known, keep * self._weight + (1 - keep), self._weight)
        unbiased = self._average / self._weight  # NaN before the first loss, which is lower than nothing
        better = known & (unbiased < self._lowest - options.min_delta)
        self._lowest = torch.where(better, unbiased, self._lowest)
        bad = torch.where(better | (self._cooldown > 0), 0.0, self._bad + 1)
        cooldown = (self._cooldown - 1).clamp_min(0)
        due = seen & (bad > options.patience)
        # Where it started below `final`, it stays: a factor never rises.
        lower = torch.minimum(self.factor, (options.factor * self.factor).clamp_min(options.final))
        self.factor = torch.where(due, lower, self.factor)
        self._bad = torch.where(seen, torch.where(due, 0.0, bad), self._bad)
        self._cooldown = torch.where(seen, torch.where(due, float(options.cooldown), cooldown), self._cooldown)

    def state_dict(self) -> dict[str, Any]:
        """All of the rows' factors and counts."""
        return {name: self._part(name).cpu().numpy().copy() for name in self._parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name in self._parts:
            value = torch.from_numpy(np.array(state[name])).to(self.factor)
            setattr(self, name if name == "factor" else f"_{name}", value)

    def _part(self, name: str) -> Tensor:
        part: Tensor = getattr(self, name if name == "factor" else f"_{name}")
        return part


Schedule = ConstantOptions | StepOptions | CosineOptions | OneCycleOptions | PlateauOptions
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": ConstantOptions,
    "step": StepOptions,
    "cosine": CosineOptions,
    "one-cycle": OneCycleOptions,
    "plateau": PlateauOptions,
}


def parse_schedule(spec: object) -> Schedule:
    """The checked options of `"cosine"`, or of `{"kind": "cosine", "warmup": 0.05}`.

    Raises:
        ConfigError: for an unknown kind or option, with the nearest known one, or a value out of range.
    """
    if isinstance(spec, ScheduleOptions):
        return spec  # type: ignore[return-value]  # the union names all classes below the common one
    given = {"kind": spec} if isinstance(spec, str) else spec
    if not isinstance(given, Mapping) or "kind" not in given:
        fix = "For example cosine, or {kind: cosine, warmup: 0.05}."
        raise ConfigError(expectation("the name of a schedule, or a mapping with a `kind`", spec, fix))
    kind = given["kind"]
    if not isinstance(kind, str) or kind not in SCHEDULES:
        raise ConfigError(expectation("a known schedule", kind, suggestion(kind, SCHEDULES)))
    return parse(SCHEDULES[kind], given)


# The type of an option that takes a schedule in any of its spellings.
ScheduleOption = Annotated[
    Annotated[Schedule, Field(discriminator="kind")],
    BeforeValidator(
        parse_schedule,
        json_schema_input_type=Literal["constant", "step", "cosine", "one-cycle", "plateau"]
        | Annotated[Schedule, Field(discriminator="kind")],
    ),
]
CONSTANT = ConstantOptions(kind="constant")


def _cosine(first: float, last: float, share: float) -> float:
    """Half a cosine from `first` to `last`."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
