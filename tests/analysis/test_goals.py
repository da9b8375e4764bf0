import math

import pytest

from gfopt import analysis
from gfopt.errors import ConfigError


def test_targets_are_shares_of_the_baselines_median_improvement(toy):
    tables = toy(
        {
            "base": [[(0, 10.0), (5, 2.0)], [(0, 10.0), (5, 0.0)], [(0, 10.0), (5, 1.0)]],
            "other": [[(0, 50.0), (5, 40.0)]],
        }
    )
    found = analysis.targets(tables.runs, tables.curves, "base", fractions=(0.5, 0.9))
    assert found["target"].tolist() == pytest.approx([5.5, 1.9])
    assert found["label"].tolist() == ["50 %", "90 %"]


def test_other_optimizers_do_not_move_the_targets(toy):
    arms = {"base": [[(0, 10.0), (5, 1.0)]]}
    alone = toy(arms)
    both = toy({**arms, "other": [[(0, 9.0), (5, 0.0)]]})
    one = analysis.targets(alone.runs, alone.curves, "base")["target"]
    assert one.equals(analysis.targets(both.runs, both.curves, "base")["target"])


def test_one_set_for_all_cells_of_a_problem_from_the_baselines_best_cell(study):
    found = analysis.targets(study.runs, study.curves, "adam")
    assert found.groupby("problem").size().to_dict() == {"shallow": 3, "deep": 3}
    assert set(found.loc[found["problem"] == "deep", "cell"]) == {"deep, norm=batch"}


def test_a_name_for_several_is_settled_on_validation_data_not_on_test_data(study):
    runs = study.runs.copy()
    mine = runs["optimizer"].isin(["ga", "pso"])
    runs.loc[mine, "base"] = "evolution"
    runs.loc[runs["optimizer"] == "pso", ["validation_loss", "test_accuracy"]] = [0.001, 0.01]
    chosen = analysis.choose_baseline(runs, "evolution")["shallow"]
    assert (chosen.optimizer, chosen.among) == ("pso", 2)
    assert str(chosen) == "pso, chosen on validation data among 2"


def test_without_validation_data_the_label_says_so(study):
    runs = study.runs.assign(base="any").drop(columns=["validation_loss", "validation_accuracy"])
    assert "training loss" in str(analysis.choose_baseline(runs, "any")["shallow"])


def test_the_first_optimizer_is_the_baseline_where_none_is_declared(study):
    assert analysis.baseline_name(study.runs) == "adam"


def test_a_baseline_without_runs_gives_no_targets_and_the_verdict_says_so(study):
    deep = study.runs[study.runs["problem"] == "deep"]
    assert analysis.targets(deep, study.curves, "adm").empty
    said = analysis.verdicts(deep, study.curves, baseline="adm")
    assert "The baseline adm has no runs, so there are no targets. Did you mean 'adam'?" in said


def test_a_baseline_that_failed_gives_no_targets(toy):
    tables = toy({"base": [[(0, 10.0), (5, 1.0)]] * 3, "other": [[(0, 10.0), (5, 1.0)]]})
    tables.runs.loc[[0, 1], "status"] = "diverged"
    assert analysis.targets(tables.runs, tables.curves, "base").empty


def test_a_start_without_finite_loss_uses_the_first_finite_one(toy):
    tables = toy({"base": [[(0, math.inf), (1, 8.0), (5, 0.0)]]})
    assert analysis.targets(tables.runs, tables.curves, "base", fractions=(0.5,))["target"].tolist() == [4.0]


def test_declared_targets(study):
    found = analysis.targets(study.runs, study.curves, "adam", {"deep": [0.5, 1.0]})
    assert found[["problem", "label", "target"]].to_numpy().tolist() == [
        ["deep", "target 1", 1.0],
        ["deep", "target 2", 0.5],
    ]
    assert len(analysis.targets(study.runs, study.curves, "adam", [0.3])) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [("easy", "auto"), ({"dep": [1.0]}, "Did you mean 'deep'"), ([math.nan], "finite"), (["a"], "finite")],
)
def test_wrong_targets(study, spec, message):
    with pytest.raises(ConfigError, match=message):
        analysis.targets(study.runs, study.curves, "adam", spec)
