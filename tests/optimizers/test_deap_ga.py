"""The genetic algorithm: DEAP's selection on losses, elitism, and who is evaluated again."""

from __future__ import annotations

from typing import Any

import numpy as np
import optimizer_driving as driving
import pytest
import torch
from deap import base, tools
from optimizer_driving import drive, make

from gfopt.optimizers import deap_ga
from gfopt.rng import GlobalStreams

UNCROSSED = {"crossover_probability": 0.0, "tournament_size": 1}
QUIET = {"crossover_probability": 0.0, "mutation_probability": 0.0}


class Fitness(base.Fitness):
    weights = (1.0,)


class Individual:
    def __init__(self, row: int, fitness: float) -> None:
        self.row, self.fitness = row, Fitness((fitness,))


@pytest.mark.parametrize(("selection", "select"), [
    ("tournament", lambda people, count: tools.selTournament(people, count, tournsize=3)),
    ("truncation", lambda people, count: tools.selRandom(tools.selBest(people, 3), count)),
    ("roulette", tools.selRoulette),
])  # fmt: skip
def test_parents_are_those_that_deap_selects_for_the_same_seed(selection: str, select: Any) -> None:
    options = {"selection": selection, "tournament_size": 3, "truncation_share": 0.25, "elites": 1}
    optimizer = make("deap-ga", size=12, **QUIET, **options)
    rows, loss = drive(optimizer, driving.rugged, (0,))[0]
    # The more individuals are no better, the higher the fitness: DEAP maximizes.
    people = [Individual(row, float((loss >= own).sum())) for row, own in enumerate(loss)]
    seed = int(np.random.default_rng(0).integers(2**63))
    with GlobalStreams(seed).active():
        expected = [person.row for person in select(people, 11)]
    assert len(optimizer.ask(0)) == 0
    children = torch.from_numpy(optimizer.state_dict()["genomes"])
    assert torch.equal(children, rows[[int(loss.argmin()), *expected]])


def test_roulette_gives_each_as_many_shares_as_there_are_no_better_ones() -> None:
    optimizer = make("deap-ga", size=4, selection="roulette", elites=0, **QUIET)
    shares = np.zeros(4)
    for _ in range(500):
        optimizer._loss = np.array([3.0, np.inf, 1.0, np.inf])  # 3, 2 and 4, 2 are no better
        shares += np.bincount(optimizer._select()[1], minlength=4)
    np.testing.assert_allclose(shares / shares.sum(), np.array([3, 2, 4, 2]) / 11, atol=0.05)


def test_the_best_loss_never_rises_on_a_fixed_batch() -> None:
    optimizer, best = make("deap-ga", size=8, elites=1, mutation_strength=3.0), np.inf
    for _ in range(30):
        drive(optimizer, driving.rugged, (0,))
        now = optimizer.state_dict()["loss"].min()
        assert now <= best
        best = now


def test_without_elites_it_may_rise() -> None:
    optimizer, best = make("deap-ga", size=8, elites=0, mutation_strength=3.0), []
    for _ in range(30):
        drive(optimizer, driving.rugged, (0,))
        best.append(optimizer.state_dict()["loss"].min())
    assert (np.diff(best) > 0).any()


def test_elites_are_the_best_and_are_asked_again_on_a_new_batch_only() -> None:
    optimizer = make("deap-ga", size=8, elites=3)
    rows, loss = drive(optimizer, driving.rugged, (0,))[0]
    elites = rows[loss.argsort()[:3]]
    assert len(optimizer.ask(0)) == 5
    assert not _contains(optimizer.ask(0), elites).any()
    again = optimizer.ask(1)
    assert len(again) == 8
    assert torch.equal(again[:3], elites)


def test_clones_are_not_evaluated_again_and_keep_their_losses() -> None:
    optimizer = make("deap-ga", size=40, elites=1, crossover_probability=0.0, mutation_probability=0.4)
    rows, _ = drive(optimizer, driving.rugged, (0,))[0]
    asked = optimizer.ask(0)
    assert 0 < len(asked) < 39
    assert not _contains(asked, rows).any()
    drive(optimizer, driving.rugged, (0,))
    state = optimizer.state_dict()
    expected = driving.rugged(torch.from_numpy(state["genomes"]))
    np.testing.assert_array_equal(state["loss"], expected.numpy())


def test_a_population_that_does_not_change_asks_nothing_until_the_batch_does() -> None:
    optimizer = make("deap-ga", **QUIET)
    trace = drive(optimizer, driving.rugged, (0, 0, 0, 1, 1))
    assert [len(rows) for rows, _ in trace] == [6, 0, 0, 6, 0]


def test_children_of_one_individual_with_itself_are_not_evaluated_again() -> None:
    optimizer = make("deap-ga", crossover="blend", mutation_probability=0.0, tournament_size=500, elites=0)
    assert [len(rows) for rows, _ in drive(optimizer, driving.rugged, (0, 0))] == [6, 0]


def test_crossover_and_mutation_happen_as_often_as_they_say() -> None:
    crossed = make("deap-ga", size=2000, elites=0, dim=8, crossover_probability=0.3, mutation_probability=0.0)
    mutated = make("deap-ga", size=2000, elites=0, dim=8, crossover_probability=0.0, mutation_probability=0.3)
    # Of the pairs, 2^-7 exchange nothing or everything; of the parents, about 1 in 800 meets itself.
    for optimizer, rate in ((crossed, 0.3 * (1 - 2**-7)), (mutated, 0.3)):
        drive(optimizer, driving.rugged, (0,))
        assert abs(len(optimizer.ask(0)) / 2000 - rate) < 0.05


def test_mutation_is_relative_to_the_scale() -> None:
    optimizer = make("deap-ga", size=4000, elites=0, mutation_strength=0.5, start=torch.ones(4000, 6))
    drive(optimizer, driving.sphere, (0,))
    change = optimizer.ask(0) - 1
    assert abs(change.mean()) < 5 * 0.5 * driving.SCALE / 24000**0.5
    np.testing.assert_allclose(change.std(), 0.5 * driving.SCALE, rtol=5 / 48000**0.5)


def test_mutation_may_be_relative_to_the_individuals_own_parameter() -> None:
    start = torch.ones(4000, 6)
    start[2000:] = 10
    optimizer = make("deap-ga", size=4000, elites=0, mutation_scale="relative", start=start, **UNCROSSED)
    drive(optimizer, driving.sphere, (0,))
    children = optimizer.ask(0)
    for size in (1, 10):
        change = children[(children.mean(dim=1) - size).abs() < 0.4 * size] - size
        np.testing.assert_allclose(change.std(), 0.2 * size, rtol=0.05)


@pytest.mark.parametrize("crossover", ["uniform", "one-point", "two-point", "neuron", "blend"])
@pytest.mark.parametrize("selection", ["tournament", "roulette", "truncation"])
def test_every_combination_gets_nearer_to_the_optimum(selection: str, crossover: str) -> None:
    optimizer = make("deap-ga", size=20, selection=selection, crossover=crossover)
    trace = drive(optimizer, driving.sphere, [0] * 30)
    assert trace[-1][1].min() < 0.2 * trace[0][1].min()


def test_selection_never_sees_genes() -> None:
    assert set(deap_ga._Candidate.__slots__) == {"fitness", "row"}


def _contains(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return (rows[:, None] == others[None]).all(dim=2).any(dim=1)
