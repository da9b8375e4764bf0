"""The shipped study of training a deep sigmoid network without gradients shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gfopt
from gfopt.diagnostics import search_blindness

STUDY = Path(__file__).parents[2] / "configs" / "gradient_free_deep_sigmoid.yaml"
LAYER_THEN_BATCH = "[layer, layer, layer, layer, layer, layer, layer, batch]"
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=2",
    "problems.deep.optimizers=[adam, ga, pso]",
    "budget={evaluations: 3840, steps: 500}",
    f"problems.deep.network.norm={{grid: [none, batch, layer, {LAYER_THEN_BATCH}]}}",
]


def problem(norm: str) -> gfopt.SupervisedProblem:
    """The study's problem with one norm."""
    config = gfopt.load_study(STUDY).config.problems["deep"]
    return gfopt.SupervisedProblem({**config["network"], "norm": norm}, "digits", batch_size=config["batch_size"])


def contrast(norm: str, seed: int) -> float:
    """How much samples differ from each other against how much units do, in the last hidden layer's output."""
    trained = problem(norm)
    module, inputs, _ = trained.training_view(trained.initial(1, seed)[0], seed=seed)
    seen: list[Tensor] = []

    def look(_activation: nn.Module, _args: object, output: Tensor) -> None:
        seen.append(output.detach().double())

    with torch.no_grad():
        module.activations[-1].register_forward_hook(look)
        module(inputs)
    return float(seen[0].var(0).mean() / seen[0].mean(0).var())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_but_batch_normalization_lose_the_samples_on_the_way_up(seed):
    """The forward side: each sample's own share of the signal dies out, and no statistic of a sample brings it back."""
    assert contrast("none", seed) < 1e-8
    assert contrast("weight", seed) < 1e-6
    assert contrast("layer", seed) < 1e-4
    assert contrast("batch", seed) > 1


@pytest.mark.parametrize("seed", [0, 1])
def test_selection_is_blind_to_the_first_layer_where_backprop_gets_no_gradient(seed):
    """The backward side: ties in float32 without normalization, a spread of a thousandth with layer normalization."""
    first = {}
    for norm in ("none", "batch", "layer"):
        trained = problem(norm)
        first[norm] = search_blindness(trained, trained.initial(1, seed)[0], seed=seed)[0]
    assert first["none"].tie_share > 0.8
    assert first["batch"].tie_share < 0.1
    assert first["none"].relative_spread < first["layer"].relative_spread < 1e-2 < first["batch"].relative_spread


@pytest.mark.slow
def test_only_batch_normalization_lets_the_searches_out(tmp_path):
    runs = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2).runs
    assert set(runs["status"]) == {"ok"}
    arm = runs["network.norm"].where(~runs["network.norm"].str.startswith("["), "layer, batch in the last")
    accuracy = runs.groupby(["optimizer", arm])["test_accuracy"].median()
    assert accuracy["adam"]["batch"] > 0.9
    assert accuracy["adam"]["layer"] > 0.4, "layer normalization helps backprop"
    for search in ("ga", "pso"):
        assert accuracy[search]["layer"] < 0.15, "and leaves the searches at chance"
        assert accuracy[search]["batch"] > accuracy[search]["layer"] + 0.05
        assert accuracy[search]["batch"] < accuracy["adam"]["batch"] - 0.2, "which stay far behind backprop"
    assert accuracy["ga"]["layer, batch in the last"] > accuracy["ga"]["layer"] + 0.05, "the samples' contrast was lost"
