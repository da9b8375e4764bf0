"""One sentence about a study, with what it is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict or of the explanations.

    Attributes:
        topic: `overview`, `winner`, `normalization`, `escape`, `gradient`, `cost`, `strength` or `runs`; `why` for
            what makes a network hard to train, `fact` for what is worth knowing about it.
        panel: the problem (with its grid values other than the norm) it is about; empty if about the whole
            study.
        text: the sentence.
    """

    topic: str
    panel: str
    text: str
