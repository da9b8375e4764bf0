"""The self-adaptive evolution strategy: its operators against DEAP's, its comma selection, its step sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from deap import tools
from numpy.typing import NDArray
from scipy import stats

from gfopt.errors import ConfigError
from gfopt.optimizers import options_of
from gfopt.optimizers.deap_es import blend, intermediate, log_normal_mutation, one_parent
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

MANY, DIM = 3000, 4
WIDE = (np.full(DIM, 1e-9), np.full(DIM, 1e9))


class Individual(list[float]):
    """As DEAP's operators want it: genes, and step sizes beside."""

    def __init__(self, genes: Any, strategy: Any) -> None:
        super().__init__(genes)
        self.strategy = list(strategy)


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    state = random.getstate()
    random.seed(1)
    yield
    random.setstate(state)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def by_deap(operator: Callable[[], list[Individual]], repeats: int) -> tuple[NDArray[Any], NDArray[Any]]:
    people = [person for _ in range(repeats) for person in operator()]
    return np.array([list(p) for p in people]), np.array([p.strategy for p in people])


def assert_alike(got: NDArray[Any], expected: NDArray[Any]) -> None:
    """Each gene has the same distribution, and so has the sum of all, in which their dependence shows."""
    for one, other in zip([*got.T, got.sum(axis=1)], [*expected.T, expected.sum(axis=1)], strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-3


@pytest.mark.parametrize("probability", [1.0, 0.4])
def test_mutation_has_the_distribution_of_deaps(probability: float) -> None:
    genes, steps = np.arange(1.0, DIM + 1), np.array([0.1, 0.5, 1.0, 2.0])

    def mutate() -> list[Individual]:
        return [tools.mutESLogNormal(Individual(genes, steps), c=1.5, indpb=probability)[0]]

    expected = by_deap(mutate, MANY)
    offspring, sizes = np.tile(genes, (MANY, 1)), np.tile(steps, (MANY, 1))
    log_normal_mutation(
        offspring, sizes, learning_rate=1.5, limits=WIDE, probability=probability, generator=generator()
    )
    assert_alike(offspring, expected[0])
    assert_alike(np.log(sizes), np.log(expected[1]))


def test_blending_has_the_distribution_of_deaps() -> None:
    genes, steps = generator().normal(size=(2, DIM)), np.array([[1.0, 2, 3, 4], [4.0, 3, 2, 1]])

    def mate() -> list[Individual]:
        # As parents are chosen here: at random, the same one twice too. Of a pair one child, as they depend on each
        # other.
        people = [Individual(genes[row], steps[row]) for row in (random.randrange(2), random.randrange(2))]
        return [tools.cxESBlend(*people, alpha=0.3)[0]]

    expected = by_deap(mate, MANY)
    children = blend(genes, steps, count=2 * MANY, alpha=0.3, generator=generator())
    noise = 1e-9 * generator().normal(size=(2, MANY, DIM))  # equal numbers, of a parent with itself, are no ties
    for got, wanted in zip(children, expected, strict=True):
        for child in (0, 1):
            assert_alike(got[child::2] + noise[0], wanted + noise[1])


def test_both_children_of_a_pair_are_as_far_from_its_parents() -> None:
    genes, steps = np.array([[0.0], [1.0]]), np.ones((2, 1))
    children, _ = blend(genes, steps, count=51, alpha=0.0, generator=generator())
    assert len(children) == 51
    pairs = children[:50].reshape(25, 2)
    assert np.isin(pairs.sum(axis=1).round(12), [0, 1, 2]).all()


def test_intermediate_recombination_is_the_mean_of_all() -> None:
    genes, steps = generator().normal(size=(2, 3, DIM))
    offspring, sizes = intermediate(genes, steps, count=5)
    np.testing.assert_allclose(offspring, np.tile(genes.mean(axis=0), (5, 1)))
    np.testing.assert_allclose(sizes, np.tile(steps.mean(axis=0), (5, 1)))


def test_one_parent_is_copied_with_its_own_step_sizes() -> None:
    genes = np.arange(3.0)[:, None]
    offspring, sizes = one_parent(genes, 10 * genes, count=300, generator=generator())
    np.testing.assert_array_equal(sizes, 10 * offspring)
    assert set(offspring.ravel()) == {0.0, 1.0, 2.0}


def test_step_sizes_stay_within_their_limits() -> None:
    sizes = np.full((50, DIM), 1.0)
    limits = np.full(DIM, 0.9), np.full(DIM, 1.1)
    log_normal_mutation(
        np.zeros((50, DIM)), sizes, learning_rate=5.0, limits=limits, probability=1.0, generator=generator()
    )
    assert sizes.min() == 0.9
    assert sizes.max() == 1.1


def test_parents_are_the_best_offspring_only() -> None:
    optimizer = make("deap-es", size=8, parents=2, deviation=1e-6, smallest_deviation=1e-6, learning_rate=1e-6)
    rows, loss = drive(optimizer, driving.rugged, (0,))[0]
    expected = rows[loss.argsort()[:2]].mean(dim=0).expand(8, -1)
    torch.testing.assert_close(optimizer.ask(0), expected, atol=1e-5, rtol=0)


def test_nothing_is_asked_again_on_a_new_batch() -> None:
    assert [len(rows) for rows, _ in drive(make("deap-es"), driving.rugged, (0, 0, 1, 2, 2))] == [6] * 5


def test_step_sizes_shrink_towards_the_optimum_and_are_relative_to_the_scale() -> None:
    optimizer = make("deap-es", size=40, dtype=torch.float64)
    first = optimizer.state_dict()["steps"]
    np.testing.assert_allclose(first, 0.5 * driving.SCALE)
    trace = drive(optimizer, driving.sphere, [0] * 80)
    assert optimizer.state_dict()["steps"].max() < 1e-3 * first.max()
    assert trace[-1][1].min() < 1e-8


@pytest.mark.parametrize("recombination", ["intermediate", "blend", "none"])
def test_every_recombination_gets_nearer_to_the_optimum(recombination: str) -> None:
    trace = drive(make("deap-es", size=20, recombination=recombination), driving.sphere, [0] * 40)
    assert trace[-1][1].min() < 0.2 * trace[0][1].min()


def test_as_many_parents_as_offspring_are_no_selection() -> None:
    with pytest.raises(ConfigError, match="fewer than the 8 offspring that they are chosen from, got 8"):
        options_of("deap-es", {"population": 8, "parents": 8})
    assert options_of("deap-es", {"population": 2}).mu == 1
