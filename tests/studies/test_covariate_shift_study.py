"""The shipped study of covariate shift shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "covariate_shift.yaml"


@pytest.mark.slow
def test_weights_help_the_misspecified_model_and_cost_the_well_specified_one(tmp_path):
    changes = ["repeats=2", *(f"problems.{name}.dataset.draw=2" for name in ("misspecified", "well_specified"))]
    results = gfopt.load_study(STUDY, changes).run(tmp_path / "results", workers=2)
    assert set(results.runs["status"]) == {"ok"}
    assert set(results.runs["optimizer"]) == {"adam", "ga", "pso"}
    loss = results.runs.groupby(["problem", "optimizer", "importance.weights"])["test_loss"].median()
    for optimizer in ("adam", "ga", "pso"):
        for weights in ("true", "classifier", "ulsif"):
            wrong, right = loss["misspecified", optimizer], loss["well_specified", optimizer]
            assert wrong[weights] < wrong["none"] / 20, (optimizer, weights)
            assert right[weights] > 1.5 * right["none"], (optimizer, weights)
    sizes = results.runs["effective_sample_size"]
    assert sizes[results.runs["importance.weights"] == "none"].isna().all()
    assert sizes.dropna().between(9, 40).all()
