"""The shipped study of unlike units shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "feature_units.yaml"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "problems.linear.network.input_norm={grid: [layer, batch]}",
    "problems.hidden.dataset.scale=false",
    "problems.hidden.network.norm={grid: [none, batch, cosine]}",
]


@pytest.mark.slow
def test_norms_over_a_sample_need_features_in_like_units(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs = results.runs
    assert set(runs["status"]) == {"ok"}
    linear, hidden = (runs[runs["problem"] == name] for name in ("linear", "hidden"))
    accuracy = linear.groupby(["optimizer", "network.input_norm", "dataset.scale"])["test_accuracy"].median()
    for optimizer in ("adam", "ga"):
        mixed, standardised = accuracy[optimizer, "layer"][False], accuracy[optimizer, "layer"][True]
        assert mixed < 0.8 < standardised, optimizer
        assert standardised - mixed > 0.15, optimizer
        assert abs(accuracy[optimizer, "batch"][False] - accuracy[optimizer, "batch"][True]) < 0.03, optimizer
    raw = hidden.groupby(["optimizer", "network.norm"])["test_accuracy"].median()
    for optimizer in ("adam", "ga"):
        assert raw[optimizer, "batch"] > raw[optimizer, "cosine"] + 0.08, optimizer
        assert raw[optimizer, "batch"] > raw[optimizer, "none"] + 0.08, "raw inputs saturate the tanh"
