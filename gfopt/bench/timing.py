"""Contenders timed in turn: round by round, each once, so that a busy moment of the machine hits all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SHORTEST = 0.05  # seconds of one timed stretch; a shorter call is repeated within it
MOST_CALLS = 1000  # in one stretch
REST = 0.06  # seconds before a stretch, in which the threads of the one before stop waiting for work in a busy loop


@dataclass(frozen=True)
class Entry:
    """What is timed.

    Attributes:
        run: does the work once; what it returns is dropped.
        units: units of work of a call, as networks evaluated or generations.
    """

    run: Callable[[], object]
    units: int = 1


@dataclass(frozen=True)
class Timing:
    """Seconds that one unit of work took.

    Attributes:
        median: of the timed stretches.
        best: the shortest of them.
        repeats: how many there were.
    """

    median: float
    best: float
    repeats: int


def in_turn(
    entries: Mapping[str, Entry],
    repeats: int,
    *,
    patience: float = math.inf,
    settle: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time all entries `repeats` times, one after the other in every round.

    Args:
        entries: by name. Each is called once or twice before anything counts, which warms it up and tells how many
            calls make a stretch that the clock can measure.
        repeats: timed rounds.
        patience: seconds of timed work after which an entry sits out the remaining rounds; it has at least one.
        settle: waits until the device is done; called before each reading of the clock.
        clock: seconds.
    """

    def stretch(entry: Entry, calls: int) -> float:
        time.sleep(REST)
        settle()
        start = clock()
        for _ in range(calls):
            entry.run()
        settle()
        return clock() - start

    calls, found, spent = {}, {name: list[float]() for name in entries}, dict.fromkeys(entries, 0.0)
    for name, entry in entries.items():
        once = stretch(entry, 1)
        if once < min(patience, 1.0):  # the first call may have compiled or allocated what later ones find
            once = min(once, stretch(entry, 1))
        calls[name] = min(MOST_CALLS, max(1, math.ceil(SHORTEST / max(once, 1e-9))))
    for _ in range(repeats):
        for name, entry in entries.items():
            if found[name] and spent[name] > patience:
                continue
            seconds = stretch(entry, calls[name])
            spent[name] += seconds
            found[name].append(seconds / (calls[name] * entry.units))
    return {name: Timing(statistics.median(each), min(each), len(each)) for name, each in found.items()}
