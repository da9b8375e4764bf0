"""What a study tunes before its runs: one tuning for each problem cell and optimizer, and what happens in a worker."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfopt.config import OptimizerCell, ProblemCell, StudyConfig
from gfopt.config.models import Range
from gfopt.config.plain import canonical
from gfopt.data import Dataset
from gfopt.errors import ConfigError, expectation, located
from gfopt.optimizers.space import Dimension
from gfopt.problems import Problem
from gfopt.store import ResultsFolder
from gfopt.store.tunings import RUNNING, UNTUNED
from gfopt.study.build import build_problem
from gfopt.study.content import describe, digest
from gfopt.study.execute import surroundings
from gfopt.study.spec import RESULTS_VERSION, definition, grid_columns, plain
from gfopt.trace import Budget, Status
from gfopt.tuning.spaces import plain as plain_space
from gfopt.tuning.spaces import search_space
from gfopt.tuning.trials import Trial, chosen, total, trial_rows
from gfopt.tuning.tuner import Effort, Tuner

Row = dict[str, Any]


@dataclass(frozen=True)
class TuningSpec:
    """One tuning of a study.

    Attributes:
        key: a hash of everything that determines what is chosen.
        problem: the problem with the values that it takes from its grids.
        optimizer: the optimizer with the options that its entry names, which are not tuned.
        space: what the others are chosen from.
        why_not: why there is nothing to tune; empty if there is something.
        effort: the same for all optimizers of the problem.
        seed: the study's.
        threads, dtype, device: as of the runs.
    """

    key: str
    problem: ProblemCell
    optimizer: OptimizerCell
    space: dict[str, Dimension]
    why_not: str
    effort: Effort
    seed: int
    threads: int
    dtype: str
    device: str

    @property
    def pair(self) -> tuple[str, str]:
        """The labels of problem and optimizer."""
        return self.problem.label, self.optimizer.name

    @property
    def title(self) -> str:
        """The tuning in words, as `tuning deep ga`."""
        return f"tuning {self.problem.label} {self.optimizer.name}"

    @property
    def fixed(self) -> Row:
        """The options that the optimizer's entry names."""
        return named_options(self.optimizer)

    def tuner(self, problem: Problem) -> Tuner:
        """The tuning itself, not started.

        Raises:
            ConfigError: if the problem has no validation data.
        """
        name = self.problem.name
        return Tuner(problem, self.optimizer.kind, self.fixed, self.space, self.effort, seed=self.seed, name=name)

    def described(self, status: str, message: str, trials: list[Trial], metric: str = "") -> Row:
        """The tuning as it is stored; see `gfopt.store.tunings`."""
        best = chosen(trials, metric) if trials else None
        return {
            "identity": {
                "tuning": self.key,
                "problem": self.problem.name,
                **grid_columns(self.problem),
                "optimizer": self.optimizer.name,
                "kind": self.optimizer.kind,
                "base": self.optimizer.base,
                **{path: plain(value) for path, value in self.optimizer.grid.items()},
            },
            "status": status,
            "message": message,
            "summary": {
                "trials": len(trials),
                "sampler": self.effort.sampler,
                "metric": metric,
                "objective": None if best is None else best.median,
                "default": trials[0].median if trials else None,
            },
            "options": {} if best is None else dict(best.options),
            "cost": asdict(total([trial.ledger for trial in trials])) if trials else {},
            "rows": trial_rows(trials, metric, self.effort.seeds),
            "trials": [trial.plain() for trial in trials],
            "spec": {
                "space": plain_space(self.space),
                "budget": self.effort.budget.limits(),
                "seeds": list(self.effort.seeds),
                "options": describe(self.fixed),
            },
        }


def named_options(optimizer: OptimizerCell) -> Row:
    """The options that an entry of the study names, in a grid or not: they keep their values."""
    return {name: getattr(optimizer.options, name) for name in sorted(optimizer.options.model_fields_set)}


def tuning_specs(config: StudyConfig, device: str, fingerprints: Mapping[str, str]) -> Iterator[TuningSpec]:
    """Every tuning of a study, also of what has nothing to tune, so that it is recorded; none without `tune`.

    Args:
        config: the study.
        device: `cpu` or `cuda`.
        fingerprints: of each problem's data, by the label of its cell.

    Raises:
        ConfigError, MissingExtraError: with the place in the study, if a space or the effort makes no sense.
    """
    if config.tune is None:
        return
    spaces = {optimizer.name: _space(config, optimizer) for optimizer in config.optimizer_cells}
    if not any(space for space, _ in spaces.values()):
        got = f"`{'; '.join(why for _, why in spaces.values())}`"
        raise ConfigError("tune: " + expectation("at least one optimizer with something to tune", got))
    for problem, optimizer in config.pairs():
        named = sorted(named_options(optimizer))
        with located("tune"):
            effort = Effort(config.tune.trials, _budget(config, problem), config.tune.sampler, tuple(config.tune.seeds))
        space, why_not = spaces[optimizer.name]
        determines = {
            "version": RESULTS_VERSION,
            "problem": [problem.name, definition(problem.config), fingerprints[problem.label]],
            "optimizer": [optimizer.name, optimizer.kind, describe(optimizer.options), named],
            "space": plain_space(space),
            "effort": [effort.trials, effort.budget.limits(), effort.sampler, list(effort.seeds)],
            "seed": config.seed,
            "threads": config.threads,
            "dtype": config.dtype,
            "device": device,
        }
        key = digest(canonical({"tuning": determines}))
        settings = config.seed, config.threads, config.dtype, device
        yield TuningSpec(key, problem, optimizer, space, why_not, effort, *settings)


def execute_tuning(spec: TuningSpec, dataset: Dataset | None, folder: Path, beat: Path | None = None) -> str:
    """Choose the options and store them with all trials; the status that the tuning ended with.

    An interrupted one goes on with the trials that are there.

    Args:
        spec: the tuning.
        dataset: the problem's data.
        folder: the results folder.
        beat: file to write the share of the work that is done to, after each run.
    """
    tunings = ResultsFolder(folder).tunings
    before = tunings.read(spec.key)
    trials = [] if before is None else [Trial.of_plain(trial) for trial in before["trials"]]
    metric = "" if before is None else before["summary"]["metric"]

    def keep(so_far: list[Trial]) -> None:
        trials[:] = so_far
        tunings.write(spec.key, spec.described(RUNNING, "", trials, metric))

    try:
        with surroundings(spec.threads):
            problem = build_problem(spec.problem, dataset, dtype=spec.dtype, device=spec.device)
            tuner = spec.tuner(problem)
            metric = tuner.metric
            trials[:] = tuner.run(known=list(trials), keep=keep, progress=_beat(beat))
    except Exception as error:  # noqa: BLE001 - whatever a user's network or loss raises is this tuning's result
        crash = spec.described(Status.CRASHED.value, f"{type(error).__name__}: {error}", trials, metric)
        trace = "".join(traceback.format_exception(error))
        tunings.write(spec.key, {**crash, "error": {"traceback": trace}})
        return Status.CRASHED.value
    tunings.write(spec.key, spec.described(Status.OK.value, "", trials, metric))
    return Status.OK.value


def interrupted(spec: TuningSpec, folder: ResultsFolder, status: str, message: str) -> None:
    """Store that a tuning did not come to its end; the trials that are there stay, for it to go on with."""
    known = folder.tunings.read(spec.key) or spec.described(status, message, [])
    folder.tunings.write(spec.key, {**known, "status": status, "message": message})


def record_untuned(spec: TuningSpec, folder: ResultsFolder) -> None:
    """Store that there was nothing to tune, and why."""
    folder.tunings.write(spec.key, spec.described(UNTUNED, spec.why_not, []))


def _space(config: StudyConfig, optimizer: OptimizerCell) -> tuple[dict[str, Dimension], str]:
    """What an optimizer's options are chosen from, or why there is nothing to choose."""
    assert config.tune is not None
    fixed = named_options(optimizer)
    overrides: Row = {}
    for name in (optimizer.base, *([optimizer.name] if optimizer.name != optimizer.base else [])):
        given = config.tune.spaces.get(name, {})
        plainly = {
            option: one.model_dump(exclude_unset=True) if isinstance(one, Range) else one
            for option, one in given.items()
        }
        with located("tune", f"spaces.{name}"):
            search_space(optimizer.kind, fixed, plainly)
        overrides |= plainly
    if not config.tunes(optimizer):
        return {}, f"{optimizer.name} is none of the optimizers that the study tunes"
    space = search_space(optimizer.kind, fixed, overrides)
    if space:
        return space, ""
    declared = search_space(optimizer.kind, {})
    why = "the study gives every option that could be" if declared else "it declares no search space"
    if config.tune.optimizers is not None:
        fix = f"Say what to choose from, under tune.spaces.{optimizer.base}, or take it off the list."
        got = f"`{optimizer.name}, of which nothing is tuned: {why}`"
        raise ConfigError("tune.optimizers: " + expectation("optimizers with something to tune", got, fix))
    return {}, f"nothing of {optimizer.name} is tuned: {why}"


def _budget(config: StudyConfig, problem: ProblemCell) -> Budget:
    assert config.tune is not None
    return problem.budget if config.tune.budget is None else Budget(**config.tune.budget)


def _beat(path: Path | None) -> Any:
    if path is None:
        return None

    def beat(done: float, best: float) -> None:
        path.write_text(f"{min(done, 1.0):.4f} {best:.6g}")

    return beat
