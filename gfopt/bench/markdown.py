"""The results as a page in Markdown; every figure on it comes from the results."""

from __future__ import annotations

from collections.abc import Iterator

from gfopt.bench.results import BenchResults
from gfopt.bench.sheets import Sheet, headline, sheets

INTRO = """\
# Benchmarks

Written by `gfopt bench --json bench.json --markdown benchmarks.md`; no figure is written by hand. All contenders of
a table ran in one process, in turn, round by round, and the median of the rounds counts. Times of a machine move from
hour to hour: compare ratios. The floor is the flops of the network at the measured rate of a large matrix product,
plus the cheapest pass for each tanh and exponential that was found on the machine.
"""


def markdown(results: BenchResults) -> str:
    """The page: an introduction, the machine, and a table for each section."""
    return "\n".join((INTRO, *_body(results)))


def _body(results: BenchResults) -> Iterator[str]:
    yield from (f"- {line}" for line in headline(results))
    yield f"- measured at {results.machine['date']}, {results.settings['repeats']} rounds"
    yield ""
    for sheet in sheets(results):
        yield from _table(sheet)
    for section, reason in results.skipped.items():
        yield f"The section {section} was left out: {reason}.\n"


def _table(sheet: Sheet) -> Iterator[str]:
    yield f"## {sheet.title}\n"
    yield _row(sheet.columns)
    yield _row(tuple("---" if number < sheet.words else "---:" for number in range(len(sheet.columns))))
    yield from map(_row, sheet.rows)
    yield ""
    yield from (f"{note}\n" for note in sheet.notes)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
