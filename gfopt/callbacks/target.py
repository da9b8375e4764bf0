"""End a run that is good enough."""

from __future__ import annotations

from gfopt.callbacks._arguments import number
from gfopt.callbacks._monitor import Monitor
from gfopt.types import Callback, Observation


class TargetReached(Callback):
    """Ends the run at the first logged point at which the monitored value is as good as `value`.

    A loss alone is a target that `minimize` has an argument for; this one takes held-out scores too.

    Args:
        monitor: `loss`, or a held-out score as `validation_accuracy`; whether higher is better is known of each.
        value: the value to reach, in the monitored value's own unit.

    Raises:
        ConfigError: for arguments out of range; at the first logged point, if the run has no such score.
    """

    def __init__(self, monitor: str, value: float) -> None:
        self.monitor = Monitor(monitor)
        self.value = number("value", value)

    def on_generation_end(self, seen: Observation) -> str | None:
        """At a logged point: a reason to end once the target is reached."""
        if not seen.logged:
            return None
        reached = self.monitor.value(seen)
        met = reached >= self.value if self.monitor.rises else reached <= self.value
        return f"{self.monitor.name} has reached {reached:.6g}" if met else None
