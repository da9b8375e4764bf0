import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt import analysis
from gfopt.analysis.curves import StepCurve, log_costs, own_end
from gfopt.errors import ConfigError

COST, VALUE = np.array([0.0, 10.0, 100.0]), np.array([5.0, 3.0, 1.0])


def test_steps_hold_the_last_logged_value_and_end_with_the_run():
    curve = StepCurve(COST, VALUE, math.inf)
    assert curve.at(np.array([0.0, 9.9, 10.0, 99.9, 100.0])).tolist() == [5, 5, 3, 3, 1]
    assert np.isnan(curve.at(np.array([100.1])))[0]
    assert curve.first_at_most(3.0) == 10
    assert curve.first_at_most(2.0) == 100
    assert curve.first_at_most(0.5) == math.inf


def test_a_run_that_stopped_by_itself_keeps_its_value_and_a_failed_one_its_worst():
    later = np.array([50.0, 1e6])
    assert StepCurve(COST, VALUE, math.inf, carried=True).at(later).tolist() == [3, 1]
    assert StepCurve(COST, VALUE, math.inf, failed=True).at(later).tolist() == [3, math.inf]
    assert StepCurve(np.empty(0), np.empty(0), 0.0, failed=True).at(later).tolist() == [0, 0]


def test_an_arm_ends_where_its_first_limited_run_ends():
    short = StepCurve(COST[:2], VALUE[:2], math.inf)
    done = StepCurve(COST, VALUE, math.inf, carried=True)
    assert own_end([short, StepCurve(COST, VALUE, math.inf), done]) == 10
    assert own_end([done]) == 100
    assert own_end([]) == 0


def test_curve_table_by_hand(toy):
    tables = toy(
        {
            "a": [
                [(0, 9.0), (1, 6.0), (10, 3.0)],
                [(0, 9.0), (1, 5.0), (10, 4.0)],
                [(0, 9.0), (2, 1.0), (10, 0.5)],
            ]
        }
    )
    table = analysis.curve_table(tables.runs, tables.curves, "evaluations")
    assert table["cost"].tolist() == [1, 2, 10]
    assert table["median"].tolist() == [6, 5, 3]
    assert set(table["n"]) == {3}
    assert (table["low"] <= table["median"]).all()
    assert (table["median"] <= table["high"]).all()


def test_no_median_over_survivors(toy):
    # the second run stops at 10: beyond, the best run alone would look like the arm
    tables = toy({"a": [[(0, 9.0), (1, 6.0), (100, 0.0)], [(0, 9.0), (1, 8.0), (10, 7.0)]]})
    table = analysis.curve_table(tables.runs, tables.curves, "evaluations")
    assert table["cost"].max() == 10
    assert table["median"].iloc[-1] == 6.5


def test_a_diverged_run_stays_in_the_median_as_infinity(toy):
    tables = toy(
        {
            "a": [
                [(0, 9.0), (1, 5.0), (100, 1.0)],
                [(0, 9.0), (1, 5.0), (10, 4.0)],
                [(0, 9.0), (1, 5.0), (10, 4.0)],
            ]
        }
    )
    tables.runs.loc[[1, 2], "status"] = "diverged"
    table = analysis.curve_table(tables.runs, tables.curves, "evaluations").set_index("cost")
    assert table.loc[1, "median"] == 5
    assert table.loc[100, "median"] == math.inf
    assert table["failed"].tolist() == [2, 2, 2]


def test_a_crashed_run_that_logged_nothing_counts(toy):
    tables = toy({"a": [[(0, 9.0), (10, 1.0)], []]})
    tables.runs.loc[1, "status"] = "crashed"
    table = analysis.curve_table(tables.runs, tables.curves, "evaluations")
    assert table["n"].tolist() == [2]
    assert table["median"].tolist() == [math.inf]


def test_end_of_the_curve_is_the_number_of_the_table(study):
    summary = analysis.summary(study.runs, study.curves).set_index(["cell", "optimizer"])
    for metric, column in (("test_accuracy", "score"), ("loss", "loss")):
        table = analysis.curve_table(study.runs, study.curves, "forward_equivalents", metric)
        last = table.groupby(["cell", "optimizer"], sort=False).last()
        for name, end in (("median", column), ("low", f"{column}_low"), ("high", f"{column}_high")):
            assert last[name].to_dict() == pytest.approx(summary[end].to_dict())


def test_optimizers_of_another_budget_do_not_change_a_curve(toy):
    arm = [[(0, 9.0), (1, 6.0), (10, 3.0)], [(0, 9.0), (1, 5.0), (10, 4.0)]]
    alone = toy({"a": arm})
    both = toy({"a": arm, "b": [[(0, 9.0), (5, 1.0), (1000, 0.1)]] * 2})
    table = analysis.curve_table(both.runs, both.curves, "evaluations")
    mine = table[table["optimizer"] == "a"].reset_index(drop=True)
    assert mine.equals(analysis.curve_table(alone.runs, alone.curves, "evaluations"))


def test_many_different_costs_are_drawn_at_log_spaced_ones(study):
    table = analysis.curve_table(study.runs, study.curves, "seconds", points=8)
    rows = table[(table["cell"] == "deep, norm=none") & (table["optimizer"] == "ga")]
    ratio = rows["cost"].to_numpy()[1:] / rows["cost"].to_numpy()[:-1]
    assert len(rows) == 8
    assert ratio == pytest.approx(np.full(7, ratio[0]))


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e9), st.integers(2, 60))
@settings(max_examples=40)
def test_log_costs_never_leave_the_range(low, high, points):
    grid = log_costs(low, high, points)
    assert grid[-1] == high
    assert (grid >= min(low, high)).all()
    assert (grid <= high).all()


def test_scores_that_were_not_logged_hold_the_value_before(toy):
    tables = toy({"a": [[(0, 9.0), (1, 6.0), (10, 3.0)]]})
    tables.curves["test_accuracy"] = [0.1, math.nan, 0.5]
    table = analysis.curve_table(tables.runs, tables.curves, "evaluations", "test_accuracy")
    assert table["median"].iloc[-1] == 0.5


def test_unknown_axis_or_metric_names_the_nearest(study):
    with pytest.raises(ConfigError, match="Did you mean 'evaluations'"):
        analysis.curve_table(study.runs, study.curves, "evaluation")
    with pytest.raises(ConfigError, match="Did you mean 'test_accuracy'"):
        analysis.curve_table(study.runs, study.curves, "seconds", "test_acuracy")


def test_no_runs_no_rows(study):
    assert analysis.curve_table(study.runs.iloc[:0], study.curves).empty
