"""The shipped study of where gradient-free training pays shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "when_gradient_free_pays.yaml"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "problems.latch.optimizers=[ga, random]",
    "problems.latch.budget={evaluations: 2000}",
    "problems.saturated.optimizers=[ga]",
    "problems.saturated.budget={evaluations: 200}",
    "problems.f1.optimizers=[adam, ga]",
    "problems.tanh.optimizers=[adam, ga]",
]


@pytest.mark.slow
def test_it_pays_where_the_gradient_is_missing_or_of_another_loss(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs = results.runs
    assert set(runs["status"]) == {"ok"}
    loss, accuracy = (runs.groupby(["problem", "optimizer"])[f"test_{m}"].median() for m in ("loss", "accuracy"))
    assert loss["costs"]["ga"] < 0.7 * loss["costs"][["adam", "restarts"]].min(), "it minimizes what is asked for"
    assert abs(loss["f1"]["adam"] - loss["f1"]["ga"]) < 0.08, "a good surrogate leaves nothing to gain"
    assert set(accuracy["step"].index) == {"ga", "pso", "random"}, "nobody who needs a gradient trains a step"
    assert accuracy["step"]["ga"] > 0.85
    assert accuracy["step"]["ga"] > accuracy["step"]["random"] + 0.1
    assert accuracy["tanh"].min() > 0.85
    assert accuracy["latch"].min() > 0.85, "guessing weights solves the latch"
