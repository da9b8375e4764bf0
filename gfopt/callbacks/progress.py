"""A line that says how far a run is."""

from __future__ import annotations

import math
import shutil
import sys
import time

from gfopt.callbacks._arguments import number
from gfopt.types import Callback, Observation

WIDTH = 24  # characters of the bar


class ProgressBar(Callback):
    """Shows share of the budget, incumbent's loss, scores and seconds in one line of the standard error.

    On a terminal the line is written over and over. Anywhere else (a file, a notebook's log) it is written once, when
    the run is over.

    Args:
        interval: seconds at least between two versions of the line.

    Raises:
        ConfigError: unless it is a number of at least 0.
    """

    def __init__(self, interval: float = 0.1) -> None:
        self.interval = number("interval", interval, least=0)
        self._next = 0.0
        self._line = ""

    def on_train_begin(self, dim: int) -> None:
        """Nothing is shown yet."""
        del dim
        self._next, self._line = 0.0, ""

    def on_generation_end(self, seen: Observation) -> str | None:
        """Write the line anew if it is time to."""
        now = time.monotonic()
        if now >= self._next or seen.last:
            self._next, self._line = now + self.interval, line(seen)
            if sys.stderr.isatty():
                # Blanks write over what was longer before; in the last column some terminals begin a new line.
                width = shutil.get_terminal_size().columns - 1
                sys.stderr.write("\r" + self._line[:width].ljust(width))
                sys.stderr.flush()
        return None

    def on_train_end(self) -> None:
        """Leave the last version of the line."""
        if self._line:
            sys.stderr.write("\n" if sys.stderr.isatty() else f"{self._line}\n")


def line(seen: Observation) -> str:
    """Share of the budget, loss, scores and seconds of a step."""
    share = min(1.0, seen.spent)
    full = math.floor(share * WIDTH)
    bar = "━" * full + "╌" * (WIDTH - full)
    scores = [f"{name} {value:.4g}" for name, value in seen.scores.items() if not name.endswith("_loss")]
    return "  ".join([bar, f"{share:4.0%}", f"loss {seen.loss:.4g}", *scores, f"{seen.ledger.seconds:.1f} s"])
