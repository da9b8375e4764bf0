"""The genetic algorithm: DEAP's selection on losses, elitism, and who is evaluated again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from deap import algorithms, base, tools

from gfopt.optimizers import _deap
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

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
        shares += np.bincount(optimizer._kit.select(optimizer._loss, 4), minlength=4)
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


@pytest.mark.parametrize("crossover", ["uniform", "one-point", "two-point", "neuron", "blend", "sbx", "arithmetic"])
@pytest.mark.parametrize("selection", ["tournament", "roulette", "rank", "truncation", "sus"])
def test_every_combination_gets_nearer_to_the_optimum(selection: str, crossover: str) -> None:
    optimizer = make("deap-ga", size=20, selection=selection, crossover=crossover)
    trace = drive(optimizer, driving.sphere, [0] * 30)
    assert trace[-1][1].min() < 0.2 * trace[0][1].min()


def test_selection_never_sees_genes() -> None:
    assert set(_deap.Candidate.__slots__) == {"dim", "fitness", "row"}


SETS = [
    ({"tool": "selTournament", "tournsize": 3}, {"tool": "cxBlend", "alpha": 0.3},
     {"tool": "mutGaussian", "mu": 0.0, "sigma": 0.2, "indpb": 0.5}, 0.6, 0.4),
    ("tools.selRandom", "tools.cxTwoPoint", {"tool": "mutPolynomialBounded", "eta": 20, "low": -3, "up": 3}, 0.5, 0.9),
    ({"tool": "selDoubleTournament", "fitness_size": 3, "parsimony_size": 1.4, "fitness_first": True},
     {"tool": "cxSimulatedBinaryBounded", "eta": 10, "low": -4.0, "up": 4.0}, "tools.mutFlipBit", 1.0, 0.1),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::gfopt.errors.SlowPathWarning")
@pytest.mark.parametrize(("selection", "crossover", "mutation", "cxpb", "mutpb"), SETS)
def test_with_named_operators_and_no_elites_it_is_deaps_ea_simple(
    selection: Any, crossover: Any, mutation: Any, cxpb: float, mutpb: float
) -> None:
    options = {"selection": selection, "crossover": crossover, "mutation": mutation, "gene_probability": 0.5}
    own = {"crossover_probability": cxpb, "mutation_probability": mutpb, "elites": 0}
    optimizer = make("deap-ga", size=13, dtype=torch.float64, **options, **own)
    trace = drive(optimizer, driving.rugged, [0] * 8)

    toolbox = base.Toolbox()
    for alias, operator in (("select", selection), ("mate", crossover), ("mutate", mutation)):
        arguments = dict(operator) if isinstance(operator, dict) else {"tool": operator.removeprefix("tools.")}
        if arguments["tool"] in ("mutPolynomialBounded", "mutFlipBit"):
            arguments["indpb"] = 0.5
        toolbox.register(alias, getattr(tools, arguments.pop("tool")), **arguments)
    evaluated = evaluate_with(toolbox)
    population = [Genes(row) for row in driving.starts(13, 6, torch.float64).tolist()]
    with GlobalStreams(int(np.random.default_rng(0).integers(2**63))).active():
        population, _ = algorithms.eaSimple(population, toolbox, cxpb, mutpb, 7, verbose=False)
    assert optimizer.state_dict()["genomes"].tolist() == population
    ours = [row for rows, _ in trace for row in rows.tolist()]
    assert ours == without_repeats(evaluated)
    assert len(ours) > 40


class Minimum(base.Fitness):
    weights = (-1.0,)


class Genes(list):
    def __init__(self, genes: Any) -> None:
        super().__init__(genes)
        self.fitness = Minimum()


def evaluate_with(toolbox: base.Toolbox) -> list[list[float]]:
    """Register the objective; what will have been evaluated, in order."""
    evaluated: list[list[float]] = []

    def evaluate(individual: Genes) -> tuple[float]:
        evaluated.append(list(individual))
        return (float(driving.rugged(torch.tensor([individual], dtype=torch.float64))),)

    toolbox.register("evaluate", evaluate)
    return evaluated


def without_repeats(rows: list[list[float]]) -> list[list[float]]:
    """DEAP evaluates whatever an operator has touched, whether it changed or not."""
    return [row for place, row in enumerate(rows) if row not in rows[:place]]


def _contains(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return (rows[:, None] == others[None]).all(dim=2).any(dim=1)
