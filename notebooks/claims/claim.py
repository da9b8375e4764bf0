"""What a claim is, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evidence import Evidence


@dataclass(frozen=True)
class Judgement:
    """What the numbers say.

    Attributes:
        verdict: `true`, `wrong`, or `true if ...` with the condition.
        number: the measured numbers, in a sentence.
        figure: a picture of them, where there is one.
    """

    verdict: str
    number: str
    figure: Path | None = None


@dataclass(frozen=True)
class Claim:
    """A sentence that is often said of vanishing gradients and their remedies.

    Attributes:
        wording: the sentence.
        shown_by: the study file, or the measurement, that judges it.
        judge: from evidence to judgement.
    """

    wording: str
    shown_by: str
    judge: Callable[[Evidence], Judgement]


def choose(holds: bool, if_so: str, otherwise: str) -> str:
    """The verdict that the numbers decide; both are written before they are known."""
    return if_so if holds else otherwise
