"""What determines one run, and the key that it is stored under."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gfopt.config import OptimizerCell, ProblemCell, ProblemConfig, StudyConfig
from gfopt.config.models import EarlyStopping
from gfopt.config.plain import canonical
from gfopt.diagnostics import kinds
from gfopt.rng import derive
from gfopt.study.content import describe, digest

# Part of every key: raised when the same spec would give other numbers than before.
RESULTS_VERSION = 1


@dataclass(frozen=True)
class RunSpec:
    """One run of a study.

    Attributes:
        key: a hash of everything that determines the run's numbers.
        problem: the problem with the values that it takes from its grids.
        optimizer: the optimizer with its options.
        repeat: from 0.
        seed: the study's.
        device: `cpu` or `cuda`.
        diagnostics: what is measured along the run.
        batch_repeats: whether it trains in lock step with the other repeats of its cell.
        early_stopping: the rule by which it may end before its budget; `None` without one.
        tuning: the key of the tuning whose choice it is run with; empty if its options are those of the study.
    """

    key: str
    problem: ProblemCell
    optimizer: OptimizerCell
    repeat: int
    seed: int
    threads: int
    dtype: str
    device: str
    diagnostics: tuple[str, ...] = kinds.DEFAULT
    batch_repeats: bool = False
    early_stopping: EarlyStopping | None = None
    tuning: str = ""

    def tuned(self, chosen: Mapping[str, Any]) -> RunSpec:
        """The run with the options that its tuning has chosen; they get a column each, like those from grids."""
        cell = self.optimizer
        named = {name: getattr(cell.options, name) for name in cell.options.model_fields_set}
        options = type(cell.options).model_validate({**named, **chosen})
        columns = {**cell.grid, **{f"options.{name}": value for name, value in chosen.items()}}
        return replace(self, optimizer=replace(cell, options=options, grid=columns))

    @property
    def cell(self) -> tuple[str, str]:
        """What the repeats have in common: the names of problem and optimizer with their grid values."""
        return self.problem.label, self.optimizer.name

    @property
    def title(self) -> str:
        """The run in words, as `deep[network.norm=batch] ga #2`."""
        return f"{self.problem.label} {self.optimizer.name} #{self.repeat}"

    def streams(self) -> dict[str, int]:
        """Seeds of the run's streams: shared by all optimizers and all grid values of a problem and repeat."""
        return {p: derive(self.seed, self.problem.name, self.repeat, p) for p in ("init", "data", "optimizer")}

    def identity(self) -> dict[str, Any]:
        """The columns that say which run this is."""
        return {
            "run": self.key,
            "problem": self.problem.name,
            **grid_columns(self.problem),
            "optimizer": self.optimizer.name,
            "kind": self.optimizer.kind,
            "base": self.optimizer.base,
            **{path: plain(value) for path, value in self.optimizer.grid.items()},
            **({"tuning": self.tuning} if self.tuning else {}),
            "repeat": self.repeat,
            "seed": self.seed,
            "device": self.device,
            "dtype": self.dtype,
            "threads": self.threads,
            **{f"budget.{unit}": limit for unit, limit in self.problem.budget.limits().items()},
        }


def run_specs(
    config: StudyConfig,
    device: str,
    fingerprints: Mapping[str, str],
    tunings: Mapping[tuple[str, str], str] | None = None,
) -> Iterator[RunSpec]:
    """Every run of a study: repeat by repeat, so that an interrupted study has compared everything a few times.

    Args:
        config: the study.
        device: `cpu` or `cuda`.
        fingerprints: of each problem's data, by the label of its cell.
        tunings: the keys of the tunings that the runs wait for, by the names of problem and optimizer cell.
    """
    for repeat in range(config.repeats):
        for problem, optimizer in config.pairs():
            determines = {
                "version": RESULTS_VERSION,
                "problem": [problem.name, definition(problem.config), fingerprints[problem.label]],
                "optimizer": [optimizer.name, optimizer.kind, describe(optimizer.options)],
                "repeat": repeat,
                "seed": config.seed,
                "budget": problem.budget.limits(),
                "threads": config.threads,
                "dtype": config.dtype,
                "device": device,
            }
            if config.diagnostics != list(kinds.DEFAULT):  # a finished run cannot be measured again
                determines["diagnostics"] = config.diagnostics
            if config.batch_repeats:  # rounds gradients otherwise, and its seconds are no run's own
                determines["batch_repeats"] = True
            if config.early_stopping is not None:
                determines["early_stopping"] = config.early_stopping.model_dump(mode="json")
            tuning = (tunings or {}).get((problem.label, optimizer.name), "")
            if tuning:  # it determines the options that are chosen
                determines["tuning"] = tuning
            yield RunSpec(
                key=digest(canonical(determines)),
                problem=problem,
                optimizer=optimizer,
                repeat=repeat,
                seed=config.seed,
                threads=config.threads,
                dtype=config.dtype,
                device=device,
                diagnostics=tuple(config.diagnostics),
                batch_repeats=config.batch_repeats,
                early_stopping=config.early_stopping,
                tuning=tuning,
            )


def tasks(specs: Iterable[RunSpec]) -> list[list[RunSpec]]:
    """What is handed to a worker at a time: a run, or the repeats of a cell where they train together."""
    grouped: dict[object, list[RunSpec]] = {}
    for spec in specs:
        grouped.setdefault(spec.cell if spec.batch_repeats else spec.key, []).append(spec)
    return list(grouped.values())


def grid_columns(cell: ProblemCell) -> dict[str, Any]:
    """A problem's values from grids by the name of their column: the dotted path.

    `problem.` stands before those that another column of the runs' table has the name of, as the final `loss`.
    """
    taken = ("loss", "budget", "subspace", "sample_weight")
    return {
        f"problem.{path}" if path.startswith("budget.") or path in taken else path: plain(value)
        for path, value in cell.grid.items()
    }


def definition(config: ProblemConfig) -> dict[str, Any]:
    """What a problem is, whoever trains it for how long; a data file counts by its content, not by where it lies."""
    fields = set(type(config).model_fields) - {"budget", "optimizers"}
    described = {name: describe(getattr(config, name)) for name in type(config).model_fields if name in fields}
    if isinstance(described.get("dataset"), dict):
        described["dataset"].pop("path", None)
    if described.get("precision") == "full":  # what runs were before there was another
        del described["precision"]
    return described


def plain(value: Any) -> str | int | float | bool | None:
    """A grid's value as one table entry: lists and mappings as compact JSON, Python objects by name."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    described = describe(value)
    if isinstance(described, Mapping) and "python" in described:
        return str(described["python"])
    return json.dumps(described, separators=(",", ":"))
