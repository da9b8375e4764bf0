"""Names as a table that is readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gfopt.listing.entries import Entry

_CAPABILITIES = ("from", "rows", "gradient", "max D", "device")
_NOTE = (
    "rows: of an ordinary step with the defaults; max D: most parameters that it can handle; "
    "device: where its state is."
)


def listing_table(title: str, found: Sequence[Entry]) -> RenderableType:
    """The names of one kind; optimizers with what they can handle, their descriptions below.

    Args:
        title: the kind, of `gfopt.listing.KINDS`.
        found: what `entries` found.
    """
    heading = Text(title, style="bold")
    if title == "optimizers":
        return Group(heading, *_with_capabilities(found), Text(_NOTE, style="dim"), "")
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for column in ("name", "from", ""):
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for entry in found:
        table.add_row(Text(entry.name), Text(entry.source), _about(entry))
    return Group(heading, table, "")


def _with_capabilities(found: Sequence[Entry]) -> Iterator[RenderableType]:
    """A line of capabilities for each, and its description on lines of its own."""
    rows = [("name", *_CAPABILITIES), *((entry.name, entry.source, *_cells(entry)) for entry in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, entry in zip(rows, (None, *found), strict=True):
        words = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        line = "  ".join(words + numbers)
        yield Text(line, style="dim" if entry is None else "", no_wrap=True, overflow="ignore")
        if entry is not None:
            yield Padding(_about(entry), (0, 0, 0, 4))


def _cells(entry: Entry) -> tuple[str, str, str, str]:
    can = entry.capabilities
    if can is None:
        return "", "", "", ""
    rows = "" if can.evaluations is None else f"{can.evaluations:,}"
    most = "any" if can.max_dim is None else f"{can.max_dim:,}"
    return rows, "yes" if can.gradient else "no", most, can.device


def _about(entry: Entry) -> Text:
    """What it is; of one that cannot be used, why, and what to do."""
    if entry.install:
        return Text(f"not installed: {entry.install}", style="yellow")
    if entry.error:
        return Text(f"broken: {entry.error}", style="red")
    return Text(entry.about + (f" Needs {entry.needs}." if entry.needs else ""), style="dim")
