"""What a study will cost, from timing a few evaluations of each problem."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gfopt.config import StudyConfig
from gfopt.optimizers import optimizer_class
from gfopt.problems import Problem
from gfopt.problems.requests import Request
from gfopt.study.executors import thread_limit
from gfopt.study.tuning import TuningSpec

if TYPE_CHECKING:
    from gfopt.optimizers.base import Options

TIMED_EVALUATIONS = 3


@dataclass(frozen=True)
class Forecast:
    """One problem with one optimizer.

    Attributes:
        problem, optimizer: their names, with values from grids.
        repeats: runs of them.
        dim: parameters.
        population: rows that the optimizer evaluates at a step.
        budget: limits in units of the ledger.
        steps: rounds of asking and telling that the budget allows, if every row is evaluated each time.
        seconds: of evaluation in one run, or its share where repeats train together; without the optimizer's own time.
        tuning_runs: runs of its tuning; 0 if there is none.
        tuning_seconds: of evaluation in all of them, each with the options that the study names.
    """

    problem: str
    optimizer: str
    repeats: int
    dim: int
    population: int
    budget: Mapping[str, float]
    steps: int
    seconds: float
    tuning_runs: int = 0
    tuning_seconds: float = 0.0


def forecast(
    config: StudyConfig, problems: Mapping[str, Problem], tunings: Sequence[TuningSpec] = ()
) -> list[Forecast]:
    """A forecast for each problem and optimizer of a study."""
    efforts = {tuning.pair: tuning.effort for tuning in tunings if not tuning.why_not}
    rows = []
    with thread_limit(config.threads):
        for cell in config.problem_cells:
            problem = problems[cell.label]
            timed: dict[tuple[int, bool], tuple[float, int]] = {}
            for optimizer in (trains for trained, trains in config.pairs() if trained is cell):
                algorithm = optimizer_class(optimizer.kind)
                options = cast("Options", optimizer.options)
                population, gradient = algorithm.evaluations_per_step(options), algorithm.uses_gradient(options)
                key = population, gradient
                if key not in timed:
                    timed[key] = _timed(problem, *key, together=config.repeats if config.batch_repeats else 1)
                seconds, samples = timed[key]
                limits = cell.budget.limits()
                steps = _steps(problem, limits, population, samples, seconds, gradient)
                effort = efforts.get((cell.label, optimizer.name))
                tuning_runs, tuning_seconds = 0, 0.0
                if effort is not None:
                    alone, _ = _timed(problem, *key, together=1)
                    each = _steps(problem, effort.budget.limits(), population, samples, alone, gradient) * alone
                    tuning_runs = effort.trials * len(effort.seeds)
                    tuning_seconds = tuning_runs * each
                rows.append(
                    Forecast(
                        cell.label,
                        optimizer.name,
                        config.repeats,
                        problem.dim,
                        population,
                        limits,
                        steps,
                        steps * seconds,
                        tuning_runs,
                        tuning_seconds,
                    )
                )
    return rows


def _timed(problem: Problem, population: int, gradient: bool, *, together: int) -> tuple[float, int]:
    """Seconds of one evaluation, the fastest of three, and the rows of data that each member sees.

    Of `together` repeats that train in lock step, each has its share of a joint evaluation.
    """
    rows = problem.initial(population, 0)
    fastest, samples = math.inf, 0
    for step in range(TIMED_EVALUATIONS):
        before = time.perf_counter()
        if together > 1:
            requests = [Request(rows, step, seed, gradient) for seed in range(together)]
            samples = problem.evaluate_together(requests)[0].samples
        else:
            samples = problem.evaluate(rows, step, gradient=gradient).samples
        fastest = min(fastest, time.perf_counter() - before)
    return fastest / together, samples


def _steps(
    problem: Problem,
    limits: Mapping[str, float],
    population: int,
    samples: int,
    seconds: float,
    gradient: bool,
) -> int:
    cost, each = problem.cost, population * samples
    backward = each if gradient else 0
    spent = {
        "evaluations": population,
        "forward_samples": each,
        "backward_samples": backward,
        "flops": each * cost.forward_flops + backward * cost.backward_flops,
        "forward_equivalents": each + backward * cost.backward_equivalents,
        "seconds": seconds,
        "steps": 1,
    }
    return min(math.ceil(limit / spent[unit]) for unit, limit in limits.items() if spent[unit] > 0)
