"""What happens in a worker: one run, or the repeats of a cell together, from its spec to its files."""

from __future__ import annotations

import json
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gfopt.callbacks import EarlyStopping
from gfopt.data import Dataset, ImportanceWarning
from gfopt.diagnostics.recorder import Recorder
from gfopt.errors import SlowPathWarning
from gfopt.lockstep import run_together
from gfopt.loop import Loop, Outcome
from gfopt.problems import FunctionProblem, Problem, SubspaceProblem, SupervisedProblem
from gfopt.run import Run, finished, make_loop
from gfopt.store import ResultsFolder
from gfopt.study.build import build_problem
from gfopt.study.executors import thread_limit
from gfopt.study.spec import RunSpec, definition
from gfopt.trace import Record, Status

if TYPE_CHECKING:
    from gfopt.optimizers.base import Options

Row = dict[str, Any]


def execute(spec: RunSpec, dataset: Dataset | None, folder: Path, workers: int, beat: Path | None = None) -> str:
    """Train one run and store it; the status that it ended with.

    Args:
        spec: the run.
        dataset: its data.
        folder: the results folder.
        workers: how many runs shared the machine, for the record.
        beat: file to write the share of the budget spent to, at each logged point.
    """
    try:
        with surroundings(spec.threads):
            problem = build_problem(spec.problem, dataset, dtype=spec.dtype, device=spec.device)
            course = _Course.of(spec, problem, beat)
            row, curve, arrays, metadata = course.results(course.loop.run(), workers)
    except Exception as error:  # noqa: BLE001 - whatever a user's network or loss raises is this run's result
        return _store_crash(spec, error, folder, workers)
    ResultsFolder(folder).write_run(spec.key, row, curve, arrays, metadata, course.recorder.rows)
    return str(row["status"])


def execute_together(
    specs: Sequence[RunSpec], dataset: Dataset | None, folder: Path, workers: int, beats: Sequence[Path | None]
) -> list[str]:
    """Train repeats of one cell in lock step, and store each as soon as it has ended; the statuses.

    Each repeat is a run of its own that crashes by itself; only what all need, as their problem, fails all of them.

    Args:
        specs: the runs, which differ in their repeat alone.
        dataset: their data.
        folder: the results folder.
        workers: how many such tasks shared the machine, for the record.
        beats: of each run, as in `execute`.
    """
    try:
        with surroundings(specs[0].threads):
            problem = build_problem(specs[0].problem, dataset, dtype=specs[0].dtype, device=specs[0].device)
    except Exception as error:  # noqa: BLE001 - as in `execute`
        return [_store_crash(spec, error, folder, workers) for spec in specs]
    statuses: dict[str, str] = {}
    courses: list[_Course] = []
    with surroundings(specs[0].threads):
        for spec, beat in zip(specs, beats, strict=True):
            try:
                courses.append(_Course.of(spec, problem, beat))
            except Exception as error:  # noqa: BLE001 - as in `execute`
                statuses[spec.key] = _store_crash(spec, error, folder, workers)
        for place, ended in run_together([course.loop for course in courses]):
            course = courses[place]
            statuses[course.spec.key] = _store(course, ended, folder, workers)
    return [statuses[spec.key] for spec in specs]


@contextmanager
def surroundings(threads: int) -> Iterator[None]:
    """So many threads inside, and no warning twice that was given when the study was prepared."""
    with thread_limit(threads), warnings.catch_warnings():
        for said in (SlowPathWarning, ImportanceWarning):
            warnings.simplefilter("ignore", said)
        yield


@dataclass(frozen=True)
class _Course:
    """A run with the recorder that looks on."""

    spec: RunSpec
    loop: Loop
    recorder: Recorder

    @classmethod
    def of(cls, spec: RunSpec, problem: Problem, beat: Path | None) -> _Course:
        """The run of a spec, not started."""
        recorder, rule = Recorder(problem, spec.diagnostics), spec.early_stopping
        stopping = [] if rule is None else [EarlyStopping(**rule.model_dump())]
        loop = make_loop(
            problem,
            spec.optimizer.kind,
            cast("Options", spec.optimizer.options),
            spec.problem.budget,
            spec.streams(),
            progress=_beat(beat),
            callbacks=[*stopping, recorder],
        )
        return cls(spec, loop, recorder)

    def results(self, outcome: Outcome, workers: int) -> tuple[Row, list[Row], dict[str, np.ndarray], dict[str, str]]:
        """The run's description, its curve, and the winner with its metadata."""
        spec, problem = self.spec, self.loop.problem
        run = finished(self.loop, outcome)
        arrays, metadata = _winner(spec, problem, run)
        row = {
            **spec.identity(),
            "workers": workers,
            "status": run.status.value,
            "stop_reason": "" if run.stop_reason is None else run.stop_reason.value,
            "message": run.message,
            "dim": problem.dim,
            "n_redundant": getattr(problem, "n_redundant", 0),
            "judged_by": problem.judged_by,
            **_weighting(problem),
            "backward_equivalents": problem.cost.backward_equivalents,
            **asdict(run.ledger),
            "seconds_shared": run.seconds_shared,
            "loss": run.best_loss,
            **run.scores,
            "spec": _spec(spec),
        }
        if self.recorder.failures:
            row["diagnostics_failed"] = self.recorder.failures
        return row, cast("list[Row]", run.curve.to_dict("records")), arrays, metadata


def _store(course: _Course, ended: Outcome | Exception, folder: Path, workers: int) -> str:
    """Write a run of several; the status that it ended with."""
    try:
        if isinstance(ended, Exception):
            raise ended
        row, curve, arrays, metadata = course.results(ended, workers)
    except Exception as error:  # noqa: BLE001 - as in `execute`
        return _store_crash(course.spec, error, folder, workers)
    ResultsFolder(folder).write_run(course.spec.key, row, curve, arrays, metadata, course.recorder.rows)
    return str(row["status"])


def _store_crash(spec: RunSpec, error: Exception, folder: Path, workers: int) -> str:
    row = failed(spec, Status.CRASHED, f"{type(error).__name__}: {error}", workers)
    trace = "".join(traceback.format_exception(error))
    ResultsFolder(folder).write_run(spec.key, {**row, "error": {"traceback": trace}}, [], {}, {})
    return Status.CRASHED.value


def _weighting(problem: Problem) -> Row:
    """How many rows weighted ones are worth; nothing where all rows weigh the same."""
    inner = problem.problem if isinstance(problem, SubspaceProblem) else problem
    size = inner.effective_sample_size if isinstance(inner, SupervisedProblem) else None
    return {} if size is None else {"effective_sample_size": size}


def failed(spec: RunSpec, status: Status, message: str, workers: int) -> Row:
    """The row of a run that did not come to its end."""
    return {
        **spec.identity(),
        "workers": workers,
        "status": status.value,
        "stop_reason": "",
        "message": message,
        "seconds_shared": spec.batch_repeats,
        "spec": _spec(spec),
    }


def _beat(path: Path | None) -> Any:
    if path is None:
        return None

    def beat(spent: float, record: Record) -> None:
        path.write_text(f"{min(spent, 1.0):.4f} {record.loss:.6g}")

    return beat


def _spec(spec: RunSpec) -> Row:
    """What was run, as plain data."""
    return {
        "problem": definition(spec.problem.config),
        "optimizer": {"kind": spec.optimizer.kind, **spec.optimizer.options.model_dump(mode="json")},
        "budget": spec.problem.budget.limits(),
    }


def _winner(spec: RunSpec, problem: Problem, run: Run) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The best vector; for a network also its tensors, BatchNorm statistics included, and what is needed around it."""
    arrays: dict[str, np.ndarray] = {"vector": run.best.numpy()}
    inner = problem
    while isinstance(inner, SubspaceProblem):
        inner = inner.problem
    about: Row = {
        "run": spec.key,
        "scores": {k: v for k, v in run.scores.items() if np.isfinite(v)},
        **_spec(spec),
    }
    if isinstance(inner, SupervisedProblem) and run.status is Status.OK:
        module = run.module()
        arrays |= {f"network.{name}": t.detach().cpu().numpy() for name, t in module.state_dict().items()}
        data = inner.dataset
        about |= {
            "input_shape": list(data.input_shape),
            "out_features": inner.out_features,
            "task": data.task,
            "classes": [plain_label(c) for c in data.classes],
            "input_scaling": {
                "mean": data.input_scaling.mean.tolist(),
                "scale": data.input_scaling.scale.tolist(),
            },
            "target_scaling": {
                "mean": data.target_scaling.mean.tolist(),
                "scale": data.target_scaling.scale.tolist(),
            },
        }
    elif isinstance(inner, FunctionProblem):
        about |= {"function": inner.name}
    return arrays, {"gfopt": json.dumps(about)}


def plain_label(label: Any) -> str | int | float | bool:
    """A class label as JSON has it."""
    plain: str | int | float | bool = label.item() if isinstance(label, np.generic) else label
    return plain


def told(metadata: Mapping[str, str]) -> Row:
    """What a winner's file says about itself."""
    about: Row = json.loads(metadata.get("gfopt", "{}"))
    return about
