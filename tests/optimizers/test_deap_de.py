"""Differential evolution: the equations, the duels, and who is evaluated again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from gfopt.optimizers.deap_de import binomial_crossover, distinct_others, mutants
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

F64 = torch.float64
STRATEGIES = ("rand/1/bin", "best/1/bin", "current-to-best/1/bin")


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_mutants_are_those_of_the_equations(strategy: str) -> None:
    x = generator(1).normal(size=(7, 3))
    donors = distinct_others(7, 3 if strategy == "rand/1/bin" else 2, generator())
    got = mutants(x, donors, 4, strategy=strategy, weight=0.6)
    for i, (one, other, *third) in enumerate(donors):
        if strategy == "rand/1/bin":
            expected = x[one] + 0.6 * (x[other] - x[third[0]])
        elif strategy == "best/1/bin":
            expected = x[4] + 0.6 * (x[one] - x[other])
        else:
            expected = x[i] + 0.6 * (x[4] - x[i]) + 0.6 * (x[one] - x[other])
        np.testing.assert_allclose(got[i], expected, rtol=1e-12)


def test_donors_are_different_others_and_all_are_as_likely() -> None:
    counts = np.zeros((5, 5))
    for seed in range(400):
        donors = distinct_others(5, 3, generator(seed))
        for i, chosen in enumerate(donors):
            assert len({i, *chosen}) == 4
            counts[i, chosen] += 1
    off_diagonal = counts[~np.eye(5, dtype=bool)]
    assert stats.chisquare(off_diagonal).pvalue > 1e-3


@pytest.mark.parametrize("population", [2, 3])
def test_few_individuals_share_donors_but_are_never_their_own(population: int) -> None:
    donors = distinct_others(population, 3, generator())
    assert donors.shape == (population, 3)
    assert (donors != np.arange(population)[:, None]).all()
    assert donors.max() < population


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_a_trial_has_one_gene_of_the_mutant_and_others_by_chance(rate: float) -> None:
    trials, parents = np.ones((4000, 6)), np.zeros((4000, 6))
    binomial_crossover(trials, parents, rate=rate, generator=generator())
    genes = trials.sum(axis=1)
    assert genes.min() >= 1
    assert abs(genes.mean() - (1 + 5 * rate)) < 5 * (5 * rate * (1 - rate) / 4000) ** 0.5 + 1e-12


def test_a_trial_replaces_its_own_parent_if_it_is_no_worse() -> None:
    optimizer, start = make("deap-de", size=8), driving.starts(8, 6)
    before = drive(optimizer, driving.rugged, (0,))[0][1]
    trials, loss = drive(optimizer, driving.rugged, (0,))[0]
    won = loss <= before
    assert won.any()
    assert not won.all()
    state = optimizer.state_dict()
    assert torch.equal(torch.from_numpy(state["genomes"]), torch.where(won[:, None], trials, start))
    np.testing.assert_array_equal(state["loss"], torch.where(won, loss, before).numpy())


def test_equal_losses_let_the_trial_win() -> None:
    optimizer = make("deap-de")
    known = drive(optimizer, driving.rugged, (0,))[0][1]
    trials = optimizer.ask(0)
    drive(optimizer, lambda rows, batch: known, (0,))
    assert torch.equal(torch.from_numpy(optimizer.state_dict()["genomes"]), trials)


def test_on_a_new_batch_the_parents_are_asked_again_behind_the_trials() -> None:
    optimizer = make("deap-de", size=5)
    assert [len(rows) for rows, _ in drive(optimizer, driving.rugged, (0, 0, 1, 1, 2))] == [5, 5, 10, 5, 10]
    parents = torch.from_numpy(optimizer.state_dict()["genomes"])
    assert torch.equal(optimizer.ask(3)[5:], parents)


def test_duels_are_fought_on_the_same_batch() -> None:
    optimizer = make("deap-de", dtype=F64)
    drive(optimizer, driving.rugged, (0, 0))
    # Batch 1 is worse for everybody: compared with losses of batch 0 no trial would win.
    drive(optimizer, lambda rows, batch: driving.rugged(rows) + 100 * batch, (1,))
    state = optimizer.state_dict()
    assert (state["loss"] > 99).all()
    np.testing.assert_allclose(state["loss"], driving.rugged(torch.from_numpy(state["genomes"])) + 100)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gets_near_the_optimum(strategy: str) -> None:
    trace = drive(make("deap-de", size=20, strategy=strategy), driving.sphere, [0] * 60)
    assert trace[-1][1].min() < 0.05 * trace[0][1].min()


def test_genes_beyond_a_bound_land_halfway_between_it_and_the_parents() -> None:
    bounds = (torch.full((3,), -0.1), torch.full((3,), 0.1))
    start = 0.1 * torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    given: dict[str, Any] = {"dim": 3, "start": start, "crossover_rate": 1.0, "differential_weight": 2.0}
    free, bounded = make("deap-de", **given), make("deap-de", bounds=bounds, **given)
    for optimizer in (free, bounded):
        drive(optimizer, driving.sphere, (0,))
    expected, parents = free.ask(0), start
    expected = torch.where(expected > 0.1, (0.1 + parents) / 2, expected)
    expected = torch.where(expected < -0.1, (-0.1 + parents) / 2, expected)
    assert not torch.equal(expected, free.ask(0))
    torch.testing.assert_close(bounded.ask(0), expected)
