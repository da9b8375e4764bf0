import math

import numpy as np
import pandas as pd
import pytest

from gfopt import analysis


def test_every_run_is_counted(study):
    table = analysis.summary(study.runs, study.curves, baseline="adam")
    assert table["n"].sum() == len(study.runs) == 160
    assert (table["n"] == table["ok"] + table["diverged"] + table["failed"]).all()
    rows = table.set_index(["cell", "optimizer"])
    assert rows.loc[("deep, norm=none", "pso"), ["n", "ok", "diverged", "failed"]].tolist() == [5, 4, 1, 0]
    assert rows.loc[("shallow, norm=weight", "ga"), ["n", "ok", "diverged", "failed"]].tolist() == [
        5,
        4,
        0,
        1,
    ]


def test_medians_are_over_all_runs_with_failed_ones_worst(study):
    row = analysis.summary(study.runs, study.curves).set_index(["cell", "optimizer"]).loc[("deep, norm=none", "pso")]
    mine = study.runs[
        (study.runs["problem"] == "deep") & (study.runs["network.norm"] == "none") & (study.runs["optimizer"] == "pso")
    ]
    ok = mine.loc[mine["status"] == "ok", "test_accuracy"]
    assert row["score"] == np.median([*ok, 0.0])
    assert row["score_low"] == 0
    assert row["loss_high"] == math.inf


def test_success_and_expected_cost_by_hand(toy):
    tables = toy({"a": [[(0, 9.0), (50, 1.0), (100, 1.0)], [(0, 9.0), (100, 8.0)], [(0, 9.0), (100, 8.0)]]})
    row = analysis.summary(tables.runs, tables.curves, target_spec=[2.0]).iloc[0]
    assert row["successes[target 1]"] == 1
    assert row["success[target 1]"] == pytest.approx(1 / 3)
    assert row["ert_evaluations[target 1]"] == 250


def test_another_optimizers_budget_changes_no_expected_cost(toy):
    small = [[(0, 9.0), (50, 1.0), (100, 1.0)], [(0, 9.0), (100, 8.0)]]
    tables = toy({"small": small, "large": [[(0, 9.0), (400, 8.0)]] * 2})
    table = analysis.summary(tables.runs, tables.curves, target_spec=[2.0]).set_index("optimizer")
    assert table["ert_evaluations[target 1]"].to_dict() == {"small": 150, "large": math.inf}


def test_a_diverged_run_is_charged_until_its_end_and_a_crashed_one_what_it_logged(toy):
    tables = toy({"a": [[(0, 9.0), (10, 1.0)], [(0, 9.0), (30, 8.0)], [(0, 9.0), (7, 8.0)], []]})
    tables.runs.loc[1, "status"] = "diverged"
    tables.runs.loc[[2, 3], "status"] = "crashed"
    tables.runs.loc[[2, 3], ["evaluations", "loss"]] = math.nan
    row = analysis.summary(tables.runs, tables.curves, target_spec=[2.0]).iloc[0]
    assert row["ert_evaluations[target 1]"] == 10 + 30 + 7 + 0
    assert (row["n"], row["diverged"], row["failed"]) == (4, 1, 2)


def test_improvement_on_the_baseline_is_within_the_cell(study):
    table = analysis.summary(study.runs, study.curves, baseline="adam").set_index(["cell", "optimizer"])
    assert table.loc[("deep, norm=batch", "ga"), "improvement"] == 0
    assert table.loc[("deep, norm=none", "ga"), "improvement"] > 0.9
    assert math.isnan(table.loc[("deep, norm=none", "adam"), "improvement"])


def test_order_and_index_of_the_tables_do_not_matter(study):
    table = analysis.summary(study.runs, study.curves, baseline="adam")
    rng = np.random.default_rng(0)
    curves = study.curves.iloc[rng.permutation(len(study.curves))]
    other = analysis.summary(study.runs.set_index(pd.Index(range(900, 1060))), curves, baseline="adam")
    pd.testing.assert_frame_equal(table, other)


def test_the_tables_are_not_changed(study):
    before = study.runs.copy(), study.curves.copy()
    analysis.summary(study.runs, study.curves)
    analysis.verdicts(study.runs, study.curves, study.diagnostics)
    pd.testing.assert_frame_equal(study.runs, before[0])
    pd.testing.assert_frame_equal(study.curves, before[1])


def test_no_runs(study):
    assert analysis.summary(study.runs.iloc[:0], study.curves.iloc[:0]).empty


def test_problems_of_different_kind_have_their_own_metric(toy):
    tables = toy({"a": [[(0, 9.0), (10, 1.0)]] * 2})
    tables.runs["problem"] = ["digits", "sphere"]
    tables.runs["test_accuracy"] = [0.9, math.nan]
    table = analysis.summary(tables.runs, tables.curves)
    assert table["metric"].tolist() == ["test_accuracy", "loss"]
    assert table["score"].tolist() == [0.9, 1.0]
