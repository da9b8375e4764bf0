"""The section on tuning: what was chosen for each optimizer, what it brought, and what it cost beside the runs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gfopt.analysis.frames import split_cells
from gfopt.analysis.wording import metric_words, number

OPTION = "options."
CHOICE = "objective of the choice"
NUMBERS = ("default", CHOICE, "forward_equivalents", "runs_forward_equivalents")


@dataclass(frozen=True)
class Tuning:
    """What the section shows.

    Attributes:
        effort: what every optimizer was given, in words.
        rows: problem, optimizer, what was chosen, the metric, its value by the defaults, its value by the choice, and
            the forward-equivalents of tuning and of the runs.
        untuned: why some were left as they are.
    """

    effort: str
    rows: list[tuple[str, ...]]
    untuned: list[str]


def tuning(tuned: pd.DataFrame | None) -> Tuning | None:
    """The section of a study that tunes, `None` for any other.

    Args:
        tuned: one row a problem cell and optimizer, with the costs of its runs.
    """
    if tuned is None or tuned.empty:
        return None
    done = tuned[tuned["status"] != "untuned"]
    # An option of problems is called `objective` too, and would tell cells apart.
    cells = split_cells(done.rename(columns={"objective": CHOICE}))
    rows = [_row(cell.label, row) for cell, mine in cells for row in mine.to_dict("records")]
    trials, samplers = sorted(set(done["trials"].astype(int))), ", ".join(sorted(set(done["sampler"])))
    counts = " or ".join(map(str, trials))
    effort = f"{counts} trials each, the defaults first, the others proposed by {samplers}"
    return Tuning(effort, rows, list(dict.fromkeys(tuned.loc[tuned["status"] == "untuned", "message"])))


def _row(cell: str, row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    chosen = {
        str(name).removeprefix(OPTION): value
        for name, value in row.items()
        if str(name).startswith(OPTION) and value is not None and value == value  # a number that is not there is NaN
    }
    words = ", ".join(
        f"{name} {number(value) if isinstance(value, float) else value}" for name, value in chosen.items()
    )
    return (
        cell,
        str(row["optimizer"]),
        words,
        metric_words(str(row["metric"])),
        *(number(row[name]) for name in NUMBERS),
    )
