"""`python notebooks/claims`: judge every claim by measurements and studies, and write notebooks/claims.md."""

from __future__ import annotations

import argparse
from pathlib import Path

import from_studies
import measured
from claim import Claim
from evidence import Evidence
from page import write

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the studies' results")
    parser.add_argument("--out", type=Path, default=HERE.parent / "claims.md", help="the page")
    given = parser.parse_args()
    evidence = Evidence(given.results, given.out.resolve().parent / "figures")
    write((*measured.CLAIMS, *from_studies.CLAIMS), evidence, given.out.resolve(), announce)


def announce(claim: Claim) -> None:
    """Say which claim is next."""
    print(f"{claim.shown_by}: {claim.wording}", flush=True)  # noqa: T201 - this is the command


main()
