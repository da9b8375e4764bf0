"""The shipped study of internal covariate shift shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "internal_covariate_shift.yaml"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "budget.steps=300",
    "problems.digits.network.norm={grid: [none, batch]}",
]
CELL = ["optimizer", "network.activation", "network.norm"]


@pytest.mark.slow
def test_batch_normalization_does_not_reduce_the_shift_and_keeps_units_out_of_saturation(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    assert set(results.runs["status"]) == {"ok"}
    rows = results.diagnostics

    # Layers 2 to 4: the first has none below it. Early in training: the gradients are not yet small there.
    early = rows[(rows["layer"] > 1) & rows["step"].between(1, 30)]
    relative = early[early["quantity"] == "ics_relative"].groupby(CELL)["value"].median()
    cosine = early[early["quantity"] == "ics_cosine"].groupby(CELL)["value"].median()
    assert relative["sgd", "tanh", "batch"] > 2 * relative["sgd", "tanh", "none"]
    assert cosine["sgd", "tanh", "batch"] < cosine["sgd", "tanh", "none"]
    assert relative["sgd", "sigmoid", "batch"] > 2 * relative["sgd", "sigmoid", "none"]

    last = rows.groupby("run")["step"].transform("max")
    saturated = rows[(rows["quantity"] == "saturation_fraction") & (rows["step"] == last)]
    share = saturated.groupby(CELL)["value"].mean()
    start = rows[(rows["quantity"] == "saturation_fraction") & (rows["step"] == 0)]["value"]
    assert start.max() < 0.05, "next to nothing is saturated before training"
    for activation, least in (("sigmoid", 0.1), ("tanh", 0.05)):
        assert share["adam", activation, "none"] > least, "training drifts into saturation"
        assert share["adam", activation, "batch"] < share["adam", activation, "none"] / 4
