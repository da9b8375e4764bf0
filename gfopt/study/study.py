"""`Study`: a grid of runs, checked as a whole, executed in worker processes, collected into tables and a report."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfopt import config as configuration
from gfopt.config import StudyConfig
from gfopt.data import Dataset
from gfopt.engine import resolve_device
from gfopt.errors import GfoptError, located
from gfopt.loop import check_budget, check_gradient
from gfopt.optimizers import optimizer_class
from gfopt.problems import Problem
from gfopt.results import Results
from gfopt.store import ResultsFolder, environment
from gfopt.study.build import build_problem, load_data
from gfopt.study.content import describe
from gfopt.study.diagnose import gradient_flow_rows
from gfopt.study.execute import execute, failed
from gfopt.study.executors import LocalExecutor, RunKilled
from gfopt.study.forecast import Forecast, forecast
from gfopt.study.spec import RunSpec, run_specs
from gfopt.trace import Budget, Status

POLL_SECONDS = 0.25  # how often a live display hears of running runs


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        total: runs of the study.
        finished: of them, runs that are done, in this call or before.
        skipped: of them, runs that were done before.
        counts: runs by how they ended.
        running: share of the budget spent and current loss, by the run's title.
    """

    total: int
    finished: int
    skipped: int
    counts: Mapping[str, int]
    running: Mapping[str, tuple[float, float]] = field(default_factory=dict)


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
        **settings: what else a study file may say: `threads`, `dtype`, `report`.

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
        given |= {"problems": _plain_budgets(problems), "optimizers": dict(optimizers)}
        self.config: StudyConfig = configuration.from_mapping(given, live=True)
        self._prepared: _Prepared | None = None

    @classmethod
    def of(cls, config: StudyConfig) -> Study:
        """The study of a checked configuration."""
        study = cls.__new__(cls)
        study.config = config
        study._prepared = None
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
        kind = resolve_device(device or self.config.device).type
        if self._prepared is None or self._prepared.device != kind:
            with located(self.config.source if self.config.source != "study" else ""):
                self._prepared = _prepare(self.config, kind)
        return self._prepared.specs

    def forecast(self, device: str | None = None) -> list[Forecast]:
        """What each problem and optimizer will cost, from timing a few evaluations; starts no run."""
        self.prepare(device)
        assert self._prepared is not None
        return forecast(self.config, self._prepared.problems)

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
        specs = self.prepare(device)
        assert self._prepared is not None
        workers = workers if workers is not None else default_workers(self._prepared.device)
        executor = LocalExecutor(workers, preload=PRELOAD)
        folder = ResultsFolder.create(
            out,
            self.description(),
            {**environment(), "device": self._prepared.device, "workers": workers},
            fresh=fresh,
        )
        with tempfile.TemporaryDirectory(prefix="gfopt-") as beats, executor:
            _Execution(self._prepared, folder, executor, workers, Path(beats), progress).run(specs)
        folder.collect([spec.key for spec in specs])
        folder.write_diagnostics(gradient_flow_rows(self.config, self._prepared.problems))
        return Results(folder.path, problems=self._prepared.problems)

    def description(self) -> dict[str, Any]:
        """The study as plain data, Python objects by name and content hash."""
        described: dict[str, Any] = describe(self.config.resolved())
        return described


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
        allow_code: let a network name a Python module of yours, whose code will run.

    Raises:
        ConfigError: listing everything that is wrong, with file, key, expected, got and the fix.
    """
    return Study.of(configuration.load(Path(path), overrides, allow_code=allow_code))


def default_workers(device: str) -> int:
    """Runs at a time: one per processor that this process may use, or one on a GPU."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Prepared:
    device: str
    specs: list[RunSpec]
    datasets: dict[str, Dataset | None]
    problems: dict[str, Problem]


def _prepare(config: StudyConfig, device: str) -> _Prepared:
    configuration.check_tasks(config)
    datasets: dict[str, Dataset | None] = {}
    problems: dict[str, Problem] = {}
    loaded: dict[str, Dataset | None] = {}
    for cell in config.problem_cells:
        same = repr(describe(getattr(cell.config, "dataset", None)))
        if same not in loaded:
            loaded[same] = load_data(cell, config.seed)
        datasets[cell.label] = loaded[same]
        problems[cell.label] = build_problem(cell, loaded[same], dtype=config.dtype, device=device)
        for optimizer in config.optimizer_cells:
            with located(f"optimizers.{optimizer.name}", f"problems.{cell.label}"):
                check_gradient(problems[cell.label], optimizer_class(optimizer.kind))
                check_budget(problems[cell.label], optimizer_class(optimizer.kind), cell.budget)
    prints = {label: "" if data is None else data.fingerprint() for label, data in datasets.items()}
    return _Prepared(device, list(run_specs(config, device, prints)), datasets, problems)


class _Execution:
    """The runs of one call: submits what is missing, listens to what runs, records what dies."""

    def __init__(
        self,
        prepared: _Prepared,
        folder: ResultsFolder,
        executor: LocalExecutor,
        workers: int,
        beats: Path,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.prepared, self.folder, self.executor = prepared, folder, executor
        self.workers, self.beats, self.progress = workers, beats, progress

    def run(self, specs: list[RunSpec]) -> None:
        """Everything that is not finished; a killed run fails only itself."""
        done = {key: str(run["status"]) for key, run in self.folder.finished().items()}
        self.total, self.skipped = len(specs), sum(spec.key in done for spec in specs)
        self.statuses = {spec.key: done[spec.key] for spec in specs if spec.key in done}
        waiting: dict[Future[str], RunSpec] = {}
        missing = iter([spec for spec in specs if spec.key not in done])
        self._tell({})
        # Only a few more than run at a time are handed over: a task holds its data set.
        self._refill(waiting, missing)
        while waiting:
            ready, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in ready:
                spec = waiting.pop(future)
                self.statuses[spec.key] = self._status(spec, future)
            self._refill(waiting, missing)
            self._tell(self._beating(waiting.values()))

    def _refill(self, waiting: dict[Future[str], RunSpec], missing: Iterator[RunSpec]) -> None:
        while len(waiting) < 2 * self.workers and (spec := next(missing, None)) is not None:
            data = self.prepared.datasets[spec.problem.label]
            beat = self.beats / spec.key
            waiting[self.executor.submit(execute, spec, data, self.folder.path, self.workers, beat)] = spec

    def _status(self, spec: RunSpec, future: Future[str]) -> str:
        try:
            return future.result()
        except RunKilled as error:
            row = failed(spec, Status.KILLED, str(error), self.workers)
        except GfoptError:
            raise
        except Exception as error:  # noqa: BLE001 - what a worker raised outside its run is that run's end, too
            row = failed(spec, Status.CRASHED, f"{type(error).__name__}: {error}", self.workers)
        self.folder.write_run(spec.key, row, [], {}, {})
        return str(row["status"])

    def _beating(self, specs: Iterable[RunSpec]) -> dict[str, tuple[float, float]]:
        found = {}
        for spec in specs:
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
        self.progress(Progress(self.total, len(self.statuses), self.skipped, counts, running))


def _plain_budgets(problems: Mapping[str, Any]) -> dict[str, Any]:
    """Problems whose own budget is given as a `Budget`, with the mapping in its place."""
    plain = {}
    for name, entry in problems.items():
        if isinstance(entry, Mapping) and isinstance(entry.get("budget"), Budget):
            entry = {**entry, "budget": entry["budget"].limits()}
        plain[name] = entry
    return plain
