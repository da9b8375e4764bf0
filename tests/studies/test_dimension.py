"""The shipped study of dimension shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "dimension.yaml"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "budget={forward_equivalents: 4.0e5}",
    "problems.subspace.subspace.dim={grid: [5, 500]}",
]


@pytest.mark.slow
def test_the_gap_to_backprop_grows_with_the_dimension(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs = results.runs
    assert set(runs["status"]) == {"ok"}
    loss = runs.groupby(["optimizer", "dim"])["loss"].median()
    full = runs["dim"].max()
    assert set(runs["dim"]) == {5, 500, full}
    for optimizer in ("ga", "pso"):
        gap = loss[optimizer] / loss["adam"]
        assert gap[5] < 1.1, optimizer
        assert gap[500] > 4, optimizer
        assert gap[full] > 3 * gap[500], optimizer
        assert loss[optimizer][full] < loss[optimizer][5] - 0.5, "more dimensions give everyone a better network"
        accuracy = runs[runs["optimizer"] == optimizer].groupby("dim")["test_accuracy"].median()
        assert accuracy[full] < runs[runs["optimizer"] == "adam"].groupby("dim")["test_accuracy"].median()[full] - 0.05
