"""Covariance matrix adaptation by DEAP: its own steps, bit for bit, and what is added around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from deap import algorithms, base, cma, creator

from gfopt.errors import ConfigError
from gfopt.optimizers import deap_cma, optimizer_class
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

KINDS = ("deap-cma", "deap-cma-1+lambda")
DIM, SIZE, GENERATIONS = 5, 8, 12
F64 = torch.float64


class Fitness(base.Fitness):
    weights = (-1.0,)


class Individual(list[float]):
    """As DEAP's documentation has them: a list, its fitness beside."""

    def __init__(self, genes: Any) -> None:
        super().__init__(genes)
        self.fitness = Fitness()


def start_and_losses() -> tuple[torch.Tensor, int, float]:
    start = driving.starts(SIZE, DIM, F64)
    loss = driving.rugged(start)
    return start, int(loss.argmin()), float(loss.min())


def run_deap(strategy: Any, origin: torch.Tensor) -> list[torch.Tensor]:
    """What DEAP's own loop evaluates, in the problem's coordinates."""
    seen: list[torch.Tensor] = []

    def evaluate_all(_: Any, people: list[Individual]) -> list[tuple[float]]:
        rows = origin + driving.SCALE * torch.tensor(np.array([list(person) for person in people]))
        seen.append(rows)
        return [(value,) for value in driving.rugged(rows).tolist()]

    toolbox = base.Toolbox()
    toolbox.register("map", evaluate_all)
    toolbox.register("evaluate", lambda: None)
    toolbox.register("generate", strategy.generate, Individual)
    toolbox.register("update", strategy.update)
    algorithms.eaGenerateUpdate(toolbox, ngen=GENERATIONS, verbose=False)
    return seen


def test_the_steps_are_those_of_deaps_own_algorithm() -> None:
    start, best, _ = start_and_losses()
    seed = int(np.random.default_rng(0).integers(2**32))
    with GlobalStreams(seed).active():
        expected = run_deap(cma.Strategy(np.zeros(DIM), 0.7, lambda_=SIZE), start[best])
    optimizer = make("deap-cma", dim=DIM, size=SIZE, dtype=F64, start=start, deviation=0.7)
    got = drive(optimizer, driving.rugged, [0] * (1 + GENERATIONS))[1:]
    for (rows, _), wanted in zip(got, expected, strict=True):
        assert torch.equal(rows[:SIZE], wanted)


def test_the_steps_are_those_of_deaps_elitist_strategy() -> None:
    start, best, loss = start_and_losses()
    seed = int(np.random.default_rng(0).integers(2**32))
    creator.create("GfoptTestFitness", base.Fitness, weights=(-1.0,))
    creator.create("GfoptTestParent", list, fitness=creator.GfoptTestFitness)
    parent = creator.GfoptTestParent(np.zeros(DIM))
    parent.fitness.values = (loss,)
    with GlobalStreams(seed).active():
        expected = run_deap(cma.StrategyOnePlusLambda(parent, 0.7, lambda_=SIZE), start[best])
    optimizer = make("deap-cma-1+lambda", dim=DIM, size=SIZE, dtype=F64, start=start, deviation=0.7)
    got = drive(optimizer, driving.rugged, [0] * (1 + GENERATIONS))[1:]
    for (rows, _), wanted in zip(got, expected, strict=True):
        assert torch.equal(rows, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_start_row_is_the_first_mean(kind: str) -> None:
    optimizer = make(kind, size=200, start=driving.starts(200, 6), deviation=0.01)
    rows, loss = drive(optimizer, driving.rugged, (0,))[0]
    samples = optimizer.ask(0) - rows[loss.argmin()]
    assert abs(samples.mean()) < 5 * 0.01 * driving.SCALE / 1200**0.5
    np.testing.assert_allclose(samples.std(), 0.01 * driving.SCALE, rtol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_relative_to_the_scale(kind: str) -> None:
    scale = torch.tensor([0.1, 10.0])
    options = optimizer_class(kind).options_class(population=500)
    start = torch.zeros(500, 2)
    optimizer = optimizer_class(kind)(start, options, np.random.default_rng(0), scale=scale)
    drive(optimizer, driving.sphere, (0,))
    spread = optimizer.ask(0)[:500].std(dim=0) / scale
    np.testing.assert_allclose(spread, options.deviation, rtol=0.15)


def test_the_mean_is_asked_behind_the_samples_unless_its_loss_is_known() -> None:
    optimizer = make("deap-cma")
    rows, loss = drive(optimizer, driving.rugged, (0,))[0]
    assert len(optimizer.ask(0)) == 6
    again = optimizer.ask(1)
    assert len(again) == 7
    torch.testing.assert_close(again[6], rows[loss.argmin()])
    drive(optimizer, driving.rugged, (0,))
    assert len(optimizer.ask(0)) == 7


def test_the_elitist_parent_is_asked_again_on_a_new_batch_only() -> None:
    optimizer = make("deap-cma-1+lambda")
    counts = [len(rows) for rows, _ in drive(optimizer, driving.rugged, (0, 0, 0, 1, 1, 2))]
    assert counts == [6, 6, 6, 7, 6, 7]


def test_the_elitist_parent_never_gets_worse() -> None:
    optimizer, best = make("deap-cma-1+lambda", size=4), np.inf
    for _ in range(30):
        drive(optimizer, driving.rugged, (0,))
        now = optimizer.state_dict()["mean_loss"]
        assert now <= best
        best = now


@pytest.mark.parametrize("kind", KINDS)
def test_a_generation_of_equal_losses_changes_nothing_but_the_samples(kind: str) -> None:
    optimizer = make(kind)
    drive(optimizer, lambda rows, batch: torch.full((len(rows),), torch.inf), (0,))
    before = optimizer.state_dict()["distribution"]
    one, other = (rows for rows, _ in drive(optimizer, lambda rows, batch: 0 * rows[:, 0] + torch.inf, (0, 0)))
    assert not torch.equal(one, other)
    after = optimizer.state_dict()["distribution"]
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [1e-14, 1e14, np.nan])
def test_a_distribution_that_cannot_be_sampled_starts_again_from_its_mean(kind: str, sigma: float) -> None:
    optimizer = make(kind, dtype=F64)
    drive(optimizer, driving.rugged, (0, 0))
    optimizer._strategy.sigma = sigma
    mean = optimizer._mean().copy()
    samples = optimizer._mean() + 1e-14 * np.random.default_rng(0).normal(size=(6, 6))
    optimizer._learn_safely(samples, np.arange(6.0), mean)
    assert optimizer._strategy.sigma == optimizer.options.deviation
    assert np.isfinite(optimizer._mean()).all()


def test_a_covariance_without_a_root_starts_again() -> None:
    optimizer = make("deap-cma-1+lambda", dtype=F64)
    drive(optimizer, driving.rugged, (0, 0))
    optimizer._strategy.C = -np.eye(6)
    drive(optimizer, driving.rugged, (0,))
    assert np.array_equal(optimizer.state_dict()["distribution"]["C"], np.eye(6))


def test_copies_of_an_individual_have_a_fitness_of_their_own() -> None:
    import copy

    one = deap_cma._individual(np.zeros(3), deap_cma.Loss((1.0,)))
    other = copy.deepcopy(one)
    other[0], other.fitness.values = 5.0, (2.0,)
    assert one[0] == 0
    assert one.fitness.values == (1.0,)


@pytest.mark.parametrize("kind", KINDS)
def test_more_genes_than_a_matrix_is_good_for_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="at most 2000 parameters, got 2001"):
        make(kind, dim=2001, size=2)
