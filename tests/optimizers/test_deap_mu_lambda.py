"""The (mu + lambda) and (mu, lambda) algorithms: DEAP's, who is made of whom, who survives and who is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from deap import algorithms, base, tools
from scipy import stats

from gfopt import optimizers
from gfopt.errors import ConfigError
from gfopt.optimizers._deap import first_equals
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make
from gfopt.types import Evaluation

PLUS, COMMA = "deap-mu-plus-lambda", "deap-mu-comma-lambda"


class Minimum(base.Fitness):
    weights = (-1.0,)


class Genes(list):
    def __init__(self, genes: Any) -> None:
        super().__init__(genes)
        self.fitness = Minimum()


@pytest.mark.filterwarnings("ignore::gfopt.errors.SlowPathWarning")
@pytest.mark.parametrize("selection", ["tools.selBest", {"tool": "selTournament", "tournsize": 2}])
@pytest.mark.parametrize(
    ("kind", "algorithm"), [(PLUS, algorithms.eaMuPlusLambda), (COMMA, algorithms.eaMuCommaLambda)]
)
def test_with_named_operators_it_is_deaps_own(kind: str, algorithm: Any, selection: Any) -> None:
    crossover = {"tool": "cxBlend", "alpha": 0.3}
    mutation = {"tool": "mutGaussian", "mu": 0.0, "sigma": 0.2, "indpb": 0.6}
    own = {"crossover_probability": 0.4, "mutation_probability": 0.3, "offspring": 11}
    optimizer = make(
        kind, size=7, dtype=torch.float64, selection=selection, crossover=crossover, mutation=mutation, **own
    )
    trace = drive(optimizer, driving.rugged, [0] * 9)

    toolbox, evaluated = base.Toolbox(), []
    if isinstance(selection, dict):
        toolbox.register("select", tools.selTournament, tournsize=2)
    else:
        toolbox.register("select", tools.selBest)
    toolbox.register("mate", tools.cxBlend, alpha=0.3)
    toolbox.register("mutate", tools.mutGaussian, mu=0.0, sigma=0.2, indpb=0.6)

    def evaluate(individual: Genes) -> tuple[float]:
        evaluated.append(list(individual))
        return (float(driving.rugged(torch.tensor([individual], dtype=torch.float64))),)

    toolbox.register("evaluate", evaluate)
    population = [Genes(row) for row in driving.starts(7, 6, torch.float64).tolist()]
    with GlobalStreams(int(np.random.default_rng(0).integers(2**63))).active():
        algorithm(population, toolbox, 7, 11, 0.4, 0.3, 8, verbose=False)
    # DEAP evaluates what a mutation has touched though it changed nothing.
    expected = [row for place, row in enumerate(evaluated) if row not in evaluated[:place]]
    assert [row for rows, _ in trace for row in rows.tolist()] == expected
    assert len(expected) > 50


@pytest.mark.parametrize(("kind", "brood"), [(PLUS, 6), (COMMA, 12)])
def test_the_survivors_are_the_best_of_those_who_compete(kind: str, brood: int) -> None:
    optimizer = make(kind, size=6, crossover="blend")
    first = drive(optimizer, driving.rugged, (0,))[0]
    second = drive(optimizer, driving.rugged, (0,))[0]
    assert len(first[0]), len(second[0]) == (6, brood)
    rows, loss = second if kind == COMMA else (torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))
    optimizer.ask(0)
    parents = optimizer.state_dict()["genomes"][:6]
    np.testing.assert_array_equal(parents, rows[loss.argsort()[:6]].numpy())


def test_on_a_new_batch_plus_asks_for_all_and_comma_for_the_offspring() -> None:
    for kind, expected in ((PLUS, 12), (COMMA, 12)):
        optimizer = make(kind, size=6, crossover="blend")
        drive(optimizer, driving.rugged, (0, 0))
        optimizer.ask(0)
        parents = torch.from_numpy(optimizer.state_dict()["genomes"][:6])
        asked = optimizer.ask(1)
        assert len(asked) == expected
        assert torch.equal(asked[:6], parents) == (kind == PLUS)


@pytest.mark.parametrize("kind", [PLUS, COMMA])
def test_offspring_are_crossed_or_mutated_or_copies_as_often_as_they_say(kind: str) -> None:
    options = {"offspring": 3000, "crossover_probability": 0.3, "mutation_probability": 0.5, "crossover": "arithmetic"}
    start = torch.eye(6)
    optimizer = make(kind, start=start, mutation="gaussian", mutation_strength=1e-3, **options)
    drive(optimizer, driving.rugged, (0,))
    optimizer.ask(0)
    offspring = torch.from_numpy(optimizer.state_dict()["genomes"][6:])
    copied = (offspring[:, None] == start).all(dim=2).any(dim=1).sum()
    crossed = ((offspring > 0).sum(dim=1) == 2) & ((offspring == 0).sum(dim=1) == 4)
    counts = [int(crossed.sum()), 3000 - int(crossed.sum()) - int(copied), int(copied)]
    assert stats.chisquare(counts, [900, 1500, 600]).pvalue > 1e-3
    # Of two different parents, each pair as often.
    pairs = np.unique(
        np.sort((offspring[crossed] > 0).nonzero()[:, 1].reshape(-1, 2).numpy()), axis=0, return_counts=True
    )
    assert len(pairs[0]) == 15
    assert stats.chisquare(pairs[1]).pvalue > 1e-3


@pytest.mark.parametrize("kind", [PLUS, COMMA])
def test_rows_with_the_same_genes_are_asked_for_once_and_share_their_loss(kind: str) -> None:
    start = torch.eye(6)[:3].repeat(2, 1)
    optimizer = make(kind, start=start, offspring=30, crossover="uniform", mutation_probability=0.0)
    for step, batch in enumerate((0, 0, 0, 1, 1, 2)):
        rows = optimizer.ask(batch)
        assert step == 0 or len(torch.unique(rows, dim=0)) == len(rows)
        optimizer.tell(rows, Evaluation(driving.rugged(rows, batch), None, 1, batch))
        among = slice(None) if kind == PLUS or len(optimizer._loss) == 6 else slice(6, None)  # type: ignore[attr-defined]
        state = optimizer.state_dict()
        expected = driving.rugged(torch.from_numpy(state["genomes"][among]), batch)
        np.testing.assert_array_equal(state["loss"][among], expected.numpy())


def test_the_first_equal_row_is_found_also_behind_the_first_genes() -> None:
    genomes = np.zeros((5, 100))
    genomes[1, 99], genomes[3, 99], genomes[4, 0] = 1, 1, 1
    assert first_equals(genomes).tolist() == [0, 1, 0, 1, 4]


def test_plus_never_loses_the_best_on_a_fixed_batch() -> None:
    optimizer, best = make(PLUS, mutation_strength=3.0), np.inf
    for _ in range(20):
        drive(optimizer, driving.rugged, (0,))
        now = optimizer.state_dict()["loss"].min()
        assert now <= best
        best = now


@pytest.mark.parametrize(("kind", "options", "message"), [
    (PLUS, {"crossover_probability": 0.7, "mutation_probability": 0.4}, "mutation_probability: expected at most 0.3, "
     "since an offspring is crossed or mutated and crossover_probability is 0.7, got 0.4"),
    (COMMA, {"population": 8, "offspring": 7}, "offspring: expected at least the population of 8, "
     "which it replaces, got 7"),
])  # fmt: skip
def test_options_that_do_not_fit_together_are_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        optimizers.options_of(kind, options)


def test_probabilities_may_add_up_to_one_up_to_rounding() -> None:
    for share in np.linspace(0, 1, 101):
        optimizers.options_of(PLUS, {"crossover_probability": share, "mutation_probability": 1 - share})
    optimizers.options_of(PLUS, {"crossover_probability": 0.9, "mutation_probability": 0.1})


def test_a_step_is_forecast_by_the_offspring() -> None:
    for kind, options, expected in ((PLUS, {}, 5), (COMMA, {}, 10), (COMMA, {"offspring": 30}, 30)):
        cls = optimizers.optimizer_class(kind)
        assert cls.evaluations_per_step(optimizers.options_of(kind, {"population": 5, **options})) == expected
