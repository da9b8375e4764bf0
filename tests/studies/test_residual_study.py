"""The shipped study of residual networks shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt
from gfopt.diagnostics import search_blindness

STUDY = Path(__file__).parents[2] / "configs" / "residual.yaml"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "problems.digits.network.activation=sigmoid",
    "budget={steps: 150, evaluations: 3000}",
]


@pytest.mark.slow
def test_a_skip_outside_the_activation_keeps_the_signal_and_one_inside_does_not(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs = results.runs
    assert set(runs["status"]) == {"ok"}
    accuracy = runs.groupby(["optimizer", "network.norm", "network.block"])["test_accuracy"].median()
    backprop, search = accuracy["adam"], accuracy["ga"]
    assert backprop["none", "plain"] < 0.3
    assert backprop["none", "post-activation"] < 0.3
    assert backprop["none", "pre-activation"] > 0.7
    assert backprop["batch"].min() > 0.7
    for norm in ("none", "batch"):
        assert search[norm, "pre-activation"] > search[norm, "plain"] + 0.15, norm
        assert search[norm, "pre-activation"] < backprop[norm, "pre-activation"] - 0.1, norm


def first_layer_losses(block: str, norm: str) -> int:
    """How many different losses 64 mutations of the first layer have."""
    config = gfopt.load_study(STUDY).config.problems["digits"]
    network = {**config["network"], "block": block, "activation": "sigmoid", "norm": norm}
    problem = gfopt.SupervisedProblem(network, "digits", batch_size=config["batch_size"])
    return search_blindness(problem, problem.initial(1, 0)[0], perturbations=64)[0].distinct


@pytest.mark.slow
def test_mutations_of_the_first_layer_show_where_the_signal_passes():
    assert first_layer_losses("plain", "none") <= 4
    assert first_layer_losses("post-activation", "none") <= 4
    assert first_layer_losses("plain", "batch") >= 60
    assert first_layer_losses("pre-activation", "none") >= 60
