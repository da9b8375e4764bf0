"""The shipped study of long time lags shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "long_lag.yaml"
CHANGES = [
    "seed=1",  # other sequences, another split and other starts than the numbers in the file
    "repeats=2",
    "problems.latch_rnn.dataset.length=50",
    "problems.latch_lstm.dataset.length=50",
    "problems.latch_lstm.optimizers=[adam, ga]",
    "problems.latch_gru.optimizers=[adam]",
    "problems.latch_gru.dataset.length=10",
    "problems.adding_lstm.optimizers=[adam]",
    "problems.adding_lstm.dataset.length=10",
    "problems.adding_lstm.budget={steps: 20}",
]


@pytest.mark.slow
def test_guessing_solves_the_latch_and_a_forget_gate_must_start_open(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs = results.runs
    assert set(runs["status"]) == {"ok"}
    accuracy = runs.groupby(["problem", "optimizer"])["test_accuracy"].median()
    assert accuracy["latch_rnn"]["random"] > 0.85, "guessing weights is enough"
    assert accuracy["latch_rnn"]["ga"] > 0.85
    assert accuracy["latch_gru"]["adam"] > 0.85, "ten steps are no long lag"
    lstm = runs[runs["problem"] == "latch_lstm"]
    forget = lstm.groupby(["optimizer", "network.forget_bias"])["test_accuracy"].median()
    assert forget["ga", 0] < forget["ga", 3] - 0.1, "a search needs an open gate as well"
    assert forget["adam", 0] < 0.85
