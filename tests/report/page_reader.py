"""Reads a report page back: tags, attributes, tables and figures."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """What an HTML page holds.

    Attributes:
        tags: `(name, attributes)` in order.
        text: all visible text.
        tables: for each table its rows of cell texts.
        figures: the JSON of the figures.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.figures: Any = None
        self._inside: str = ""
        self._cell: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag in ("script", "style"):
            self._inside = values.get("id") or tag
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""
        elif tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._inside == "figures":
            self.figures = json.loads(data, parse_constant=lambda name: pytest_fail(name))
        elif not self._inside:
            self.text += data
            if self._cell is not None:
                self._cell.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [values for name, values in self.tags if name == tag]


def pytest_fail(name: str) -> None:
    """NaN and Infinity are no JSON: a browser would refuse the page."""
    raise AssertionError(f"{name} in the JSON of the figures")
