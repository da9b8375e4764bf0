"""The shipped study of depth shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "vanishing_depth.yaml"
DEEP = "[16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16]"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    f"problems.digits.network.hidden={DEEP}",
    "problems.digits.network.init=torch",
    "problems.digits.optimizers=[adam]",
    "problems.digits.network.activation={grid: [sigmoid, tanh]}",
]
CELL = ["network.activation", "network.norm"]


@pytest.mark.slow
def test_batch_normalization_carries_the_signal_and_the_others_need_a_centred_activation(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs = results.runs
    assert set(runs["status"]) == {"ok"}
    start = results.diagnostics.query("step == 0")

    gain = start.query("quantity == 'backward_gain'").groupby(CELL)["value"].median()
    sigmoid, tanh = gain["sigmoid"], gain["tanh"]
    assert sigmoid["none"] < sigmoid["weight"] < sigmoid["layer"] < sigmoid["batch"]
    assert sigmoid[["none", "cosine"]].max() < 0.2
    assert sigmoid["batch"] > 0.75
    assert tanh["none"] < 0.75
    assert tanh[["batch", "layer", "weight", "cosine"]].min() > 0.75

    first = start.query("layer == 1 and quantity == 'relative_spread'").groupby(CELL)["value"].median()
    assert first["sigmoid", "none"] < 1e-4, "a search is blind where the gradient vanishes"
    assert first["sigmoid", "batch"] > 0.05
    assert first["tanh", "batch"] > 0.05

    adam = runs.groupby(CELL)["test_accuracy"].median()
    assert adam["sigmoid", "none"] < 0.3
    assert adam["sigmoid", "batch"] > adam["sigmoid"].drop("batch").max() + 0.1
    assert adam["tanh", "batch"] > adam["tanh", "none"]
