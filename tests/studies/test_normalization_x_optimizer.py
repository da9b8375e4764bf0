"""The shipped study of every normalization under every optimizer shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "normalization_x_optimizer.yaml"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "budget={evaluations: 2560, steps: 150}",
    "problems.digits.network.norm={grid: [none, batch, cosine, whitening]}",
]


@pytest.mark.slow
def test_who_gains_from_normalization(tmp_path):
    runs = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2).runs
    assert set(runs["status"]) == {"ok"}
    groups = runs.groupby(["optimizer", "network.norm"])
    accuracy, loss = groups["test_accuracy"].median(), groups["loss"].median()
    assert accuracy["adam"].min() > 0.85, "backprop does without"
    for search in ("ga", "pso"):
        assert accuracy[search].max() < accuracy["adam"].min()
        assert loss[search]["batch"] < loss[search][["cosine", "whitening"]].min(), "not every norm suits a search"
        assert loss[search]["none"] < loss[search]["cosine"] - 0.1
    assert (runs["evaluate_seconds"] > 0).all(), "what the price of whitening is read from"
