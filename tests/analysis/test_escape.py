import pandas as pd
import pytest

from gfopt import analysis


def test_gain_is_the_share_of_the_panels_best_improvement(toy):
    plain = toy({"adam": [[(0, 10.0), (5, 9.0)]], "ga": [[(0, 10.0), (5, 4.0)]], "pso": [[(0, 10.0), (5, 12.0)]]})
    normed = toy({"adam": [[(0, 10.0), (5, 2.0)]]})
    runs = pd.concat(
        [
            plain.runs.assign(**{"network.norm": "none"}),
            normed.runs.assign(run="n", **{"network.norm": "batch"}),
        ],
        ignore_index=True,
    )
    curves = pd.concat([plain.curves, normed.curves.assign(run="n")], ignore_index=True)
    table = analysis.unaided_gain(runs, curves).set_index("optimizer")
    assert table["gain"].to_dict() == pytest.approx({"adam": 1 / 8, "ga": 6 / 8, "pso": 0})
    assert set(table["best"]) == {"adam"}
    assert set(table["best_norm"]) == {"batch"}


def test_deep_stalls_for_all_and_shallow_for_random_search_alone(study):
    table = analysis.unaided_gain(study.runs, study.curves).set_index(["panel", "optimizer"])["gain"]
    assert table["deep"].max() < 0.2
    assert table["shallow"].drop("random").min() > 0.7


def test_nothing_to_say_without_norms_or_without_improvement(toy, study):
    assert analysis.unaided_gain(study.runs.drop(columns="network.norm"), study.curves).empty
    worse = toy({"a": [[(0, 1.0), (5, 2.0)]]}, **{"network.norm": "none"})
    assert analysis.unaided_gain(worse.runs, worse.curves).empty
    assert analysis.unaided_gain(worse.runs.iloc[:0], worse.curves).empty
