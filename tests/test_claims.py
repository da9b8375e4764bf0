"""The page of claims: what it says is what its measurements and studies say."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
PAGE = NOTEBOOKS / "claims.md"


@pytest.fixture(scope="module")
def parts():
    """The command's own modules, which lie beside the notebooks."""
    names = ("claim", "evidence", "measured", "from_studies", "page")
    sys.path.insert(0, str(NOTEBOOKS / "claims"))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(NOTEBOOKS / "claims"))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def evidence(parts, tmp_path):
    return parts["evidence"].Evidence(tmp_path / "results", tmp_path / "figures")


def test_the_page_has_every_claim_and_no_other(parts):
    claims = [*parts["measured"].CLAIMS, *parts["from_studies"].CLAIMS]
    assert re.findall(r"^> (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == [c.wording for c in claims]
    assert len(claims) > 25


def test_every_claim_names_what_shows_it(parts):
    for claim in (*parts["measured"].CLAIMS, *parts["from_studies"].CLAIMS):
        for source in claim.shown_by.split("; "):
            assert source == "measurement" or (ROOT / "configs" / f"{source}.yaml").exists(), claim.wording


def test_every_picture_of_the_page_is_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", PAGE.read_text(encoding="utf-8"))
    assert len(pictures) >= 8
    for picture in pictures:
        assert (NOTEBOOKS / picture).read_bytes().startswith(b"\x89PNG"), picture


def test_measurements_give_the_verdicts_of_the_page(parts, evidence):
    verdicts = re.findall(r"^\*\*(.*?)\.\*\* ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for claim, verdict in zip(parts["measured"].CLAIMS, verdicts, strict=False):
        if claim.judge is not parts["measured"].whitening_cost:  # a matter of seconds, which no test asserts
            assert claim.judge(evidence).verdict.lower() == verdict.lower(), claim.wording


def test_a_page_says_what_it_is_given(parts, tmp_path):
    claim_parts, page = parts["claim"], parts["page"]
    claims = [
        claim_parts.Claim(
            "the moon is a cheese.", "measurement", lambda _: claim_parts.Judgement("wrong", "it is rock")
        ),
        claim_parts.Claim(
            "2 + 2 = 4.", "measurement", lambda _: claim_parts.Judgement("true", "4", tmp_path / "f.png")
        ),
    ]
    told = []
    page.write(claims, None, tmp_path / "page.md", told.append)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert told == claims
    assert "| [1](#claim-1) | the moon is a cheese. | wrong |" in text
    assert "**Wrong.** It is rock." in text
    assert "![2 + 2 = 4.](f.png)" in text


def test_a_verdict_follows_from_the_numbers(parts):
    """The same judge on other numbers says the opposite."""
    import pandas as pd

    judge = parts["from_studies"].dimension_limits
    dims = (5, 500)

    class Study:
        def __init__(self, far):
            losses = {"adam": (1.0, 0.01), "ga": (1.0, far), "pso": (1.0, far)}
            rows = [
                {"optimizer": name, "dim": dim, "loss": loss}
                for name, values in losses.items()
                for dim, loss in zip(dims, values, strict=True)
            ]
            self.runs = pd.DataFrame(rows)

    class Numbers:
        def __init__(self, far):
            self.far = far

        def study(self, name):
            assert name == "dimension"
            return Study(self.far)

        def figure(self, name, draw):
            return None

    assert judge(Numbers(1.0)).verdict.startswith("true")
    assert judge(Numbers(0.02)).verdict == "undecided"
