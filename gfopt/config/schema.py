"""A whole study, checked: its settings, and the problems and optimizers that its grids make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import SkipValidation

from gfopt.config.cells import OptimizerCell, ProblemCell
from gfopt.config.models import Settings
from gfopt.config.plain import copy
from gfopt.diagnostics import kinds
from gfopt.trace import Budget


class StudyConfig(Settings):
    """A study that can be run.

    Attributes:
        problems, optimizers: the entries as written, overrides applied, grids not expanded.
        budget: the study's own, `None` where every problem has one.
        problem_cells, optimizer_cells: the entries with their grids expanded; each pair runs `repeats` times.
        source: where the study comes from, for messages; not part of its identity.
    """

    problems: SkipValidation[dict[str, Any]]
    optimizers: SkipValidation[dict[str, Any]]
    budget: SkipValidation[Budget | None] = None
    problem_cells: SkipValidation[tuple[ProblemCell, ...]]
    optimizer_cells: SkipValidation[tuple[OptimizerCell, ...]]
    source: str = "study"

    @property
    def runs(self) -> int:
        """How many runs the study has."""
        return sum(1 for _ in self.pairs()) * self.repeats

    def pairs(self) -> Iterator[tuple[ProblemCell, OptimizerCell]]:
        """Each problem cell with each optimizer cell that trains it."""
        for problem in self.problem_cells:
            for optimizer in self.optimizer_cells:
                chosen = problem.config.optimizers
                if chosen is None or optimizer.base in chosen or optimizer.name in chosen:
                    yield problem, optimizer

    @property
    def baseline(self) -> tuple[str, ...]:
        """The optimizer cells that the report's baseline names: several if it is the base of a grid."""
        return tuple(cell.name for cell in self.optimizer_cells if self.report.baseline in (cell.name, cell.base))

    def tunes(self, optimizer: OptimizerCell) -> bool:
        """Whether the study wants an optimizer tuned, which takes something to tune besides."""
        chosen = None if self.tune is None else self.tune.optimizers
        return self.tune is not None and (chosen is None or optimizer.base in chosen or optimizer.name in chosen)

    def resolved(self) -> dict[str, Any]:
        """The study as a mapping in a fixed order, overrides and defaults of the study filled in.

        Plain data, except for Python objects that were given as such; `from_mapping` makes an equal study.
        """
        data: dict[str, Any] = {"name": self.name, "seed": self.seed, "repeats": self.repeats}
        if self.budget is not None:
            data["budget"] = self.budget.limits()
        data |= {"threads": self.threads, "dtype": self.dtype, "device": self.device}
        if self.batch_repeats:
            data["batch_repeats"] = True
        if self.diagnostics != list(kinds.DEFAULT):
            data["diagnostics"] = list(self.diagnostics)
        if self.early_stopping is not None:
            data["early_stopping"] = self.early_stopping.model_dump(mode="json")
        if self.tune is not None:
            spaces = self.tune.model_dump(mode="json", include={"spaces"}, exclude_unset=True)
            data["tune"] = {**self.tune.model_dump(mode="json", exclude_none=True, exclude={"spaces"}), **spaces}
        data |= {"problems": copy(self.problems), "optimizers": copy(self.optimizers)}
        return data | {"report": self.report.model_dump(mode="json")}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StudyConfig) and self.resolved() == other.resolved()

    __hash__ = None  # type: ignore[assignment]  # it holds mappings
