"""The shipped study of batch size shows what its first lines promise, and they count memory correctly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import gfopt

STUDY = Path(__file__).parents[2] / "configs" / "batch_size_and_batchnorm.yaml"
WIDTH = 32
CHANGES = [
    "seed=1",  # another split and other starts than the numbers in the file
    "repeats=1",
    *(f"problems.{name}.batch_size={{grid: [8, 128]}}" for name in ("shuffled", "sorted")),
]


def problem(norm: str, rows: int = 32) -> gfopt.SupervisedProblem:
    """The study's problem with one norm and one batch size."""
    config = gfopt.load_study(STUDY).config.problems["shuffled"]
    assert config["network"]["hidden"] == [WIDTH]
    return gfopt.SupervisedProblem({**config["network"], "norm": norm}, "digits", batch_size=rows)


def floats_kept_for_backward(norm: str, rows: int) -> int:
    """Numbers that autograd holds after a training step's forward pass, beside the parameters and the inputs."""
    trained = problem(norm, rows)
    module, inputs, _ = trained.training_view(trained.initial(1, 0)[0])
    own = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers(), inputs)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(inputs)
    return sum(tensor.numel() for tensor in kept.values())


@pytest.mark.parametrize("rows", [8, 32, 128])
def test_what_a_norm_keeps_for_backward(rows):
    """Copies of the layer's `(rows, 32)` output, and two statistics of each unit, or of each row for a layer norm."""
    copy = rows * WIDTH
    assert floats_kept_for_backward("none", rows) == copy
    assert floats_kept_for_backward("batch", rows) == 2 * copy + 2 * WIDTH
    assert floats_kept_for_backward("layer", rows) == 3 * copy + 2 * rows


@pytest.mark.parametrize(("norm", "count"), [("none", 0), ("batch", 2 * WIDTH), ("layer", 0)])
def test_a_finished_network_stores_two_statistics_a_unit(norm, count):
    trained = problem(norm)
    module = trained.module(trained.initial(1, 0)[0])
    assert sum(buffer.numel() for buffer in module.buffers() if buffer.is_floating_point()) == count


def test_training_without_gradients_keeps_nothing_for_backward():
    with torch.no_grad():
        assert floats_kept_for_backward("batch", 128) == 0


@pytest.mark.slow
def test_batches_of_one_class_ruin_batch_normalization_alone(tmp_path):
    results = gfopt.load_study(STUDY, CHANGES).run(tmp_path / "results", workers=2)
    runs = results.runs
    assert set(runs["status"]) == {"ok"}
    accuracy = runs.groupby(["problem", "optimizer", "batch_size", "network.norm"])["test_accuracy"].median()
    for rows in (8, 128):
        shuffled, ordered = (accuracy[name, "adam", rows] for name in ("shuffled", "sorted"))
        assert shuffled.min() > 0.9, "in mixed batches all do well"
        assert ordered["batch"] < ordered[["none", "layer"]].min() - 0.08, rows
    assert accuracy["sorted", "adam", 8]["batch"] < 0.5
    assert accuracy["sorted", "adam", 128][["none", "layer"]].min() > 0.85
    search = accuracy["sorted", "ga", 128]
    assert search["batch"] < search[["none", "layer"]].min() - 0.08
    assert accuracy["shuffled", "ga", 128]["batch"] > search["batch"] + 0.2
