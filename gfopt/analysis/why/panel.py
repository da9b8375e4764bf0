"""What the checks look at: the measurements of one panel, cell by cell and run by run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gfopt.analysis.frames import Cell, split_cells
from gfopt.analysis.measured import along, at_start, measured
from gfopt.analysis.norms import with_norm, with_norms
from gfopt.analysis.wording import listing


@dataclass(frozen=True)
class Reason:
    """One sentence, and the cells that it speaks of.

    Attributes:
        text: the sentence.
        cells: labels of the cells whose numbers tripped the threshold.
        topic: `why` for a cause, `fact` for what is worth knowing.
    """

    text: str
    cells: tuple[str, ...]
    topic: str = "why"


@dataclass(frozen=True)
class Arm:
    """A cell, and the optimizer whose run was measured; without one it is the cell before training."""

    cell: Cell
    optimizer: str = ""

    @property
    def place(self) -> str:
        """`adam with batch normalization`; empty if there is nothing to tell apart."""
        return f"{self.optimizer} {with_norm(self.cell.norm)}".strip()


@dataclass(frozen=True)
class Search:
    """What is known of an optimizer from the table of runs.

    Attributes:
        gradients: it passes samples backward.
        dim: number of genes.
        members: candidates evaluated in a generation.
    """

    gradients: bool
    dim: float = float("nan")
    members: float = float("nan")


@dataclass(frozen=True)
class Panel:
    """The cells that differ in the normalization alone.

    Attributes:
        cells: in order of appearance, each with its rows by quantity, as `measured` gives them.
        searches: optimizer to what the table of runs says; empty without one.
    """

    cells: Sequence[tuple[Cell, Mapping[str, pd.DataFrame]]]
    searches: dict[str, Search] = field(default_factory=dict)

    def layers_at_start(self, quantity: str) -> list[tuple[Arm, pd.Series]]:
        """For each cell with such numbers the median over repeats, by layer from the input on."""
        found = []
        for cell, tables in self.cells:
            mine = at_start(tables[quantity]) if quantity in tables else pd.DataFrame()
            if not mine.empty:
                found.append((Arm(cell), mine.groupby("layer", sort=True)["value"].median()))
        return found

    def arms(self, quantity: str) -> list[tuple[Arm, pd.DataFrame]]:
        """For each cell and optimizer with such numbers the rows along its runs, in the order of the steps."""
        found = []
        for cell, tables in self.cells:
            if quantity in tables:
                mine = along(tables[quantity]).sort_values("step", kind="stable")
                found += [(Arm(cell, str(name)), group) for name, group in mine.groupby("optimizer", sort=False)]
        return found

    def is_population(self, optimizer: str, marks: Sequence[str]) -> bool:
        """Whether an optimizer searches without gradients: by its runs, else by what is measured of populations."""
        if optimizer in self.searches:
            return not self.searches[optimizer].gradients
        marked = (tables[mark] for _, tables in self.cells for mark in marks if mark in tables)
        return any((rows["optimizer"] == optimizer).any() for rows in marked)


def panels(diagnostics: pd.DataFrame | None, searches: dict[str, Search]) -> dict[str, Panel]:
    """The panels of a table by name, in order of appearance."""
    found: dict[str, list[tuple[Cell, Mapping[str, pd.DataFrame]]]] = {}
    for cell, rows in split_cells(measured(diagnostics)):
        found.setdefault(cell.panel, []).append((cell, {str(name): mine for name, mine in rows.groupby("quantity")}))
    return {name: Panel(cells, searches) for name, cells in found.items()}


def middle(rows: pd.DataFrame) -> pd.Series:
    """Median over points of each repeat, then over repeats, by layer."""
    inner = rows.groupby(["repeat", "layer", "name"], sort=True)["value"].median()
    return inner.groupby("layer", sort=True).median()


def ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The `first` and the `last` recorded value of each repeat, median over repeats: a row per `layer` and name."""
    ordered = rows.sort_values("step", kind="stable").groupby(["repeat", "layer", "name"], sort=True)["value"]
    return ordered.agg(["first", "last"]).groupby(["layer", "name"], sort=True).median().reset_index()


def clauses(tripped: Sequence[tuple[Arm, str]], most: int = 3) -> str:
    """`0.14 without normalization, 0.24 with weight normalization`: figures with their places, the first few.

    Arms of one optimizer with the same figures share a clause.
    """
    alike: dict[tuple[str, str], list[Arm]] = {}
    for arm, figures in tripped:
        alike.setdefault((figures, arm.optimizer), []).append(arm)
    shown = [
        " ".join(part for part in (*key, with_norms([arm.cell.norm for arm in group])) if part)
        for key, group in list(alike.items())[:most]
    ]
    rest = sum(len(group) for group in list(alike.values())[most:])
    return listing([*shown, f"the like in {rest} more"] if rest else shown)


def labels(tripped: Sequence[tuple[Arm, object]]) -> tuple[str, ...]:
    """The cells of tripped arms."""
    return tuple(dict.fromkeys(arm.cell.label for arm, _ in tripped))


def sentence(tripped: Sequence[tuple[Arm, str]], text: Callable[[str], str], topic: str = "why") -> list[Reason]:
    """The one sentence on all tripped arms, or none."""
    return [Reason(text(clauses(tripped)), labels(tripped), topic)] if tripped else []


def worst_first(found: Sequence[tuple[Arm, float, str]], *, high: bool) -> list[tuple[Arm, str]]:
    """Arms with their figures, the most striking value first; equal ones in order of appearance."""
    ordered = sorted(found, key=lambda item: -item[1] if high else item[1])
    return [(arm, figures) for arm, _, figures in ordered]


def is_number(value: float) -> bool:
    """Neither infinite nor missing."""
    return bool(np.isfinite(value))
