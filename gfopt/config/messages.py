"""What is wrong with a study: every issue with its place, what was expected, what was got, and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gfopt.errors import ConfigError, GfoptError

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the study, as `("problems", "deep", "network", "hidden", 0)`."""

MAX_LINES = 20


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong.

    Attributes:
        path: the key that holds it.
        text: what was expected, what was got, and the fix.
        choice: where the value stands in a grid: the length of the path to the grid, and the position in it.
    """

    path: Place
    text: str
    choice: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """The path as the user would write it, as `problems.deep.network: grid[1].norm`."""
        if self.choice is None:
            return place(self.path)
        length, index = self.choice
        return f"{place(self.path[:length])}: {place(('grid', index, *self.path[length:]))}"


def place(path: Sequence[str | int]) -> str:
    """`problems.deep.network.hidden[0]` of `("problems", "deep", "network", "hidden", 0)`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key that could be mistaken for something else, or that is very long, is quoted.
            shown = part if re.fullmatch(r"[\w.\-]{1,100}", part) else repr(part[:60])
            text += f".{shown}" if text else shown
    return text


def issue_of(error: GfoptError, path: Place) -> Issue:
    """The issue that an error raised below `path` stands for."""
    return Issue(path, ": ".join((*error.where, error.message)))


def raise_issues(issues: Iterable[Issue], source_of: Callable[[Place], str]) -> None:
    """Raise one error that lists every issue once, one a line; nothing happens if there are none.

    Args:
        issues: what is wrong.
        source_of: the file, or the override, that the value at a path comes from.

    Raises:
        ConfigError: naming source, place, expected, got and the fix of each.
    """
    parts = list(dict.fromkeys((source_of(issue.path), issue.place, issue.text) for issue in issues))
    if not parts:
        return
    if len(parts) == 1:
        source, where, text = parts[0]
        error = ConfigError(text)
        error.where = tuple(part for part in (source, where) if part)
        raise error
    lines = [": ".join(part for part in triple if part) for triple in parts[:MAX_LINES]]
    if len(parts) > MAX_LINES:
        lines.append(f"... and {len(parts) - MAX_LINES} more")
    raise ConfigError("\n".join(lines))
