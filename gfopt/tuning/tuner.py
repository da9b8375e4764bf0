"""One tuning of one optimizer on one problem: `tune(problem, "deap-ga", budget=...)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pydantic import ValidationError

from gfopt import optimizers
from gfopt.errors import ConfigError, expectation, located, suggestion
from gfopt.optimizers.base import Options
from gfopt.optimizers.space import Dimension
from gfopt.problems.base import Problem
from gfopt.rng import derive
from gfopt.run import Run, finished, make_loop
from gfopt.trace import BUDGET_UNITS, Budget, Ledger, Status
from gfopt.tuning.sampler import Sampler, Values, check_sampler
from gfopt.tuning.spaces import default, search_space
from gfopt.tuning.trials import Trial, chosen, performance, total, trial_rows
from gfopt.tuning.view import ValidationView, metric_of, worst

SEEDS = (1000, 1001)
MAX_REFUSALS = 1000  # combinations in a row that the options refuse, after which the space must be wrong


@dataclass(frozen=True)
class Effort:
    """How much a tuning may spend, the same for every optimizer.

    Attributes:
        trials: sets of options that are tried, the defaults among them.
        budget: of each run: a trial is one run with each seed.
        sampler: `tpe`, `random` or `qmc`.
        seeds: numbers of the tuning's own starts and batches, which no reported run has.

    Raises:
        ConfigError, MissingExtraError: if something makes no sense, or optuna is not installed.
    """

    trials: int
    budget: Budget
    sampler: str = "tpe"
    seeds: tuple[int, ...] = SEEDS

    def __post_init__(self) -> None:
        if isinstance(self.trials, bool) or not isinstance(self.trials, int) or self.trials < 1:
            raise ConfigError("trials: " + expectation("a whole number of at least 1", self.trials))
        whole = all(isinstance(seed, int) and not isinstance(seed, bool) for seed in self.seeds)
        if not self.seeds or not whole or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("seeds: " + expectation("at least one whole number, all different", list(self.seeds)))
        check_sampler(self.sampler)


@dataclass(frozen=True)
class Tuned:
    """One finished tuning.

    Attributes:
        optimizer: the name of what was tuned.
        options: those of the best trial with the fixed ones, as `minimize(problem, optimizer, **options)` takes them.
        metric: what was gone by, as `validation_accuracy`.
        space: what each option was chosen from.
        trials: one row a trial: `trial`, `options.*`, `seed_*` (the metric of each tuning seed), `objective` (their
            median), `best` (the objective of the best trial so far), `status` and the ledger.
        cost: what all trials have spent.
        curve: performance as a function of the tuning budget: `trial`, `best` and what was spent until then. It
            begins with the defaults, which are no tuning at all.
    """

    optimizer: str
    options: dict[str, Any]
    metric: str
    space: dict[str, Dimension]
    trials: pd.DataFrame = field(repr=False)
    cost: Ledger
    curve: pd.DataFrame = field(repr=False)


def tune(
    problem: Problem,
    optimizer: str,
    *,
    budget: Budget | Mapping[str, float],
    trials: int = 20,
    sampler: str = "tpe",
    seeds: Iterable[int] = SEEDS,
    space: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[float, float], None] | None = None,
    **fixed: Any,
) -> Tuned:
    """Choose an optimizer's options on validation data.

    Trial 0 has the defaults; the sampler proposes the others. A trial is one run with each tuning seed, and is judged
    by the median of what the incumbents reach on the validation data at the end of the budget: the task's metric, or
    the loss where the study's own loss is what counts or where there are no data. The test split is out of reach.
    Starts, batches and random numbers are the tuning's own: no run of `minimize` has them. Where the budget counts no
    seconds, the same arguments give the same tuning.

    Args:
        problem: what is minimized.
        optimizer: a name of `gfopt.optimizers.names()`.
        budget: of each of the `trials x seeds` runs.
        trials: how many sets of options are tried.
        sampler: `tpe`, `random` or `qmc`; needs the extra `tune`.
        seeds: numbers of the tuning seeds.
        space: option to `{"low": ..., "high": ..., "log": ..., "step": ...}` or a list of values, in place of or
            beside what the optimizer declares.
        seed: of everything random.
        progress: called after each run with the share of the work that is done and the best objective so far.
        **fixed: options that are given, not tuned.

    Raises:
        ConfigError, MissingExtraError: before anything starts.
        Exception: of the user's own network or loss.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError("seed: " + expectation("a whole number", seed))
    if not isinstance(problem, Problem):
        raise ConfigError("problem: " + expectation("a Problem", problem))
    effort = Effort(trials, _budget(budget), sampler, _seeds(seeds))
    optimizers.options_of(optimizer, fixed)
    with located("space"):
        chosen_from = search_space(optimizer, fixed, space)
    tuner = Tuner(problem, optimizer, fixed, chosen_from, effort, seed=seed, name="tune")
    return tuner.result(tuner.run(progress=progress))


class Tuner:
    """A tuning with checked arguments, not started.

    Args:
        problem: what is minimized.
        kind: the optimizer's name.
        fixed: options that are given.
        space: the options that are tuned.
        effort: trials, budget, sampler and seeds.
        seed, name: the study's seed and the problem's name, from which the streams follow.

    Raises:
        ConfigError: if there is nothing to tune, or no validation data.
    """

    def __init__(
        self,
        problem: Problem,
        kind: str,
        fixed: Mapping[str, Any],
        space: Mapping[str, Dimension],
        effort: Effort,
        *,
        seed: int,
        name: str,
    ) -> None:
        if not space:
            fix = "Say what to choose from, as space={'learning_rate': {'low': 0.001, 'high': 0.1, 'log': True}}."
            raise ConfigError(f"{kind}: " + expectation("an option to tune", "`none`", fix))
        self.problem = ValidationView(problem)
        self.kind, self.fixed, self.space, self.effort = kind, dict(fixed), dict(space), effort
        self.seed, self.name = seed, name
        self.metric = metric_of(self.problem, self._score_names())

    def run(
        self,
        *,
        known: Sequence[Trial] = (),
        keep: Callable[[list[Trial]], None] | None = None,
        progress: Callable[[float, float], None] | None = None,
    ) -> list[Trial]:
        """Every trial.

        Args:
            known: the first trials of the same tuning, from before it was interrupted; they are not trained again.
            keep: called after each trial with all so far.
            progress: as of `tune`.
        """
        sampler = Sampler(self.effort.sampler, self.space, self._stream("sampler"), self.effort.trials)
        trials: list[Trial] = []
        for number in range(self.effort.trials):
            values, options = self._defaults() if number == 0 else self._proposed(sampler)
            before = known[number] if number < len(known) else None
            if before is not None and dict(before.options) == values:
                trial = before
            else:
                trial = self._trial(number, values, options, trials, progress)
            trials.append(trial)
            if number == 0:
                sampler.know(values, trial.objective(self.metric))
            else:
                sampler.tell(trial.objective(self.metric))
            if keep is not None and trial is not before:
                keep(trials)
        return trials

    def result(self, trials: Sequence[Trial]) -> Tuned:
        """What the trials come to."""
        rows = pd.DataFrame(trial_rows(trials, self.metric, self.effort.seeds))
        return Tuned(
            optimizer=self.kind,
            options=self.fixed | dict(chosen(trials, self.metric).options),
            metric=self.metric,
            space=self.space,
            trials=rows,
            cost=total([trial.ledger for trial in trials]),
            curve=performance(rows),
        )

    def streams(self, tuning_seed: int) -> dict[str, int]:
        """Seeds of the streams of a tuning seed's runs: shared by all optimizers, and by no reported run."""
        return {purpose: self._stream(tuning_seed, purpose) for purpose in ("init", "data", "optimizer")}

    def _stream(self, *purpose: int | str) -> int:
        return derive(self.seed, self.name, "tuning", *purpose)

    def _score_names(self) -> list[str]:
        if not self.problem.splits:
            return []
        row = self.problem.initial(1, self.streams(self.effort.seeds[0])["init"])[0]
        return list(self.problem.score(row, "validation"))

    def _defaults(self) -> tuple[Values, Options]:
        kind = optimizers.optimizer_class(self.kind).options_class
        values = {name: default(kind, self.fixed, name, dimension) for name, dimension in self.space.items()}
        return values, optimizers.options_of(self.kind, self.fixed)

    def _proposed(self, sampler: Sampler) -> tuple[Values, Options]:
        """The sampler's next proposal that is a valid set of options; others cost nothing and are no trial."""
        algorithm = optimizers.optimizer_class(self.kind)
        for _ in range(MAX_REFUSALS):
            values = sampler.ask()
            try:
                return values, algorithm.options_class.model_validate({**self.fixed, **values})
            except ValidationError as error:
                refusal = error
        got = f"`{MAX_REFUSALS} refused ones in a row`, the last {values}: {refusal.errors()[0]['msg']}"
        raise ConfigError(f"{self.kind}: " + expectation("a space with valid combinations", got))

    def _trial(
        self,
        number: int,
        values: Values,
        options: Options,
        before: Sequence[Trial],
        progress: Callable[[float, float], None] | None,
    ) -> Trial:
        best = chosen(before, self.metric).rank(self.metric)[0] if before else math.inf
        runs: list[Run] = []
        for place, tuning_seed in enumerate(self.effort.seeds):
            try:
                runs.append(self._run(options, tuning_seed))
            except Exception as error:
                error.add_note(f"In trial {number} of tuning {self.kind}, seed {tuning_seed}, with {values}.")
                raise
            if progress is not None:
                done = number + (place + 1) / len(self.effort.seeds)
                progress(done / self.effort.trials, best)
        ok = all(run.status is Status.OK for run in runs)
        return Trial(
            number,
            values,
            tuple(self._value(run, self.metric) for run in runs),
            tuple(self._value(run, "validation_loss" if self.problem.splits else "loss") for run in runs),
            (Status.OK if ok else Status.DIVERGED).value,
            total([run.ledger for run in runs]),
        )

    def _run(self, options: Options, tuning_seed: int) -> Run:
        loop = make_loop(self.problem, self.kind, options, self.effort.budget, self.streams(tuning_seed))
        return finished(loop, loop.run())

    @staticmethod
    def _value(run: Run, metric: str) -> float:
        """The incumbent's at the end; of a diverged run, or where it is NaN, the worst."""
        value = run.best_loss if metric == "loss" else run.scores[metric]
        return worst(metric) if run.status is not Status.OK or math.isnan(value) else value


def _budget(given: Budget | Mapping[str, float]) -> Budget:
    if isinstance(given, Budget):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError("budget: " + expectation("a Budget or a mapping, as {'evaluations': 20000}", given))
    for unit in given:
        if unit not in BUDGET_UNITS:
            raise ConfigError("budget: " + expectation("a unit of the ledger", unit, suggestion(unit, BUDGET_UNITS)))
    return Budget(**given)


def _seeds(given: Iterable[int]) -> tuple[int, ...]:
    try:
        return tuple(given)
    except TypeError:
        raise ConfigError("seeds: " + expectation("several whole numbers, as (1000, 1001)", given)) from None
