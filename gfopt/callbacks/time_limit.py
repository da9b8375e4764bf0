"""End a run that has taken long enough."""

from __future__ import annotations

from gfopt.callbacks._arguments import number
from gfopt.types import Callback, Observation


class TimeLimit(Callback):
    """Ends the run after the first step at which the ledger's seconds have reached the limit.

    Those are the seconds of asking, evaluating and telling; scoring and callbacks are on no clock. Unlike a budget in
    seconds it leaves the schedules of the run alone: learning rates and log points go by the budget. Where a clock has
    ended a run, another run of the same seed ends somewhere else.

    Args:
        seconds: the limit.

    Raises:
        ConfigError: unless it is a positive finite number.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = number("seconds", seconds, above=0)

    def on_generation_end(self, seen: Observation) -> str | None:
        """After each step: a reason to end once the time is over."""
        if seen.ledger.seconds < self.seconds:
            return None
        return f"{seen.ledger.seconds:.3g} seconds have passed, of {self.seconds:g}"
