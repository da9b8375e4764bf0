"""The main table and the verdict for a terminal of 80 columns and more."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.table import Table
from rich.text import Text

from gfopt.report.table import Block, Line, axes, blocks, middle

_SHORT_COST = {"forward_equivalents": "fwd-equiv.", "evaluations": "evaluations", "seconds": "seconds"}


def summary_table(summary: pd.DataFrame) -> Table:
    """One block of lines per cell, the best median score in bold; the same strings as on the page.

    Args:
        summary: the frame of `analysis.summary`.
    """
    outer = Table.grid()
    outer.add_column()
    label = middle(summary)
    found = blocks(summary)
    heads = ["optimizer", "ok", "score [95 %]", "loss", "seconds"]
    cost = next(iter(axes(summary)), "")
    if cost:
        heads[4:4] = ["reached", _SHORT_COST[cost]]
    lines = [[_cells(line, label, cost) for line in block.lines] for block in found]
    widths = [max(len(row[i]) for row in [heads, *(r for block in lines for r in block)]) for i in range(len(heads))]
    outer.add_row(_grid([heads], ["dim"], widths))
    for block, rows in zip(found, lines, strict=True):
        outer.add_row(_title(block, label))
        outer.add_row(_grid(rows, ["bold" if line.best else "" for line in block.lines], widths))
    return outer


def _cells(line: Line, label: str, cost: str) -> list[str]:
    reach = [line.reached[label], line.restarts[cost]] if cost else []
    return [line.optimizer, line.ok, line.score, line.median_loss, *reach, line.seconds]


def _title(block: Block, label: str) -> Text:
    target = f"; target: {label} = {block.target}" if block.target else ""
    return Text.assemble("\n", (block.cell, "bold underline"), (f"  median {block.metric}{target}", "dim"))


def _grid(rows: Sequence[Sequence[str]], styles: Sequence[str], widths: Sequence[int]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for place, width in enumerate(widths):
        first = place == 0
        # only names may fold; Text rather than markup, or `adam[learning_rate=0.01]` would lose its brackets
        grid.add_column(
            width=None if first else width,
            min_width=min(width, 12) if first else width,
            max_width=width,
            justify="left" if place < 2 else "right",
            overflow="fold",
            no_wrap=not first,
        )
    for row, style in zip(rows, styles, strict=True):
        grid.add_row(*(Text(cell, style=style) for cell in row))
    return grid


def verdict_lines(sentences: Sequence[str]) -> Table:
    """The sentences of the verdict as a list with hanging indent."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for sentence in sentences:
        grid.add_row("•", Text(sentence))
    return grid
