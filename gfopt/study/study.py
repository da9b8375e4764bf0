"""`Study`: a grid of runs, checked as a whole, executed in worker processes, collected into tables and a report."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from gfopt import config as configuration
from gfopt.config import StudyConfig
from gfopt.errors import StoreError
from gfopt.optimizers import optimizer_class
from gfopt.results import Results
from gfopt.store import ResultsFolder, environment
from gfopt.study.build import data_file, importable
from gfopt.study.content import describe, without_folders
from gfopt.study.diagnose import diagnose, starts_of_study, warn_of_failures
from gfopt.study.execute import execute, execute_together, failed
from gfopt.study.executors import LocalExecutor, RunKilled
from gfopt.study.forecast import Forecast, forecast
from gfopt.study.prepare import Prepared, prepare
from gfopt.study.progress import Progress
from gfopt.study.queue import Queue, Task, specs_of
from gfopt.study.spec import RunSpec, tasks
from gfopt.study.tuning import TuningSpec, execute_tuning
from gfopt.trace import Budget, Status

if TYPE_CHECKING:
    from gfopt.optimizers.base import Options

POLL_SECONDS = 0.25  # how often a live display hears of running runs


class Study:
    """A grid of problems, optimizers and repeats.

    Args:
        problems: by name, what a study file says under `problems`, or your own objects: `dict(network=factory,
            dataset=data, loss=...)`.
        optimizers: by name, as `{"ga": {"kind": "deap-ga", "population": 128}}`.
        repeats: independent runs of each problem and optimizer.
        budget: of every run, in units of the ledger; a problem may have its own.
        seed: every random number follows from it.
        name: names the folder of results.
        **settings: what else a study file may say: `threads`, `dtype`, `tune`, `report`.

    Raises:
        ConfigError: listing everything that is wrong.
    """

    def __init__(
        self,
        problems: Mapping[str, Any],
        optimizers: Mapping[str, Any],
        *,
        repeats: int = 5,
        budget: Budget | Mapping[str, float] | None = None,
        seed: int = 0,
        name: str = "study",
        **settings: Any,
    ) -> None:
        given = {"name": name, "seed": seed, "repeats": repeats, **settings}
        if budget is not None:
            given["budget"] = budget.limits() if isinstance(budget, Budget) else budget
        given |= {"problems": _plain_budgets(problems), "optimizers": optimizers}
        if isinstance(tune := given.get("tune"), Mapping):
            given |= _plain_budgets({"tune": tune})
        self.config: StudyConfig = configuration.from_mapping(given, live=True)
        self._modules: Path | None = None
        self._prepared: dict[str, Prepared] = {}

    @classmethod
    def of(cls, config: StudyConfig, modules: Path | None = None) -> Study:
        """The study of a checked configuration; `modules` is a folder with the user's own Python modules."""
        study = cls.__new__(cls)
        study.config = config
        study._modules = modules
        study._prepared = {}
        return study

    def __repr__(self) -> str:
        c = self.config
        grid = f"{len(c.problem_cells)} problems x {len(c.optimizer_cells)} optimizers x {c.repeats} repeats"
        return f"Study({c.name!r}: {grid} = {c.runs} runs)"

    def prepare(self, device: str | None = None) -> list[RunSpec]:
        """Build every problem once, so that whatever does not fit is said before anything starts; the runs.

        Raises:
            GfoptError: with the place in the study.
        """
        return self._parts(device).specs

    def forecast(self, device: str | None = None) -> list[Forecast]:
        """What each problem and optimizer will cost, from timing a few evaluations; starts no run."""
        parts = self._parts(device)
        return forecast(self.config, parts.problems, parts.tunings)

    def untuned(self, device: str | None = None) -> list[str]:
        """Why some optimizers of a study that tunes are not tuned, one sentence each."""
        return list(dict.fromkeys(tuning.why_not for tuning in self._parts(device).tunings if tuning.why_not))

    def diagnose(
        self,
        problem: str | None = None,
        repeats: int = 3,
        *,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> pd.DataFrame:
        """What can be measured at the starts, as a table; trains and writes nothing. See `gfopt.study.diagnose`."""
        problems = self._parts(None).problems
        return diagnose(self.config, problems, problem=problem, repeats=repeats, progress=progress)

    def run(
        self,
        out: str | os.PathLike[str],
        *,
        workers: int | None = None,
        device: str | None = None,
        fresh: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Results:
        """Run what is not finished yet, collect the tables, and return the results.

        A second call on the same folder continues: finished runs are skipped. Curves are the same, bit for bit on a
        CPU, whatever the number of workers.

        Args:
            out: the results folder.
            workers: runs at a time; by default one per processor, or one on a GPU.
            device: `auto`, `cpu` or `cuda`; by default the study's.
            fresh: remove the results that are there first.
            progress: called as runs advance.

        Raises:
            GfoptError: before anything is started or written, if something does not fit.
        """
        parts = self._parts(device)
        workers = workers if workers is not None else default_workers(parts.device)
        cells = self.config.optimizer_cells
        preload = [*PRELOAD, *sorted({optimizer_class(cell.kind).__module__ for cell in cells})]
        if any(optimizer_class(cell.kind).uses_gradient(cast("Options", cell.options)) for cell in cells):
            preload.append("gfopt.engine.fused.gradient:ready")
        if self.config.tune is not None:
            preload += ["optuna", "gfopt.study.tuning"]
        executor = LocalExecutor(workers, preload=preload)
        folder = ResultsFolder.create(
            out,
            self.description(),
            {**environment(), "device": parts.device, "workers": workers, "runs": len(parts.specs)},
            fresh=fresh,
        )
        # The workers take over `sys.path`.
        with tempfile.TemporaryDirectory(prefix="gfopt-") as beats, importable(self._modules), executor:
            _Execution(parts, folder, executor, workers, Path(beats), progress).run()
        keys = [spec.key for spec in parts.specs]
        folder.collect(keys)
        if parts.tunings:
            folder.tunings.collect([tuning.key for tuning in parts.tunings])
        folder.write_diagnostics(starts_of_study(self.config, parts.problems), keys)
        warn_of_failures(folder.read_run(key) for key in keys)
        return Results(folder.path, problems={spec.key: parts.problems[spec.problem.label] for spec in parts.specs})

    def description(self) -> dict[str, Any]:
        """The study as plain data: Python objects by name and content hash, data files by name.

        Where the files lie stands apart, under `files`: a study that has moved with its data is still the same.
        """
        described: dict[str, Any] = describe(self.config.resolved())
        for entry in described["problems"].values():
            if "dataset" in entry:
                entry["dataset"] = without_folders(entry["dataset"])
        files = {cell.label: file for cell in self.config.problem_cells if (file := data_file(cell)) is not None}
        return {**described, "files": files} if files else described

    def _parts(self, device: str | None) -> Prepared:
        """What the runs are made of; kept, because building it can take seconds."""
        wanted = device or self.config.device
        if wanted not in self._prepared:
            with importable(self._modules):
                self._prepared[wanted] = prepare(self.config, device)
        return self._prepared[wanted]


# What a worker needs, imported once by the process that the workers are forked from.
PRELOAD = (
    "torch",
    "torch._dynamo",  # torch.optim and torch.func import it at their first use, which takes longer than a small run
    "torch.profiler",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "safetensors.numpy",
    "sklearn.datasets",
    "gfopt.study.execute",
)


def load_study(path: str | os.PathLike[str], overrides: Iterable[str] = (), *, allow_code: bool = False) -> Study:
    """The study in a YAML file.

    Args:
        path: the file.
        overrides: `K=V` each, as `repeats=3` or `problems.deep.network.hidden=[64,64]`.
        allow_code: let a network name a Python module of yours, whose code will run; it may lie beside the file.

    Raises:
        ConfigError: listing everything that is wrong, with file, key, expected, got and the fix.
    """
    config = configuration.load(Path(path), overrides, allow_code=allow_code)
    return Study.of(config, Path(path).absolute().parent if allow_code else None)


def default_workers(device: str) -> int:
    """Runs at a time: one per processor that this process may use, or one on a GPU."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Execution:
    """The runs of one call: submits what is missing, listens to what runs, records what dies."""

    def __init__(
        self,
        prepared: Prepared,
        folder: ResultsFolder,
        executor: LocalExecutor,
        workers: int,
        beats: Path,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.prepared, self.folder, self.executor = prepared, folder, executor
        self.workers, self.beats, self.progress = workers, beats, progress

    def run(self) -> None:
        """Everything that is not finished; a killed run fails only itself."""
        specs = self.prepared.specs
        done = {key: str(run["status"]) for key, run in self.folder.finished().items()}
        self.total, self.skipped = len(specs), sum(spec.key in done for spec in specs)
        self.statuses = {spec.key: done[spec.key] for spec in specs if spec.key in done}
        missing = tasks([spec for spec in specs if spec.key not in done])
        self.queue = Queue(self.prepared.tunings, missing, self.folder)
        waiting: dict[Future[Any], Task] = {}
        self._tell({})
        # Only a few more than run at a time are handed over: a task holds its data set.
        self._refill(waiting)
        while waiting:
            ready, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in ready:
                self.statuses |= self._ended(waiting.pop(future), future)
            self._refill(waiting)
            self._tell(self._beating(waiting.values()))

    def _refill(self, waiting: dict[Future[Any], Task]) -> None:
        while len(waiting) < 2 * self.workers and (task := self.queue.take()) is not None:
            waiting[self._submit(task)] = task

    def _submit(self, task: Task) -> Future[Any]:
        first = task if isinstance(task, TuningSpec) else task[0]
        data, path = self.prepared.datasets[first.problem.label], self.folder.path
        if isinstance(task, TuningSpec):
            return self.executor.submit(execute_tuning, task, data, path, self.beats / task.key)
        beats = [self.beats / spec.key for spec in task]
        if task[0].batch_repeats:
            return self.executor.submit(execute_together, task, data, path, self.workers, beats)
        return self.executor.submit(execute, task[0], data, path, self.workers, beats[0])

    def _ended(self, task: Task, future: Future[Any]) -> dict[str, str]:
        """How the runs of a task ended, by key; where it was a tuning, those that it has kept from running."""
        if isinstance(task, TuningSpec):
            return self.queue.ended(task, future, self.workers)
        try:
            found = future.result()
            return dict(zip([s.key for s in task], found if task[0].batch_repeats else [found], strict=True))
        except RunKilled as error:
            status, message = Status.KILLED, str(error)
        except StoreError:  # the folder takes no results any more, from no run
            raise
        except Exception as error:  # noqa: BLE001 - what a worker raised outside its run is that run's end, too
            status, message = Status.CRASHED, f"{type(error).__name__}: {error}"
        if len(task) > 1:  # nobody knows which of them it was
            message += f" ({len(task)} repeats trained together in it)"
        for spec in task:  # one that had finished by then stays as it is
            self.folder.write_run(spec.key, failed(spec, status, message, self.workers), [], {}, {})
        return {spec.key: str(self.folder.read_run(spec.key)["status"]) for spec in task}

    def _beating(self, tasks: Iterable[Task]) -> dict[str, tuple[float, float]]:
        found = {}
        for spec in specs_of(tasks):
            try:
                spent, loss = (self.beats / spec.key).read_text().split()
            except (OSError, ValueError):  # not started, or half written: it beats again soon
                continue
            found[spec.title] = float(spent), float(loss)
        return found

    def _tell(self, running: Mapping[str, tuple[float, float]]) -> None:
        if self.progress is None:
            return
        counts: dict[str, int] = {}
        for status in self.statuses.values():
            counts[status] = counts.get(status, 0) + 1
        tunings = self.queue.total, self.queue.tuned
        self.progress(Progress(self.total, len(self.statuses), self.skipped, counts, running, *tunings))


def _plain_budgets(problems: Any) -> Any:
    """Problems whose own budget is given as a `Budget`, with the mapping in its place."""
    if not isinstance(problems, Mapping):  # refused in words where everything is checked
        return problems
    plain = {}
    for name, entry in problems.items():
        if isinstance(entry, Mapping) and isinstance(entry.get("budget"), Budget):
            entry = {**entry, "budget": entry["budget"].limits()}
        plain[name] = entry
    return plain
