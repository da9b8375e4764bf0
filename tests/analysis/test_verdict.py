import math

import pandas as pd
import pytest
import synthetic_study

from gfopt import analysis
from gfopt.analysis.wording import number


@pytest.fixture(scope="module")
def found():
    """The verdict of the untouched study."""
    tables = synthetic_study.study()
    return analysis.findings(tables.runs, tables.curves, tables.diagnostics, baseline="adam")


@pytest.fixture(scope="module")
def said(found):
    return "\n".join(finding.text for finding in found)


def _verdict(study, baseline=None) -> str:
    return "\n".join(analysis.verdicts(study.runs, study.curves, study.diagnostics, baseline=baseline))


def _only(study, keep):
    study.runs = study.runs[keep].reset_index(drop=True)
    study.curves = study.curves[study.curves["run"].isin(study.runs["run"])].reset_index(drop=True)
    return study


def test_what_normalization_changes_with_depth(study, said):
    rows = analysis.summary(study.runs, study.curves).set_index(["cell", "optimizer"])["score"]
    before, after = rows["deep, norm=none", "adam"], rows["deep, norm=batch", "adam"]
    assert f"batch lifts adam from {number(before)} to {number(after)} (better in 5 of 5 repeats)" in said
    assert "gradient-free search does not escape on deep by itself" in said
    assert "does not escape on shallow" not in said
    assert "(9 layers)" in said


def test_gradient_per_layer(found):
    (line,) = [f.text for f in found if (f.topic, f.panel) == ("gradient", "deep")]
    assert "2.6e-7 without normalization, 1 with batch and 0.0017 with layer" in line


def test_what_escapes_without_normalization_is_said_too():
    study = synthetic_study.study(repeats=3, problems=["deep"])
    ga = (study.runs["optimizer"] == "ga") & (study.runs["problem"] == "deep") & (study.runs["network.norm"] == "none")
    study.curves.loc[
        study.curves["run"].isin(study.runs.loc[ga, "run"]) & (study.curves["evaluations"] > 0),
        "test_accuracy",
    ] = 0.9
    assert "what stops backprop on deep does not stop ga" in _verdict(study)


def test_who_is_ahead_on_each_axis(said):
    where = "On shallow, at equal forward-equivalents and at equal seconds"
    assert f"{where}, adam is ahead with every normalization and without" in said
    assert "ga is ahead without normalization" in said


def test_axes_that_disagree_are_said_apart(toy):
    tables = toy({"a": [[(0, 9.0), (50, 5.0), (100, 1.0)]] * 3, "b": [[(0, 9.0), (50, 3.0), (100, 2.0)]] * 3})
    slow = tables.curves["run"].str.startswith("a")
    tables.curves.loc[slow, "seconds"] *= 10
    said = [f.text for f in analysis.findings(tables.runs, tables.curves) if f.topic == "winner"]
    assert said[0].startswith("On p, at equal forward-equivalents, a is ahead: 1 to 2 of b")
    assert said[1].startswith("On p, at equal seconds, b is ahead: 2 to 9 of a")


def test_five_repeats_cannot_decide(said):
    assert "cannot be decided with 5 paired repeats: at least 6 paired repeats are needed for p < 0.05" in said
    assert "not significant" not in said


def test_eight_repeats_decide_and_no_p_value_stands_alone():
    study = synthetic_study.study(repeats=8, problems=["deep"])
    said = _verdict(study)
    assert "Of 6 comparisons of the one ahead with the next, 6 can be told from chance" in said
    assert "p =" not in said


def test_undecided_leads_are_named(toy):
    mixed = [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.9]
    tables = toy({"a": [[(0, 9.0), (10, 1.0)]] * 8, "b": [[(0, 9.0), (10, 1 + change)] for change in mixed]})
    assert "undecided: b and a on p at equal forward-equivalents with 8 repeats" in "\n".join(
        analysis.verdicts(tables.runs, tables.curves)
    )


def test_cost_of_a_target_in_units_of_the_baseline(toy):
    tables = toy(
        {
            "base": [[(0, 10.0), (10, 5.0), (100, 0.0)]] * 2,
            "slow": [[(0, 10.0), (70, 5.0), (100, 4.0)]] * 2,
            "never": [[(0, 10.0), (100, 9.0)]] * 2,
        }
    )
    (said,) = [f.text for f in analysis.findings(tables.runs, tables.curves, baseline="base") if f.topic == "cost"]
    assert "slow needs 7 times the forward-equivalents and 7 times the seconds of base (2 of 2 runs reach it)" in said
    assert "never never, in 2 runs" in said


def test_of_many_optimizers_the_cheapest_are_named(toy):
    arms = {f"o{cost}": [[(0, 10.0), (cost, 5.0), (100, 0.0)]] * 2 for cost in range(30, 15, -1)}
    tables = toy({"base": [[(0, 10.0), (10, 5.0), (100, 0.0)]] * 2, **arms})
    (said,) = [f.text for f in analysis.findings(tables.runs, tables.curves, baseline="base") if f.topic == "cost"]
    assert [name for name in arms if f"{name} needs" in said] == ["o19", "o18", "o17", "o16"]
    assert said.index("o16") < said.index("o19")
    assert said.endswith("11 more reach it at a higher cost (see the table).")


def test_a_slow_optimizer_has_nothing_to_escape_from_where_backprop_trains():
    study = synthetic_study.study(repeats=2, problems=["shallow"])
    slow = study.runs["kind"] != "adam"
    study.curves.loc[study.curves["run"].isin(study.runs.loc[slow, "run"]), "test_accuracy"] = 0.11
    assert analysis.unaided_gain(study.runs, study.curves).set_index("optimizer").loc["ga", "gain"] < 0.1
    assert "escape" not in _verdict(study)


def test_failed_runs_are_counted(said):
    assert "160 runs: 158 ok, 1 crashed and 1 diverged." in said


def test_equal_results_have_no_winner(toy):
    tables = toy({"a": [[(0, 9.0), (10, 1.0)]] * 3, "b": [[(0, 9.0), (10, 1.0)]] * 3})
    said = "\n".join(analysis.verdicts(tables.runs, tables.curves))
    assert "a and b are level: 1" in said
    assert "ahead:" not in said


def test_a_change_that_is_not_in_every_repeat_is_not_called_a_lift(found):
    said = [f.text for f in found if f.topic == "normalization" and f.panel == "shallow"]
    assert "adam goes from" in said[0]
    assert "lifts adam" not in said[0]


@pytest.mark.parametrize(
    "case", ["no norm", "one of each", "all failed", "infinite", "function", "no diagnostics", "empty"]
)
def test_any_study_has_a_verdict(case):
    study = synthetic_study.study(repeats=3, problems=["deep"])
    if case == "no norm":
        _only(study, study.runs["network.norm"] == "none").diagnostics = None
        study.runs = study.runs.drop(columns="network.norm")
    elif case == "one of each":
        _only(study, study.runs["run"] == "deep-batch-ga-0")
    elif case == "all failed":
        study.runs["status"], study.curves = "crashed", study.curves.iloc[:0]
        study.runs[["loss", "seconds", "test_accuracy"]] = math.nan
    elif case == "infinite":
        study.runs["loss"], study.curves["loss"] = math.inf, math.inf
        drop = [c for c in study.runs.columns if c.startswith(("test_", "validation_"))]
        study.runs, study.curves = study.runs.drop(columns=drop), study.curves.drop(columns=drop)
    elif case == "function":
        keep = ~study.runs.columns.str.startswith(("test_", "validation_", "network"))
        study.runs, study.diagnostics = study.runs.loc[:, keep], pd.DataFrame()
    elif case == "no diagnostics":
        study.diagnostics = study.diagnostics.iloc[:0]
    else:
        study.runs = study.runs.iloc[:0]
    said = _verdict(study)
    expected = {
        "all failed": "no run ended with a usable result",
        "infinite": "no run ended",
        "empty": "no runs yet",
        "one of each": "the only optimizer",
    }
    assert expected.get(case, "is ahead") in said
    assert "nan" not in said.lower()
