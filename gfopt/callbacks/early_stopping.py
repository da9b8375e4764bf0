"""End a run that does not improve any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gfopt.callbacks._arguments import number, unit_of_budget
from gfopt.callbacks._monitor import Monitor
from gfopt.types import Callback, Observation


class EarlyStopping(Callback):
    """Ends the run once the monitored value has not improved by more than `min_delta` for `patience` units of cost.

    The patience is a cost of the ledger and no number of generations, so that the same rule holds for optimizers whose
    generations cost unequal amounts. The value is looked at where the incumbent is: at logged points, some 60 a run,
    evenly spaced in log cost. Between two of them the cost grows by a sixth, so the run ends at the first of them at
    which the patience is over, up to a sixth of the cost so far later.

    Args:
        patience: cost without improvement that ends the run, in units of `unit`.
        min_delta: how much better than the best so far counts as an improvement.
        unit: of the ledger, as `forward_equivalents`, `evaluations` or `steps`.
        monitor: `loss`, or a held-out score as `validation_accuracy`; whether higher is better is known of each.

    Raises:
        ConfigError: for arguments out of range; at the first logged point, if the run has no such score.

    References:
        Prechelt 1998, Early stopping, but when?, doi:10.1007/3-540-49430-8_3, compares such rules.
    """

    def __init__(
        self, patience: float, min_delta: float = 0.0, unit: str = "forward_equivalents", monitor: str = "loss"
    ) -> None:
        self.patience = number("patience", patience, above=0)
        self.min_delta = number("min_delta", min_delta, least=0)
        self.unit = unit_of_budget("unit", unit)
        self.monitor = Monitor(monitor)
        self._best: float | None = None
        self._since = 0.0

    def on_train_begin(self, dim: int) -> None:
        """Nothing is known of a new run."""
        del dim
        self._best, self._since = None, 0.0

    def on_generation_end(self, seen: Observation) -> str | None:
        """At a logged point: a reason to end once the patience is over."""
        if not seen.logged:
            return None
        spent = float(getattr(seen.ledger, self.unit))
        value = self.monitor.value(seen)
        if self._improves(value):
            self._best, self._since = value, spent
            return None
        waited = spent - self._since
        if waited < self.patience:
            return None
        return f"{self.monitor.name} has not improved by more than {self.min_delta:g} for {waited:g} {self.unit}"

    def _improves(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self._best is None:
            return True
        return (value - self._best if self.monitor.rises else self._best - value) > self.min_delta

    def state_dict(self) -> dict[str, Any]:
        """The best value so far and the cost at which it was found."""
        return {"best": self._best, "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._best, self._since = state["best"], state["since"]
