import math

import pandas as pd
import pytest

from gfopt import analysis


def _arm(final: float, end: float, repeats: int = 6) -> list[list[tuple[float, float]]]:
    return [[(0, 9.0), (end / 2, final + 2 + 0.01 * k), (end, final + 0.01 * k)] for k in range(repeats)]


def test_unequal_budgets_are_compared_at_the_smaller(toy):
    # at its own end the slow arm is better, at equal cost it is not
    tables = toy({"slow": _arm(0.1, 1000), "fast": _arm(1.0, 100)})
    row = analysis.winners(tables.runs, tables.curves, ["evaluations"]).iloc[0]
    assert (row["cost"], row["optimizer"], row["next"]) == (100, "fast", "slow")


def test_the_step_that_crosses_the_declared_budget_counts_as_within_it(toy):
    columns = {"budget.evaluations": 100.0}
    tables = toy({"a": _arm(1.0, 100), "b": _arm(0.5, 103)}, **columns)
    row = analysis.winners(tables.runs, tables.curves, ["evaluations"]).iloc[0]
    assert (row["cost"], row["optimizer"], row["value"]) == (100, "b", pytest.approx(0.525))


def test_five_repeats_are_undecidable_and_six_decide(toy):
    for repeats, decision in ((5, "undecidable"), (6, "decided")):
        tables = toy({"a": _arm(0.1, 100, repeats), "b": _arm(1.0, 100, repeats)})
        row = analysis.winners(tables.runs, tables.curves, ["evaluations"]).iloc[0]
        assert (row["decision"], row["wins"], row["n"]) == (decision, repeats, repeats)


def test_more_comparisons_need_more_repeats(toy):
    tables = toy({"a": _arm(0.1, 100), "b": _arm(1.0, 100)})
    runs, curves = tables.runs, tables.curves
    other = runs.assign(problem="q", run=runs["run"] + "q"), curves.assign(run=curves["run"] + "q")
    table = analysis.winners(pd.concat([runs, other[0]]), pd.concat([curves, other[1]]), ["evaluations"])
    assert table["decision"].tolist() == ["undecidable"] * 2
    assert table["needed"].tolist() == [7, 7]
    assert table["p"].tolist() == [0.0625, 0.0625]


def test_a_mixed_outcome_is_undecided(toy):
    mixed = [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.9]
    arms = {"a": [[(0, 9.0), (10, 1.0)]] * 8, "b": [[(0, 9.0), (10, 1 + change)] for change in mixed]}
    tables = toy(arms)
    assert analysis.winners(tables.runs, tables.curves, ["evaluations"])["decision"].tolist() == ["undecided"]


def test_an_optimizer_that_stopped_by_itself_keeps_its_value(toy):
    tables = toy({"done": _arm(0.5, 10), "a": _arm(1.0, 100)})
    tables.runs.loc[tables.runs["optimizer"] == "done", "stop_reason"] = "self_stopped"
    row = analysis.winners(tables.runs, tables.curves, ["evaluations"]).iloc[0]
    assert (row["cost"], row["optimizer"]) == (100, "done")


def test_a_failed_arm_loses_and_does_not_shorten_the_comparison(toy):
    tables = toy({"bad": _arm(0.0, 10), "a": _arm(1.0, 100)})
    tables.runs.loc[tables.runs["optimizer"] == "bad", "status"] = "diverged"
    row = analysis.winners(tables.runs, tables.curves, ["evaluations"]).iloc[0]
    assert (row["cost"], row["optimizer"], row["next_value"], row["wins"]) == (100, "a", math.inf, 6)


def test_nothing_usable_and_nothing_to_compare(toy):
    tables = toy({"a": _arm(1.0, 10)})
    assert analysis.winners(tables.runs, tables.curves)["decision"].tolist() == ["alone", "alone"]
    tables.runs["status"] = "killed"
    assert analysis.winners(tables.runs, tables.curves)["decision"].tolist() == ["none", "none"]
    assert analysis.winners(tables.runs.iloc[:0], tables.curves).empty


def test_held_out_score_is_compared_at_equal_cost(study):
    table = analysis.winners(study.runs, study.curves).set_index(["axis", "cell"])
    assert set(table["metric"]) == {"test_accuracy"}
    assert table.loc[("forward_equivalents", "deep, norm=none"), "optimizer"] == "ga"
    assert table.loc[("seconds", "deep, norm=batch"), "optimizer"] == "adam"
    assert table.loc[("seconds", "deep, norm=batch"), "cost"] == pytest.approx(2.0)
