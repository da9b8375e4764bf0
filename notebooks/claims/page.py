"""The page: every claim with its verdict, its number and the study that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from claim import Claim, Judgement
from evidence import Evidence

INTRODUCTION = """# Claims, checked

Sentences that are often said of vanishing gradients, normalization and training without gradients, each with what the
numbers say. This page is generated: `python notebooks/claims` measures, runs the studies of `configs/` that are not yet
in `results/`, and writes it again. Verdicts follow from the numbers; numbers of studies are medians over their repeats,
at the studies' small budgets. Names of studies are files in `configs/`.
"""


def write(
    claims: Sequence[Claim], evidence: Evidence, path: Path, progress: Callable[[Claim], None] | None = None
) -> list[tuple[Claim, Judgement]]:
    """Judge the claims one by one and write the page.

    Args:
        claims: in the order of the page.
        evidence: where their numbers come from.
        path: the page.
        progress: told of each claim before it is judged, which may take minutes.
    """
    judged = []
    for claim in claims:
        if progress is not None:
            progress(claim)
        judged.append((claim, claim.judge(evidence)))
    path.write_text(page(judged, path.parent), encoding="utf-8")
    return judged


def page(judged: Sequence[tuple[Claim, Judgement]], folder: Path) -> str:
    """The page's Markdown; pictures are linked relative to `folder`."""
    table = ["| | claim | verdict |", "|---|---|---|"]
    sections = []
    for number, (claim, judgement) in enumerate(judged, start=1):
        table.append(f"| [{number}](#claim-{number}) | {claim.wording} | {judgement.verdict} |")
        sections.append(_section(number, claim, judgement, folder))
    return "\n".join([INTRODUCTION, *table, "", *sections])


def _section(number: int, claim: Claim, judgement: Judgement, folder: Path) -> str:
    verdict, measured = (text[0].upper() + text[1:] for text in (judgement.verdict, judgement.number))
    lines = [
        f"## Claim {number}",
        "",
        f"> {claim.wording}",
        "",
        f"**{verdict}.** {measured}.",
        "",
        f"Shown by: {claim.shown_by}.",
        "",
    ]
    if judgement.figure is not None:
        lines += [f"![{claim.wording}]({judgement.figure.relative_to(folder).as_posix()})", ""]
    return "\n".join(lines)
