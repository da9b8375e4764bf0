"""Checks of what callbacks are given, and what several of them do."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path

from gfopt.errors import ConfigError, MissingExtraError, expectation, suggestion
from gfopt.trace import BUDGET_UNITS, Record
from gfopt.types import Observation


def number(name: str, value: object, *, above: float = -math.inf, least: float = -math.inf) -> float:
    """A finite number greater than `above` and of at least `least`.

    Raises:
        ConfigError: for anything else.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not isinstance(value, int | float) or value <= above or value < least:
        bound = f" greater than {above:g}" if above > -math.inf else f" of at least {least:g}"
        wanted = "a finite number" + ("" if max(above, least) == -math.inf else bound)
        raise ConfigError(f"{name}: " + expectation(wanted, value))
    return float(value)


def unit_of_budget(name: str, value: object) -> str:
    """A unit of the ledger that budgets are given in.

    Raises:
        ConfigError: for anything else.
    """
    if not isinstance(value, str) or value not in BUDGET_UNITS:
        raise ConfigError(f"{name}: " + expectation("a unit of the ledger", value, suggestion(value, BUDGET_UNITS)))
    return value


def place(name: str, value: object) -> Path:
    """The path of a file or folder.

    Raises:
        ConfigError: for anything else.
    """
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ConfigError(f"{name}: " + expectation("a path", value))
    return Path(value)


def missing(package: str, callback: str, extra: str) -> MissingExtraError:
    """The error that says what to install."""
    fix = f"Install it with: pip install 'gfopt[{extra}]'"
    return MissingExtraError(expectation(f"the package {package}, which {callback} needs", "`none`", fix))


def row(seen: Observation) -> dict[str, float]:
    """A logged point as `Run.curve` has it: the ledger, the losses, the scores."""
    return Record(asdict(seen.ledger), seen.loss, seen.batch_loss, seen.scores).row()
