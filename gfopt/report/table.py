"""The text of the main table's cells: page and console show these strings, so that they cannot differ."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from gfopt.analysis.frames import AXES, higher_is_better
from gfopt.analysis.wording import interval, metric_words, number, signed

_SHORT = {"forward_equivalents": "fwd-equiv.", "evaluations": "evaluations", "seconds": "seconds"}


@dataclass(frozen=True)
class Line:
    """One optimizer in one cell.

    Attributes:
        optimizer: its name.
        best: it has the best median score of its cell.
        runs: `5`, or `5, 1 diverged`.
        ok: `4/5`, how many runs ended ok.
        score: median and interval.
        median_loss: median.
        seconds: median.
        reached: target label to `4/5`.
        restarts: axis to the expected cost of the middle target.
        improvement: probability of a lower loss than the baseline.
    """

    optimizer: str
    best: bool
    runs: str
    ok: str
    score: str
    median_loss: str
    seconds: str
    reached: dict[str, str]
    restarts: dict[str, str]
    improvement: str


@dataclass(frozen=True)
class Block:
    """One cell: its label, the words of its headline metric, its middle target, and a line per optimizer."""

    cell: str
    metric: str
    target: str
    lines: list[Line]


@dataclass(frozen=True)
class Reach:
    """One target of one optimizer in one cell, as text."""

    cell: str
    optimizer: str
    target: str
    reached: str
    rate: str
    restarts: dict[str, str]


def labels(summary: pd.DataFrame) -> list[str]:
    """The labels of the targets, easiest first."""
    return [str(column)[7:-1] for column in summary.columns if str(column).startswith("target[")]


def middle(summary: pd.DataFrame) -> str:
    """The label of the middle target; empty if there are none."""
    known = labels(summary)
    return known[len(known) // 2] if known else ""


def axes(summary: pd.DataFrame) -> dict[str, str]:
    """Axis to short heading, for the axes that have expected costs."""
    label = middle(summary)
    return {axis: _SHORT[axis] for axis in AXES if f"ert_{axis}[{label}]" in summary.columns}


def blocks(summary: pd.DataFrame) -> list[Block]:
    """The main table, cell by cell."""
    found = []
    label = middle(summary)
    for cell, rows in summary.groupby("cell", sort=False):
        metric = str(rows["metric"].iloc[0])
        usable = rows.loc[rows["ok"] > 0, "score"]
        top = (usable.max() if higher_is_better(metric) else usable.min()) if len(usable) else None
        target = rows[f"target[{label}]"].iloc[0] if label else float("nan")
        found.append(
            Block(
                str(cell),
                metric_words(metric),
                f"loss {number(target)}" if target == target else "",
                [_line(row, summary, label, top) for _, row in rows.iterrows()],
            )
        )
    return found


def _line(row: pd.Series, summary: pd.DataFrame, label: str, top: float | None) -> Line:
    return Line(
        optimizer=str(row["optimizer"]),
        best=bool(row["ok"] > 0 and row["score"] == top),
        runs=runs(row),
        ok=f"{row['ok']}/{row['n']}",
        score=_with_interval(row, "score"),
        median_loss=number(row["loss"]),
        seconds=number(row.get("seconds", float("nan"))),
        reached={name: _reached(row, name) for name in labels(summary)},
        restarts={axis: number(row[f"ert_{axis}[{label}]"]) for axis in axes(summary)},
        improvement=number(row["improvement"], 2),
    )


def runs(row: pd.Series) -> str:
    """`5`, or `5, 1 diverged, 1 failed`: how many runs, and how many of them did not end ok."""
    lost = [f"{row[name]} {name}" for name in ("diverged", "failed") if row[name]]
    return ", ".join([str(row["n"]), *lost])


def _with_interval(row: pd.Series, name: str) -> str:
    return f"{number(row[name])} {interval(row[f'{name}_low'], row[f'{name}_high'])}".strip()


def _reached(row: pd.Series, label: str) -> str:
    count = row[f"successes[{label}]"]
    return "–" if pd.isna(count) else f"{int(count)}/{row['n']}"


def reaches(summary: pd.DataFrame) -> list[Reach]:
    """Every target of every optimizer and cell, with its success rate and expected costs."""
    found = []
    for _, row in summary.iterrows():
        for label in labels(summary):
            if pd.isna(row[f"target[{label}]"]):
                continue
            low, high = row[f"success_low[{label}]"], row[f"success_high[{label}]"]
            rate = f"{number(row[f'success[{label}]'])} {interval(low, high)}"
            costs = {axis: number(row[f"ert_{axis}[{label}]"]) for axis in axes(summary)}
            goal = f"{label} (loss {number(row[f'target[{label}]'])})"
            found.append(Reach(str(row["cell"]), str(row["optimizer"]), goal, _reached(row, label), rate, costs))
    return found


def effects(effect: pd.DataFrame) -> list[list[str]]:
    """The paired effects of normalization: where, optimizer, norm, without, with, difference, better in."""
    return [
        [
            str(row["panel"]),
            str(row["optimizer"]),
            str(row["norm"]),
            number(row["without"]),
            number(row["with"]),
            f"{signed(row['difference'])} {interval(row['low'], row['high'])}".strip(),
            f"{row['wins']} of {row['n']}",
        ]
        for row in effect.to_dict("records")
    ]
