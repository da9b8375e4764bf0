"""Every contender computes the same losses, so that their times compare."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from gfopt.bench import peers, tasks
from gfopt.bench.evaluation import Way, check_agreement, cpu_ways
from gfopt.bench.options import DIGITS_ROWS
from gfopt.errors import GfoptError

NETWORK, SIZES = "64-5-3-10", (64, 5, 3, 10)


@pytest.fixture
def task():
    problem = tasks.mlp_problem(NETWORK, 32)
    return tasks.task_of(problem, tasks.population_of(problem, 4), SIZES)


def reference(task):
    """Losses in float64 through layers of torch that are filled by hand."""
    losses = []
    for vector in task.population.double():
        layers = [nn.Linear(a, b).double() for a, b in pairwise(SIZES)]
        place = 0
        for layer in layers:
            for parameter in (layer.weight, layer.bias):
                parameter.data = vector[place : place + parameter.numel()].reshape(parameter.shape)
                place += parameter.numel()
        h = task.inputs.double()
        for layer in layers[:-1]:
            h = torch.tanh(layer(h))
        losses.append(nn.functional.cross_entropy(layers[-1](h), task.targets))
    return torch.stack(losses).detach()


@pytest.mark.parametrize(
    "way",
    [
        lambda task: peers.module_loop(task, 4),
        lambda task: peers.deap_lists(task, 4),
        lambda task: peers.hand_vmap(task),
        lambda task: peers.hand_vmap(task, 3),
        lambda task: peers.numpy_loop(task, 4, np.float64),
        lambda task: peers.numpy_loop(task, 4, np.float32),
    ],
    ids=["module", "deap", "vmap", "chunks", "float64", "float32"],
)
def test_a_peer_computes_the_loss(task, way):
    torch.testing.assert_close(way(task)().double(), reference(task), rtol=1e-5, atol=1e-6)


def test_gfopt_begins_with_the_same_rows_and_goes_on_to_others(task):
    problem = tasks.mlp_problem(NETWORK, 32)
    evaluate = tasks.evaluator(problem, task.population)
    torch.testing.assert_close(evaluate().double(), reference(task), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(evaluate().double(), reference(task), rtol=1e-3)


def test_the_rows_are_digits_where_the_network_fits():
    assert tasks.mlp_problem("64-4-10", DIGITS_ROWS).dataset.x_train.shape == (DIGITS_ROWS, 64)
    assert tasks.mlp_problem("64-4-10", DIGITS_ROWS).batch_size is None
    other = tasks.mlp_problem("7-4-3", 20)
    assert other.dataset.x_train.shape == (20, 7)


def test_members_differ_so_that_no_loss_is_computed_once_for_all(task):
    assert len(set(reference(task).tolist())) == 4


def test_nobody_is_timed_who_computes_something_else():
    ways = {"gfopt": Way(lambda: torch.tensor([1.0, 2.0]), 2), "other": Way(lambda: torch.tensor([1.0]), 1)}
    check_agreement(ways)
    ways["wrong"] = Way(lambda: torch.tensor([1.0, 2.1]), 2)
    with pytest.raises(GfoptError, match=r"wrong and gfopt differ by 0\.1"):
        check_agreement(ways)


def test_vmap_is_left_out_where_it_would_not_fit(tiny, monkeypatch):
    assert "vmap" in cpu_ways("64-4-10", 16, 3, tiny)
    monkeypatch.setattr("gfopt.bench.evaluation.available_memory", lambda: 100)
    ways = cpu_ways("64-4-10", 16, 3, tiny)
    assert "vmap" not in ways
    assert ways["module loop"].members == 2
    assert ways["module loop"].note == "timed on 2 members"
    assert ways["gfopt"].members == 3
    assert ways["gfopt"].note == ""
