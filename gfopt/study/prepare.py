"""Every problem of a study built once, so that whatever does not fit is said before anything starts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cloudpickle

from gfopt import config as configuration
from gfopt.config import ProblemCell, StudyConfig
from gfopt.data import Dataset
from gfopt.engine import resolve_device
from gfopt.errors import ConfigError, expectation, located, suggestion
from gfopt.loop import check_budget, check_gradient
from gfopt.optimizers import optimizer_class
from gfopt.problems import Problem
from gfopt.study.build import build_problem, load_data
from gfopt.study.content import describe
from gfopt.study.spec import RunSpec, run_specs
from gfopt.study.tuning import TuningSpec, tuning_specs
from gfopt.tuning.view import check_validation

if TYPE_CHECKING:
    from gfopt.optimizers.base import Options


@dataclass(frozen=True)
class Prepared:
    """What a study's runs are made of.

    Attributes:
        device: `cpu` or `cuda`.
        specs: the runs, those that wait for a tuning with the options that the study names.
        tunings: what is tuned before, or is not, with the reason.
        datasets, problems: by the label of the problem's cell.
    """

    device: str
    specs: list[RunSpec]
    tunings: list[TuningSpec]
    datasets: dict[str, Dataset | None]
    problems: dict[str, Problem]


def prepare(config: StudyConfig, device: str | None) -> Prepared:
    """Load the data, build the problems, and check what the optimizers ask of them.

    Args:
        config: the study.
        device: in place of the study's.

    Raises:
        GfoptError: with the place in the study.
    """
    configuration.check_tasks(config)
    kind = None if device is None else resolve_device(device).type
    with located(config.source if config.source != "study" else ""):
        kind = kind or resolve_device(config.device).type
        _check_labels(config)
        datasets = _datasets(config)
        problems = {}
        for cell in config.problem_cells:
            _check_travels(cell)
            problem = build_problem(cell, datasets[cell.label], dtype=config.dtype, device=kind)
            problem.evaluate(problem.initial(2, 0))  # what makes a population slow is said here, once
            _check_monitor(config, cell, problem)
            for optimizer in (trains for trained, trains in config.pairs() if trained is cell):
                algorithm, options = optimizer_class(optimizer.kind), cast("Options", optimizer.options)
                with located(f"optimizers.{optimizer.name}", f"problems.{cell.label}"):
                    algorithm.check_dim(options, problem.dim)
                    check_gradient(problem, algorithm, options)
                    check_budget(problem, algorithm, options, cell.budget)
                problem.ready(gradient=algorithm.uses_gradient(options))
            problems[cell.label] = problem
        prints = {label: "" if data is None else data.fingerprint() for label, data in datasets.items()}
        tunings = list(tuning_specs(config, kind, prints))
        _check_tunings(tunings, problems)
        keys = {tuning.pair: tuning.key for tuning in tunings if not tuning.why_not}
        return Prepared(kind, list(run_specs(config, kind, prints, keys)), tunings, datasets, problems)


def _check_monitor(config: StudyConfig, cell: ProblemCell, problem: Problem) -> None:
    """Refuse early stopping by a score that the problem lacks; test data decide nothing."""
    if config.early_stopping is None:
        return
    known = ["loss"]
    if "validation" in problem.splits:
        known += [f"validation_{name}" for name in problem.score(problem.initial(1, 0)[0], "validation")]
    if config.early_stopping.monitor not in known:
        got = config.early_stopping.monitor
        with located("early_stopping", f"problems.{cell.label}"):
            raise ConfigError("monitor: " + expectation(f"one of {', '.join(known)}", got, suggestion(got, known)))


def _check_labels(config: StudyConfig) -> None:
    """Refuse cells that tables and pictures could not tell apart, as two lambdas in a grid."""
    for label, count in Counter(cell.label for cell in config.problem_cells).items():
        if count > 1:
            fix = "Give functions names of their own, or make a problem of each."
            wanted = "values of a grid that have different names"
            raise ConfigError("problems: " + expectation(wanted, f"`{count}` times {label}", fix))


def _check_tunings(tunings: list[TuningSpec], problems: dict[str, Problem]) -> None:
    """Refuse to tune without validation data, or with a budget that would never be used up."""
    for tuning in tunings:
        if tuning.why_not:
            continue
        problem, optimizer = problems[tuning.problem.label], tuning.optimizer
        with located("tune", f"problems.{tuning.problem.label}"):
            check_validation(problem)
            algorithm, options = optimizer_class(optimizer.kind), cast("Options", optimizer.options)
            check_budget(problem, algorithm, options, tuning.effort.budget)


def _check_travels(cell: ProblemCell) -> None:
    """Refuse Python objects that no worker process could be given; data sets are known to travel."""
    for name in set(type(cell.config).model_fields) - {"dataset", "budget"}:
        try:
            cloudpickle.dumps(getattr(cell.config, name))
        except Exception as error:
            got, fix = f"`{type(error).__name__}: {error}`", "Make files, locks and connections inside the function."
            wanted = "an object that can be sent to a worker process"
            raise ConfigError(f"problems.{cell.label}.{name}: " + expectation(wanted, got, fix)) from error


def _datasets(config: StudyConfig) -> dict[str, Dataset | None]:
    """The data of each cell, loaded once where cells share them."""
    loaded: dict[str, Dataset | None] = {}
    datasets = {}
    for cell in config.problem_cells:
        same = repr(describe(getattr(cell.config, "dataset", None)))
        if same not in loaded:
            loaded[same] = load_data(cell, config.seed)
        datasets[cell.label] = loaded[same]
    return datasets
