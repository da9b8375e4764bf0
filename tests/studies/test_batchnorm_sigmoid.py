"""The shipped study after Ioffe & Szegedy 2015, section 4.1, shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "batchnorm_sigmoid.yaml"
CHANGES = ["seed=1", "repeats=2", "budget.steps=800"]  # another split and other starts than the numbers in the file


@pytest.mark.slow
def test_batch_normalization_trains_a_sigmoid_network_faster_and_further(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    assert set(results.runs["status"]) == {"ok"}

    curves = results.curves
    early = curves[curves["steps"] <= 100].groupby("network.norm")["test_accuracy"].max()
    assert early["none"] < 0.3, "still near chance, in all repeats"
    assert early["batch"] > 0.9

    end = results.runs.groupby("network.norm")[["loss", "test_accuracy"]].median()
    assert end.loc["batch", "loss"] < end.loc["none", "loss"] / 3
    assert end.loc["batch", "test_accuracy"] > end.loc["none", "test_accuracy"]

    first = results.diagnostics.query("step == 0 and layer == 1 and quantity == 'gradient_norm'")
    signal = first.groupby("network.norm")["value"].median()
    assert signal["batch"] > 20 * signal["none"]
