import math
import re

import numpy as np
import pandas as pd
import pytest
from page_reader import Page

from gfopt import analysis
from gfopt.analysis.wording import number
from gfopt.errors import DataError
from gfopt.report import write_report
from gfopt.report.page import render, script_json

HOSTILE = '</script><img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def results():
    import synthetic_study

    return synthetic_study.study()


@pytest.fixture(scope="module")
def html(results):
    return render(results)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_asks_for_nothing_from_outside(page, html):
    addresses = [
        values[name]
        for _, values in page.tags
        for name in ("src", "href", "action", "srcset", "data")
        if name in values
    ]
    assert addresses
    assert all(address.startswith("#") or address == "data:," for address in addresses)
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style
    assert not page.named("iframe")


def test_one_file_of_bearable_size_with_plotly_inside(html):
    assert len(html.encode()) < 8e6
    assert "Plotly" in html


def test_sections_come_in_order_and_the_verdict_first(page):
    sections = [values["id"] for values in page.named("section")]
    assert sections == ["verdict", "picture", "why", "convergence", "table", "runs", "reproduce"]


def test_every_sentence_of_the_verdict_is_on_the_page(page, results):
    visible = " ".join(page.text.split())
    for sentence in analysis.verdicts(results.runs, results.curves, results.diagnostics, baseline="adam"):
        assert sentence in visible


def test_numbers_of_the_table_are_those_of_the_summary(page, results):
    summary = analysis.summary(results.runs, results.curves, baseline="adam")
    (table,) = [t for t in page.tables if t and t[0][:2] == ["optimizer", "runs"]]
    rows = [row for row in table[1:] if len(row) > 1]
    assert len(rows) == len(summary) == 32
    for row, expected in zip(rows, summary.to_dict("records"), strict=True):
        assert row[0] == expected["optimizer"]
        assert int(re.match(r"\d+", row[1]).group()) == expected["n"]
        ends = f"{number(expected['score'])} [{number(expected['score_low'])}, {number(expected['score_high'])}]"
        assert row[2] == ends
        assert row[3] == number(expected["loss"])
        assert row[5] == f"{expected['successes[50 %]']}/{expected['n']}"
        assert row[7] == number(expected["ert_forward_equivalents[50 %]"])


def test_first_picture_shows_the_medians_and_every_single_run(page, results):
    summary = analysis.summary(results.runs, results.curves)
    for place, (_, rows) in enumerate(summary.groupby("panel", sort=False)):
        traces = page.figures["panels"][f"score-{place}"]["data"]
        medians = [y for trace in traces if "error_y" in trace for y in trace["y"]]
        dots = [y for trace in traces if "error_y" not in trace for y in trace["y"]]
        assert sorted(medians) == pytest.approx(sorted(rows["score"]), rel=1e-4)
        assert len(dots) == rows["n"].sum()
        assert sorted(dots)[0] == 0  # the failed run, at the worst value


def test_first_picture_has_one_mark_per_norm_and_optimizer(page):
    data = page.figures["panels"]["score-1"]["data"]
    traces = [t for t in data if "error_y" in t]
    assert [t for t in data if t.get("showlegend") is not False] == traces
    assert [t["name"] for t in traces] == ["no normalization", "batch", "layer"]
    assert all(len(t["x"]) == 4 for t in traces)
    assert page.figures["panels"]["score-1"]["layout"]["xaxis"]["ticktext"] == [
        "adam",
        "ga",
        "pso<br>(1 failed)",
        "random",
    ]


def test_gradient_is_beside_it_on_a_log_axis(page):
    figure = page.figures["panels"]["gradient-1"]
    assert figure["layout"]["yaxis"]["type"] == "log"
    assert [len(t["x"]) for t in figure["data"]] == [9, 9, 9]


def test_every_choice_of_the_selectors_has_a_figure(page):
    options = [values["value"] for values in page.named("option")]
    cells, metrics, axes = options[:8], options[8:10], options[10:]
    assert axes == ["forward_equivalents", "evaluations", "seconds"]
    assert set(page.figures["convergence"]) == {f"{c}|{m}|{a}" for c in cells for m in metrics for a in axes}


def test_the_curve_ends_at_the_number_of_the_table(page, results):
    summary = analysis.summary(results.runs, results.curves)
    cells = [cell.label for cell, _ in analysis.split_cells(results.runs)]
    spec = page.figures["convergence"][f"{cells.index('deep, norm=batch')}|test_accuracy|forward_equivalents"]
    rows = summary[summary["cell"] == "deep, norm=batch"]
    ends = {t["legendgroup"]: t["y"][-1] for t in spec["data"] if t.get("showlegend") is not False}
    assert ends == pytest.approx(dict(zip(rows["optimizer"], rows["score"], strict=True)), rel=1e-4)
    for value in rows["score"]:
        assert number(value) in spec["caption"]


def test_an_optimizer_has_one_colour_and_mark_everywhere(page):
    seen = {}
    for spec in page.figures["convergence"].values():
        for trace in spec["data"]:
            if trace.get("showlegend") is not False:
                seen.setdefault(trace["legendgroup"], set()).add((trace["line"]["color"], trace["marker"]["symbol"]))
    assert all(len(looks) == 1 for looks in seen.values())
    assert len({look for looks in seen.values() for look in looks}) == 4


def test_axes_have_titles_and_tables_have_scopes(page):
    specs = [*page.figures["panels"].values(), *page.figures["convergence"].values()]
    assert all(spec["layout"][axis]["title"]["text"] for spec in specs for axis in ("xaxis", "yaxis"))
    assert all(values.get("scope") for values in page.named("th"))
    assert len(page.named("figcaption")) == len(page.named("figure")) == 5


def test_failed_runs_are_listed_with_their_message(page):
    (table,) = [t for t in page.tables if "message" in t[0]]
    assert len(table) == 3
    assert ["shallow", "weight", "ga", "2", "crashed", "", "RuntimeError: out of memory"] in table


def test_reproduce_holds_the_study_and_the_machine_and_says_that_it_was_shared(page):
    assert "forward_equivalents: 1000000.0" in page.text
    assert "2.13.0" in page.text
    assert "Up to 2 runs shared this machine" in page.text


def test_hostile_names_stay_text(small):
    name = {"pso": HOSTILE, "ga": "a&amp;<b>x</b>"}
    small.runs["optimizer"] = small.runs["optimizer"].replace(name)
    small.runs["problem"], small.diagnostics["problem"] = HOSTILE, HOSTILE
    small.runs["message"] = HOSTILE
    small.study = {"name": HOSTILE, "report": {}, "key": HOSTILE}
    small.environment = {HOSTILE: HOSTILE}
    html = render(small)
    page = Page(html)
    assert not page.named("img")
    assert not page.named("b")
    assert len(page.named("script")) == 3
    assert page.text.count(HOSTILE) > 10
    legends = {t["name"] for s in page.figures["convergence"].values() for t in s["data"] if "name" in t}
    assert "a&amp;amp;&lt;b&gt;x&lt;/b&gt;" in legends  # plotly reads markup in labels
    assert not any("<" in legend for legend in legends)


def test_bands_of_many_optimizers_are_left_out_and_not_spoken_of(small, monkeypatch):
    assert '"fill":"toself"' in render(small)
    monkeypatch.setattr("gfopt.report.convergence.MOST_BANDS", 1)
    page = render(small)
    assert '"fill":"toself"' not in page
    assert "pointwise 95 % band" not in page


def test_json_in_a_script_cannot_end_it_and_holds_no_nan():
    assert "<" not in script_json({"a": HOSTILE, "b": "<!--", "c": "&"})
    with pytest.raises(ValueError, match="JSON"):
        script_json([math.nan])


@pytest.mark.parametrize(
    "case", ["no norm", "no curves", "no diagnostics", "all failed", "infinite", "one run", "single panel"]
)
def test_any_study_has_a_page(small, case):
    keep = slice(None)
    if case == "no norm":
        keep = small.runs["network.norm"] == "none"
    elif case == "one run":
        keep = small.runs["run"] == "deep-none-ga-0"
    small.runs = small.runs[keep].reset_index(drop=True)
    if case == "no norm":
        small.runs, small.diagnostics = small.runs.drop(columns="network.norm"), pd.DataFrame()
    elif case in ("no curves", "all failed"):
        small.curves = small.curves.iloc[:0]
    elif case == "no diagnostics":
        small.diagnostics = None
    if case in ("all failed", "infinite"):
        small.runs = small.runs.drop(columns=[c for c in small.runs if c.startswith(("test_", "validation_"))])
        small.runs["loss"], small.curves["loss"] = np.inf, np.inf
    if case == "all failed":
        small.runs["status"] = "crashed"
    page = Page(render(small))
    assert page.figures["panels"]
    assert "nan" not in page.text.split()
    assert ("Convergence" in page.text) is (case not in ("no curves", "all failed", "infinite"))


def test_write_report(small, tmp_path):
    path = write_report(small, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    small.runs = small.runs.iloc[:0]
    with pytest.raises(DataError, match="Run the study first"):
        write_report(small, path)
