import io

import pytest
from rich.console import Console

from gfopt import analysis
from gfopt.analysis.wording import number
from gfopt.report.console import summary_table, verdict_lines


def _printed(thing: object, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(thing)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100])
def test_one_line_per_optimizer_with_the_numbers_of_the_summary(small, width):
    summary = analysis.summary(small.runs, small.curves, baseline="adam")
    lines = _printed(summary_table(summary), width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines if line.split() and line.split()[0] in ("adam", "ga", "pso", "random")]
    assert len(rows) == len(summary)
    for row, expected in zip(rows, summary.to_dict("records"), strict=True):
        assert row[1] == f"{expected['ok']}/{expected['n']}"
        assert row[2] == number(expected["score"])
        assert row[-2] == number(expected["ert_forward_equivalents[50 %]"])
        assert row[-1] == number(expected["seconds"])


def test_names_with_brackets_are_not_markup(small):
    small.runs["optimizer"] = small.runs["optimizer"].replace({"adam": "adam[lr=0.1]", "ga": "[red]ga"})
    summary = analysis.summary(small.runs, small.curves)
    text = _printed(summary_table(summary), 100)
    assert "adam[lr=0.1]" in text
    assert "[red]ga" in text
    assert "use adam[lr=0.1]" in _printed(verdict_lines(["use adam[lr=0.1]"]), 80)


def test_a_study_without_runs_or_targets_still_prints(small):
    assert "optimizer" in _printed(summary_table(analysis.summary(small.runs.iloc[:0], small.curves)), 80)
    small.runs["status"] = "crashed"
    assert "0/2" in _printed(summary_table(analysis.summary(small.runs, small.curves.iloc[:0])), 80)


def test_long_sentences_hang_under_their_bullet():
    lines = _printed(verdict_lines(["word " * 30, "second"]), 40).splitlines()
    assert lines[0].startswith("• word")
    assert lines[1].startswith("  word")
