"""The shipped study of learning rates and weight scales shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "learning_rate_and_weight_scale.yaml"
SMALL, LARGE = "small", "large"
NORMS = ["batch", "layer", "weight"]
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "budget.steps=150",
    "problems.digits.network.init={grid: [{kind: normal, scale: 0.05}, {kind: normal, scale: 1.0}]}",
    "optimizers.sgd.learning_rate={grid: [0.1, 10.0]}",
]


@pytest.mark.slow
def test_normalized_networks_tolerate_large_weights_and_not_large_steps(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs, rows = results.runs, results.diagnostics
    assert set(runs["status"]) <= {"ok", "diverged"}
    for table in (runs, rows):
        table["size"] = table["network.init"].map(lambda text: LARGE if '"scale":1.0' in text else SMALL)

    gap = runs["test_loss"] - runs["loss"]
    cells = ["options.learning_rate", "size", "network.norm"]
    gap, accuracy = gap.groupby([runs[c] for c in cells]).median(), runs.groupby(cells)["test_accuracy"].median()
    large = accuracy[0.1, LARGE]
    assert large[NORMS].min() > large["none"] + 0.03
    assert gap[0.1, LARGE]["none"] > 2 * gap[0.1, LARGE][NORMS].max()
    assert accuracy[0.1, SMALL].min() > 0.9, "with small weights there is nothing to tolerate"
    assert accuracy[10.0].max() < 0.75, "a rate of 10 is too much for all"

    first = rows[(rows["layer"] == 1) & (rows["step"] == 0)]
    start = first.groupby(["quantity", "network.norm", "size"])["value"].median()
    ratio = start["weight_gradient_norm"] / start["gradient_norm"]
    for norm in NORMS:
        assert 12 < ratio[norm, SMALL] / ratio[norm, LARGE] < 30, f"{norm}: 1/lambda of a factor 20"
    assert ratio["none", SMALL] / ratio["none", LARGE] < 4

    turned = rows[(rows["quantity"] == "effective_angle") & (rows["layer"] == 1) & rows["step"].between(1, 5)]
    angle = turned[turned["optimizer"] == "sgd[learning_rate=0.1]"].groupby(["network.norm", "size"])["value"].median()
    for norm in NORMS:
        assert angle[norm, SMALL] > 5 * angle[norm, LARGE], f"{norm}: large weights turn slowly"
