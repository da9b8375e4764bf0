import math
import sys
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from page_reader import Page

from gfopt import analysis, plot
from gfopt.errors import ConfigError
from gfopt.report.page import render
from gfopt.report.why import why

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))  # the synthetic tables are shared
from synthetic_diagnostics import fading, rows, table, whole_study

HOSTILE = '</script><img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def diagnostics():
    return whole_study()


@pytest.fixture(scope="module")
def section(diagnostics):
    return why(diagnostics, pd.DataFrame())


@pytest.fixture(scope="module")
def page(diagnostics):
    import synthetic_study

    study = synthetic_study.study(repeats=2, problems=["deep"])
    study.diagnostics = diagnostics
    return Page(render(study))


def test_the_section_holds_every_sentence(page, diagnostics):
    visible = " ".join(page.text.split())
    found = analysis.explain(diagnostics)
    assert len(found) > 4
    for finding in found:
        assert finding.text in visible


def test_every_quantity_can_be_chosen_and_is_explained(page, diagnostics):
    quantities = [q for q in analysis.recorded_quantities(diagnostics) if q != "invariant"]
    options = [values["value"] for values in page.named("option")]
    assert set(quantities) < set(options)
    assert {key.split("|")[1] for key in page.figures["why"]} == set(quantities)
    assert "Mean angle between a unit's incoming weights before and after a step (rad)." in page.text


def test_a_figure_shows_the_medians_of_the_table(diagnostics, section):
    spec = section.specs[f"0|update_ratio|{section.optimizers.index('adam')}"]
    assert [facet["layout"]["title"]["text"] for facet in spec["facets"]] == ["no normalization", "batch", "layer"]
    mine = analysis.trajectories(diagnostics, "update_ratio")
    mine = mine[(mine["optimizer"] == "adam") & (mine["norm"] == "batch") & (mine["layer"] == 1)]
    line = next(trace for trace in spec["facets"][1]["data"] if trace["name"] == "layer 1")
    assert line["y"] == pytest.approx(mine["value"].tolist(), rel=1e-4)
    assert line["x"] == pytest.approx(mine["cost"].tolist())
    scales = [facet["layout"]["yaxis"]["range"] for facet in spec["facets"]]
    assert scales[0] == scales[1] == scales[2]


def test_before_training_the_lines_are_the_norms(section):
    (facet,) = section.specs[f"0|relative_spread|{section.optimizers.index('before training')}"]["facets"]
    assert [trace["name"] for trace in facet["data"]] == ["no normalization", "batch", "layer"]
    assert facet["data"][0]["x"] == list(range(1, 10))
    assert facet["layout"]["yaxis"]["type"] == "log"


def test_one_number_for_each_network_is_a_mark_over_its_norm(section):
    (facet,) = section.specs[f"0|minibatch_rank_correlation|{section.optimizers.index('before training')}"]["facets"]
    assert [(trace["x"], trace["y"]) for trace in facet["data"]] == [
        (["no normalization"], [0.3]),
        (["batch"], [0.8]),
        (["layer"], [0.8]),
    ]


def test_a_deep_network_shows_its_ends_and_few_layers_between():
    deep = table(*(rows("ics_l2", range(1, 41), optimizer="a", step=s) for s in (1, 2)))
    (spec,) = why(deep, pd.DataFrame()).specs.values()
    names = [trace["name"] for trace in spec["facets"][0]["data"]]
    assert (len(names), names[0], names[-1]) == (8, "layer 1", "layer 40")


def test_panels_of_which_the_same_is_said_share_their_sentences():
    vanishing = [rows("gradient_norm", fading(0.1), problem=problem) for problem in "ab"]
    both = why(table(*vanishing), pd.DataFrame())
    assert [entry.panel for entry in both.reasons] == ["a; b"]


def test_nothing_measured_has_no_section(small):
    small.diagnostics = None
    assert "why" not in [values["id"] for values in Page(render(small)).named("section")]
    assert why(table(rows("gradient_norm", [1.0, 1.0])), pd.DataFrame()) is None  # it has a picture of its own
    calm = why(table(rows("tie_share", [0.0])), pd.DataFrame())
    assert calm.reasons == []
    assert calm.rows == [["tie share", "p", "before training", "layer 1: 0", ""]]


def test_hostile_names_and_numbers_stay_text(small, diagnostics):
    small.runs, diagnostics = small.runs[small.runs["repeat"] == 0], diagnostics[diagnostics["repeat"] == 0]
    small.diagnostics = diagnostics.assign(
        problem=HOSTILE,
        optimizer=diagnostics["optimizer"].replace("adam", HOSTILE),
        name=diagnostics["name"].replace("layers.0", HOSTILE),
        value=diagnostics["value"].where(diagnostics["step"] != 10, math.inf),
    )
    small.diagnostics["network.norm"] = diagnostics["network.norm"].replace("layer", HOSTILE)
    found = Page(render(small))
    assert not found.named("img")
    assert len(found.named("script")) == 3
    facets = [facet for spec in found.figures["why"].values() for facet in spec["facets"]]
    shown = [trace["name"] for facet in facets for trace in facet["data"]]
    shown += [facet["layout"].get("title", {}).get("text", "") for facet in facets]
    assert not any("<" in name for name in shown)


def test_norms_given_as_mappings_are_named(small):
    raw = '{"kind":"group","groups":4}'
    for frame in (small.runs, small.diagnostics):
        frame["network.norm"] = frame["network.norm"].replace("layer", raw)
    found = Page(render(small))
    assert "deep, norm=group (groups 4)" in found.text
    assert raw not in found.text.split("Reproduce")[0]
    traces = found.figures["panels"]["score-0"]["data"]
    assert "group (groups 4)" in [trace["name"] for trace in traces if "error_y" in trace]


@pytest.fixture
def drawn(small, diagnostics):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    small.diagnostics = diagnostics
    yield small
    plt.close("all")


def test_plot_along_the_runs(drawn, diagnostics):
    ax = plot.diagnostics(drawn, "update_ratio", optimizer="adam", where={"norm": "batch"})
    assert ax.get_title() == "deep, norm=batch, adam"
    assert [line.get_label() for line in ax.lines] == [f"layer {layer}" for layer in range(1, 10)]
    mine = analysis.trajectories(diagnostics, "update_ratio")
    mine = mine[(mine["cell"] == "deep, norm=batch") & (mine["optimizer"] == "adam") & (mine["layer"] == 1)]
    assert ax.lines[0].get_ydata() == pytest.approx(mine["value"].to_numpy())
    assert len(plot.diagnostics(drawn, "diversity").figure.axes) == 3


def test_plot_before_training(drawn):
    ax = plot.diagnostics(drawn, "relative_spread")
    assert [line.get_label() for line in ax.lines] == ["no normalization", "batch", "layer"]


def test_plot_names_what_there_is(drawn):
    with pytest.raises(ConfigError, match="Did you mean 'update_ratio'"):
        plot.diagnostics(drawn, "update_ration")
    with pytest.raises(ConfigError, match="Did you mean 'adam'"):
        plot.diagnostics(drawn, "update_ratio", optimizer="adan")


def test_plot_selects_a_norm_by_value_or_name(drawn):
    for frame in (drawn.runs, drawn.diagnostics):
        frame["network.norm"] = frame["network.norm"].replace("layer", '{"kind":"group","groups":4}')
    for given in ({"kind": "group", "groups": 4}, "group (groups 4)"):
        ax = plot.diagnostics(drawn, "diversity", where={"norm": given})
        assert ax.get_title() == "deep, norm=group (groups 4), ga"
