"""What a run leaves behind: its cost ledger, its logged points, and why it ended. Plain numbers, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum

from gfopt.errors import ConfigError, expectation


class StopReason(StrEnum):
    """Why the loop ended."""

    BUDGET = "budget"
    TARGET = "target"
    SELF_STOPPED = "self_stopped"
    STALLED = "stalled"
    CALLBACK = "callback"


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    KILLED = "killed"
    TIMEOUT = "timeout"


@dataclass
class Ledger:
    """What a run has spent so far.

    Attributes:
        steps: ask/tell rounds (generations, gradient steps).
        evaluations: member x batch.
        forward_samples, backward_samples: rows of data passed through a network, member by member.
        flops: measured floating-point operations.
        forward_equivalents: the same in units of one forward pass of one sample.
        seconds: `ask_seconds + evaluate_seconds + tell_seconds`; scoring is not in it.
        peak_memory: bytes, the process's highest resident size (on a GPU: of its memory).
        probe_samples: forward passes spent on the incumbent's probe, outside budget and clock.
        nonfinite: rows whose loss was NaN or infinite.
    """

    steps: int = 0
    evaluations: int = 0
    forward_samples: int = 0
    backward_samples: int = 0
    flops: float = 0.0
    forward_equivalents: float = 0.0
    seconds: float = 0.0
    ask_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    tell_seconds: float = 0.0
    peak_memory: int = 0
    probe_samples: int = 0
    nonfinite: int = 0


LEDGER_UNITS = tuple(f.name for f in fields(Ledger))
BUDGET_UNITS = (
    "evaluations",
    "forward_samples",
    "backward_samples",
    "flops",
    "forward_equivalents",
    "seconds",
    "steps",
)


@dataclass(frozen=True)
class Budget:
    """An upper limit in any units of the ledger; with several, whichever comes first ends the run.

    The step that crosses the limit is completed and charged.
    """

    evaluations: float | None = None
    forward_samples: float | None = None
    backward_samples: float | None = None
    flops: float | None = None
    forward_equivalents: float | None = None
    seconds: float | None = None
    steps: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.limits().items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ConfigError(f"budget.{name}: " + expectation("a positive finite number", value))
        if not self.limits():
            raise ConfigError(
                "budget: "
                + expectation(f"at least one of {', '.join(BUDGET_UNITS)}", "none", "For example {evaluations: 20000}.")
            )

    def limits(self) -> dict[str, float]:
        """The units that are limited, with their limits."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def progress(self, ledger: Ledger) -> float:
        """Share of the budget that is spent, 1 or more when it is used up."""
        return max(float(getattr(ledger, name)) / limit for name, limit in self.limits().items())


@dataclass(frozen=True)
class Record:
    """One logged point.

    Attributes:
        ledger: what had been spent by then.
        loss: the incumbent's loss on the probe rows; `+inf` if none was finite yet.
        batch_loss: the lowest loss of the last batch, as the optimizer saw it; NaN at the start.
        scores: the incumbent's metrics, as `test_accuracy`.
    """

    ledger: Mapping[str, float]
    loss: float
    batch_loss: float
    scores: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, float]:
        """The point as one flat table row."""
        return {**self.ledger, "loss": self.loss, "batch_loss": self.batch_loss, **self.scores}


@dataclass
class Trace:
    """A run's logged points and its end.

    Attributes:
        records: the logged points.
        status, stop_reason, message: how and why it ended.
        seconds_shared: it was computed together with other runs: its evaluation seconds are a share of the joint
            ones, so that they say nothing about what it takes by itself.
    """

    records: list[Record] = field(default_factory=list)
    status: Status = Status.OK
    stop_reason: StopReason | None = None
    message: str = ""
    seconds_shared: bool = False
