"""The errors that gfopt raises on purpose: each says where, what was expected, what was got, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class GfoptError(Exception):
    """Base of every error that gfopt raises on purpose; the command line turns it into exit status 2.

    Attributes:
        where: the place in the user's input, outermost first, as `("study.yaml", "problems.deep")`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.where: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ": ".join((*self.where, self.message))


class ConfigError(GfoptError, ValueError):
    """A study file, an option or an argument is wrong."""


class DataError(GfoptError, ValueError):
    """A data set cannot be used as given."""


class ShapeError(GfoptError, ValueError):
    """An array has another shape than its contract says."""


class NotDifferentiableError(GfoptError, TypeError):
    """A gradient was asked of a problem that has none."""


class NetworkError(GfoptError, ValueError):
    """A network cannot be built or evaluated as given."""


class StoreError(GfoptError, OSError):
    """A results folder cannot be read or written as asked."""


class MissingExtraError(GfoptError, ImportError):
    """An optional package is needed; the message names the extra to install."""


def expectation(expected: str, got: object, fix: str = "") -> str:
    """The standard sentence `expected ..., got .... fix`."""
    shown = got if isinstance(got, str) and got.startswith("`") else _short(got)
    return f"expected {expected}, got {shown}" + (f". {fix}" if fix else "")


def suggestion(name: object, known: Iterable[str]) -> str:
    """`Did you mean 'adam'?` for a near miss, else the list of known names."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(names)}." if names else ""


@contextmanager
def located(*where: str) -> Iterator[None]:
    """Put `where` in front of the place of any `GfoptError` that passes."""
    try:
        yield
    except GfoptError as error:
        error.where = (*(part for part in where if part), *error.where)
        raise


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class SlowPathWarning(UserWarning):
    """Something works, but slower than it could; said once, with the reason."""
