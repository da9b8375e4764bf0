"""Torch's weight and spectral normalization of a user's layers in a population."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import cached

import gfopt
from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.batchable import batchable
from gfopt.nn import ParameterLayout


class Network(nn.Module):
    def __init__(self, normalized):
        super().__init__()
        self.hidden = normalized(nn.Linear(5, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(x)))


class Recurrent(nn.Module):
    def __init__(self, normalized):
        super().__init__()
        self.layer = normalized(nn.GRU(1, 4, batch_first=True), name="weight_hh_l0")
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.layer(x.unsqueeze(-1))[0][:, -1])


NETWORKS = {
    "weight": lambda: Network(weight_norm),
    "weight, one length": lambda: Network(lambda layer: weight_norm(layer, dim=None)),
    "weight, columns": lambda: Network(lambda layer: weight_norm(layer, dim=1)),
    "spectral": lambda: Network(spectral_norm),
    "spectral, more iterations": lambda: Network(lambda layer: spectral_norm(layer, n_power_iterations=4)),
    "spectral, of columns": lambda: Network(lambda layer: spectral_norm(layer, dim=1)),
    "spectral, of a vector": lambda: Network(lambda layer: spectral_norm(layer, name="bias")),
    "recurrent weight": lambda: Recurrent(weight_norm),
    "recurrent spectral": lambda: Recurrent(spectral_norm),
}


def criterion(outputs):
    return outputs.square().mean((-1, -2))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_population_equals_the_users_own_module_one_by_one(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            network = NETWORKS[name]()
        finally:
            torch.set_default_dtype(torch.float32)
        state = {n: t.clone() for n, t in network.state_dict().items()}
        module = prepare(network, "batch")
        batchable(module)
        layout = ParameterLayout.of(module)
        population = torch.randn(5, layout.dim, dtype=torch.float64)
        inputs = torch.randn(6, 5, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = PopulationEngine(module, layout, inputs)
        losses, slopes = engine.gradients(population, inputs, criterion)
    assert engine.strategy == "vmap"
    assert all(t.equal(state[n]) for n, t in network.state_dict().items())
    # As users call it: the module itself, in training mode, from the stored vectors of the power iteration.
    for row, loss, slope in zip(population, losses, slopes, strict=True):
        plain = copy.deepcopy(network).train()
        layout.assign(plain, row)
        with cached():  # torch's recurrent layers read a weight several times, each time with one more iteration
            expected = criterion(plain(inputs))
        found = torch.autograd.grad(expected, layout.tensors(plain))
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(slope, torch.cat([g.reshape(-1) for g in found]), rtol=1e-9, atol=1e-12)


def test_the_winner_is_scored_with_the_power_iterations_that_its_fitness_had():
    network = nn.Sequential(spectral_norm(nn.Linear(4, 8), n_power_iterations=2), nn.Tanh(), nn.Linear(8, 3))
    problem = gfopt.SupervisedProblem(network, "iris", loss="cross_entropy")
    vector = problem.initial(1, 3)
    fitness = float(problem.evaluate(vector).loss[0])
    assert problem.score(vector[0], "train")["loss"] == pytest.approx(fitness, rel=1e-5)


def test_a_parametrized_layer_is_not_taken_for_a_plain_one():
    network = nn.Sequential(weight_norm(nn.Linear(4, 8)), nn.Tanh(), nn.Linear(8, 3))
    problem = gfopt.SupervisedProblem(network, "iris", loss="cross_entropy")
    assert problem._engine.strategy == "vmap"
    rows = problem.initial(3, 0)
    alone = torch.cat([problem.evaluate(row[None]).loss for row in rows])
    torch.testing.assert_close(problem.evaluate(rows).loss, alone)
