"""How far a study is, as whoever shows it hears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        total: runs of the study.
        finished: of them, runs that are done, in this call or before.
        skipped: of them, runs that were done before.
        counts: runs by how they ended.
        running: share of the budget spent and current loss, by the run's title; of a tuning, the share of its work that
            is done and the best objective so far.
        tunings: tunings of the study, before its runs.
        tuned: of them, tunings that have ended, in this call or before.
    """

    total: int
    finished: int
    skipped: int
    counts: Mapping[str, int]
    running: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tunings: int = 0
    tuned: int = 0
