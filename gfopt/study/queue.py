"""What to hand to a worker next: the tunings first, and each run as soon as its own is done."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

from gfopt.errors import StoreError
from gfopt.store import ResultsFolder
from gfopt.store.tunings import ENDED
from gfopt.study.execute import failed
from gfopt.study.executors import RunKilled
from gfopt.study.spec import RunSpec
from gfopt.study.tuning import TuningSpec, interrupted, record_untuned
from gfopt.trace import Status

Task: TypeAlias = list[RunSpec] | TuningSpec


class Queue:
    """The tasks of a study, in order.

    Tunings that ended before are not done again. What has nothing to tune is recorded as such.

    Args:
        tunings: all of the study.
        tasks: the runs of each task that is not done; those of one task share their tuning.
        folder: where the tunings are kept.

    Attributes:
        total: tunings of the study, without what has nothing to tune.
        tuned: of them, tunings that have ended, however.
    """

    def __init__(self, tunings: Iterable[TuningSpec], tasks: Iterable[list[RunSpec]], folder: ResultsFolder) -> None:
        self.folder = folder
        self.total = self.tuned = 0
        self._tunings: list[TuningSpec] = []
        self._ready: list[tuple[int, list[RunSpec]]] = []
        self._blocked: dict[str, list[tuple[int, list[RunSpec]]]] = {}
        for place, task in enumerate(tasks):
            blocked = self._blocked.setdefault(task[0].tuning, []) if task[0].tuning else self._ready
            blocked.append((place, task))
        for tuning in tunings:
            self._add(tuning)
        self._tunings.reverse()

    def take(self) -> Task | None:
        """The next task; `None` if there is none now."""
        if self._tunings:
            return self._tunings.pop()
        return heapq.heappop(self._ready)[1] if self._ready else None

    def ended(self, tuning: TuningSpec, future: Future[str], workers: int) -> dict[str, str]:
        """Let the runs of a tuning begin; where it has failed, they have, too: how they ended, by key.

        Args:
            tuning: what has ended.
            future: of its status.
            workers: for the record of runs that failed.
        """
        status = self._status(tuning, future)
        known = self.folder.tunings.read(tuning.key)
        assert known is not None  # whoever ends one leaves word
        self.tuned += 1
        if status in ENDED:
            self._release(tuning.key, known["options"])
            return {}
        lost = [spec for _, task in self._blocked.pop(tuning.key, []) for spec in task]
        for spec in lost:
            row = failed(spec, Status(status), f"its tuning {status}: {known['message']}", workers)
            self.folder.write_run(spec.key, row, [], {}, {})
        return {spec.key: status for spec in lost}

    def _add(self, tuning: TuningSpec) -> None:
        known = self.folder.tunings.read(tuning.key)
        ended = known is not None and known["status"] in ENDED
        if tuning.why_not:
            if not ended:
                record_untuned(tuning, self.folder)
            return
        self.total += 1
        if known is not None and ended:
            self.tuned += 1
            self._release(tuning.key, known["options"])
        else:
            self._tunings.append(tuning)

    def _release(self, key: str, chosen: Mapping[str, Any]) -> None:
        """The runs of a tuning are next, in their order, with the options that it has chosen."""
        for place, task in self._blocked.pop(key, []):
            heapq.heappush(self._ready, (place, [spec.tuned(chosen) for spec in task]))

    def _status(self, tuning: TuningSpec, future: Future[str]) -> str:
        try:
            return future.result()
        except RunKilled as error:
            status, message = Status.KILLED.value, str(error)
        except StoreError:  # the folder takes no results any more
            raise
        except Exception as error:  # noqa: BLE001 - what a worker raised outside its tuning is that one's end, too
            status, message = Status.CRASHED.value, f"{type(error).__name__}: {error}"
        interrupted(tuning, self.folder, status, message)
        return status


def specs_of(tasks: Iterable[Task]) -> Sequence[RunSpec | TuningSpec]:
    """The runs and tunings of several tasks."""
    return [spec for task in tasks for spec in ([task] if isinstance(task, TuningSpec) else task)]
