"""A clock that stands still while the accuracy is looked at, and says when each target was first reached."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from torch import Tensor

from gfopt.bench.results import Race, Reached

ACCURACIES = (0.9, 0.95)


class Stopped(Exception):
    """Every target is reached, or the time is up."""


class Watch:
    """Follows one trainer.

    The accuracy of the best vector so far is what counts: it is looked at whenever a lower loss was found.

    Args:
        accuracy: of a `(D,)` vector on the training rows.
        limit: seconds.
        targets: accuracies, ascending.
        clock: seconds.
    """

    def __init__(
        self,
        accuracy: Callable[[Tensor], float],
        limit: float,
        targets: Sequence[float] = ACCURACIES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._accuracy, self._limit, self._targets, self._clock = accuracy, limit, targets, clock
        self._since, self._before = clock(), 0.0
        self._loss = math.inf
        self.reached: dict[str, Reached] = {}
        self.best, self.seconds, self.evaluations = 0.0, 0.0, 0

    def start(self) -> None:
        """The clock starts, or goes on."""
        self._since = self._clock()

    def stop(self) -> float:
        """The clock stands still; seconds so far."""
        self._before += self._clock() - self._since
        return self._before

    def generation(self, losses: Tensor, rows: Tensor, evaluations: int) -> None:
        """For a loop on this clock: a generation was evaluated, `evaluations` in all. As `record`."""
        self.record(losses, rows, evaluations, self.stop())
        self.start()

    def record(self, losses: Tensor, rows: Tensor, evaluations: int, seconds: float) -> None:
        """After so many `seconds`, `(Q,)` losses of `(Q, D)` rows are known.

        Raises:
            Stopped: if there is nothing more to wait for.
        """
        self.seconds, self.evaluations = seconds, evaluations
        lowest = int(losses.argmin())
        if float(losses[lowest]) < self._loss:
            self._loss = float(losses[lowest])
            self.best = max(self.best, self._accuracy(rows[lowest]))
            for target in self._targets:
                if self.best >= target:
                    self.reached.setdefault(str(target), Reached(seconds, evaluations))
        if len(self.reached) == len(self._targets) or seconds >= self._limit:
            raise Stopped

    def race(self, name: str, *, ours: bool = False, against: str = "", note: str = "") -> Race:
        """What was seen."""
        return Race(name, dict(self.reached), self.best, self.seconds, self.evaluations, ours, against, note)
