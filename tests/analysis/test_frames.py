import math

import pandas as pd
import pytest

from gfopt import analysis
from gfopt.analysis.frames import gradient_optimizers, short_names, text, worst
from gfopt.errors import DataError


def test_cells_are_problems_with_their_own_grid_values(study):
    labels = [cell.label for cell, _ in analysis.split_cells(study.runs)]
    assert labels[:2] == ["shallow, norm=none", "shallow, norm=batch"]
    assert len(labels) == 8
    assert {cell.panel for cell, _ in analysis.split_cells(study.runs)} == {"shallow", "deep"}


def test_optimizer_options_and_budgets_do_not_split_cells():
    runs = pd.DataFrame(
        {
            "problem": ["p", "p"],
            "status": "ok",
            "options.learning_rate": [0.1, 0.2],
            "budget.seconds": [1.0, 2.0],
            "dim": 3,
            "network.hidden": ["[8]", "[8]"],
            "batch_size": [16.0, 32.0],
        }
    )
    assert analysis.cell_columns(runs) == ["network.hidden", "batch_size"]
    assert [cell.label for cell, _ in analysis.split_cells(runs)] == [
        "p, hidden=[8], batch_size=16",
        "p, hidden=[8], batch_size=32",
    ]


def test_a_grid_over_the_dimension_splits_cells():
    runs = pd.DataFrame({"problem": ["f", "f"], "status": "ok", "dim": [2, 10]})
    assert [cell.label for cell, _ in analysis.split_cells(runs)] == ["f, dim=2", "f, dim=10"]


def test_options_of_another_problem_are_no_part_of_a_cell():
    runs = pd.DataFrame(
        {
            "problem": ["a", "b"],
            "status": "ok",
            "network.norm": ["batch", None],
            "network.depth": [math.nan, 3.0],
        }
    )
    (a, _), (b, _) = analysis.split_cells(runs)
    assert (a.label, a.norm) == ("a, norm=batch", "batch")
    assert (b.label, b.norm) == ("b, depth=3", None)


def test_ambiguous_short_names_stay_whole():
    assert short_names(["network.norm", "encoder.norm", "x.depth"]) == [
        "network.norm",
        "encoder.norm",
        "depth",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (math.nan, ""), (16.0, "16"), (0.5, "0.5"), ([1, 2], "[1,2]"), (True, "True"), ("a", "a")],
)
def test_grid_values_as_text(value, shown):
    assert text(value) == shown


@pytest.mark.parametrize(
    ("metric", "higher", "bad"),
    [
        ("test_accuracy", True, 0.0),
        ("validation_f1", True, 0.0),
        ("test_r2", True, -math.inf),
        ("loss", False, math.inf),
        ("test_rmse", False, math.inf),
        ("test_f1_error", False, math.inf),
        ("test_roc_auc", True, 0.0),
    ],
)
def test_direction_and_worst_value_of_a_metric(metric, higher, bad):
    assert analysis.higher_is_better(metric) is higher
    assert worst(metric) == bad


@pytest.mark.parametrize(
    ("columns", "metric"),
    [
        (["test_loss", "test_accuracy", "validation_accuracy"], "test_accuracy"),
        (["test_r2", "test_rmse", "test_loss"], "test_rmse"),
        (["validation_accuracy"], "validation_accuracy"),
        (["test_loss"], "test_loss"),
        (["test_my_score", "test_loss"], "test_my_score"),
        ([], "loss"),
    ],
)
def test_headline_metric(columns, metric):
    assert analysis.headline(pd.DataFrame({"loss": [1.0], **{name: [0.5] for name in columns}})) == metric


@pytest.mark.parametrize(
    ("judges", "metric"),
    [(["loss", "loss"], "test_loss"), (["task", "task"], "test_accuracy"), (["loss", None], "test_loss")],
)
def test_a_loss_of_the_studys_own_choice_is_its_headline(judges, metric):
    runs = pd.DataFrame({"loss": [1.0, 2.0], "test_loss": [1.0, 2.0], "test_accuracy": [0.5, 0.6], "judged_by": judges})
    assert analysis.headline(runs) == metric


def test_a_column_that_a_problem_does_not_have_is_not_its_headline():
    runs = pd.DataFrame({"problem": ["a", "f"], "test_accuracy": [0.5, math.nan], "loss": 1.0})
    assert analysis.headline(runs[runs["problem"] == "f"]) == "loss"


def test_a_failed_run_counts_as_the_worst_value_and_is_never_dropped():
    runs = pd.DataFrame(
        {
            "status": ["ok", "diverged", "crashed", "ok"],
            "loss": [1.0, 0.1, math.nan, math.nan],
            "test_accuracy": [0.9, 0.8, math.nan, 0.7],
        }
    )
    assert analysis.final_values(runs, "loss").tolist() == [1.0, math.inf, math.inf, math.inf]
    assert analysis.final_values(runs, "test_accuracy").tolist() == [0.9, 0.0, 0.0, 0.7]
    with pytest.raises(DataError, match="test_accuracy"):
        analysis.final_values(runs, "test_acuracy")


def test_a_crashed_run_of_a_gradient_optimizer_is_still_one():
    runs = pd.DataFrame(
        {
            "optimizer": ["adam[a]", "adam[b]", "ga"],
            "kind": ["adam", "adam", "deap-ga"],
            "backward_samples": [math.nan, 9, 0],
        }
    )
    assert gradient_optimizers(runs) == {"adam[a]", "adam[b]"}


def test_every_key_of_a_problem_may_be_a_grid():
    """A key that is forgotten here would put runs of different problems into one cell."""
    from gfopt.config.models import FunctionConfig, SupervisedConfig

    prefixed = {"loss", "budget", "subspace", "sample_weight"}  # their columns begin with `problem.`
    keys = ({*SupervisedConfig.model_fields} | {*FunctionConfig.model_fields}) - prefixed
    for key in keys:
        runs = pd.DataFrame({"problem": ["p", "p"], "status": "ok", key: ["a", "b"]})
        assert analysis.cell_columns(runs) == [key]
