"""Selections, and operators on real genes, do what their definitions and DEAP's operators of the same kind say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from deap import tools
from numpy.typing import NDArray
from scipy import stats

from gfopt.errors import ConfigError
from gfopt.optimizers import _deap, real_variation
from gfopt.optimizers._deap_operators import array_mutation
from gfopt.optimizers._genetic_options import DeapOptions
from gfopt.optimizers.real_variation import Range
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make
from gfopt.types import Group

COUNT = 4000
LOWEST = 1e-3  # p-value below which two samples are not of one distribution; the seeds are fixed
NAMED = "ignore::gfopt.errors.SlowPathWarning"


def candidates(loss: list[float]) -> list[_deap.Candidate]:
    return [_deap.Candidate(row, _deap.Loss((value,))) for row, value in enumerate(loss)]


def rows(chosen: Any) -> list[int]:
    return [candidate.row for candidate in chosen]


def selected(kind: str, loss: list[float], count: int, **options: Any) -> list[int]:
    with GlobalStreams(5).active():
        select = _deap.selector(kind, DeapOptions(**options), np.random.default_rng(3))  # type: ignore[arg-type]
        return rows(select(candidates(loss), count))


@pytest.mark.parametrize("pressure", [1.0, 1.5, 2.0])
def test_rank_expects_of_each_what_baker_says(pressure: float) -> None:
    loss = [0.5, 9.0, 2.0, 1.0, np.inf]
    expected = (2 - pressure + 2 * (pressure - 1) * np.array([4, 1, 2, 3, 0]) / 4) / 5
    np.testing.assert_allclose(_deap.rank_shares(np.array(loss), pressure) / 5, expected)
    counts = np.bincount(selected("rank", loss, 20_000, rank_pressure=pressure), minlength=5)
    assert (counts[expected == 0] == 0).all()
    assert stats.chisquare(counts[expected > 0], 20_000 * expected[expected > 0]).pvalue > LOWEST


def test_equal_losses_share_the_mean_of_their_ranks() -> None:
    np.testing.assert_allclose(_deap.rank_shares(np.array([1.0, 1.0, 0.0, 1.0]), 2.0), [2 / 3, 2 / 3, 2, 2 / 3])
    np.testing.assert_allclose(_deap.rank_shares(np.array([7.0]), 2.0).sum(), 0.0)


def test_universal_sampling_chooses_whom_deap_chooses_in_random_order() -> None:
    loss = [3.0, 1.0, np.inf, 2.0, 0.0]
    share = [2, 4, 1, 3, 5]  # how many are no better
    wheel = [_deap.Candidate(row, _deap.Share((own,))) for row, own in enumerate(share)]
    with GlobalStreams(5).active():
        expected = rows(tools.selStochasticUniversalSampling(wheel, 30))
    found = selected("sus", loss, 30)
    assert sorted(found) == sorted(expected)
    assert found != expected
    assert np.bincount(found).tolist() == [4, 8, 2, 6, 10]  # 30 marks on a wheel of 15: exactly twice the share


def children(operator: Any, parents: tuple[Any, Any], **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    first, second = (np.tile(np.array(parent, dtype=np.float64), (COUNT, 1)) for parent in parents)
    operator(first, second, np.random.default_rng(1), **options)
    return first, second


@pytest.mark.parametrize("eta", [2.0, 15.0])
def test_sbx_has_deaps_distribution(eta: float) -> None:
    parents = [0.0, -1.0, 4.0], [1.0, 1.0, 4.5]
    mine = children(real_variation.simulated_binary_crossover, parents, eta=eta)
    with GlobalStreams(2).active():
        theirs = [tools.cxSimulatedBinary(*(list(parent) for parent in parents), eta) for _ in range(COUNT)]
    for child in (0, 1):
        for gene in range(3):
            assert stats.ks_2samp(mine[child][:, gene], [pair[child][gene] for pair in theirs]).pvalue > LOWEST
    np.testing.assert_allclose(mine[0] + mine[1], np.tile(np.sum(parents, axis=0), (COUNT, 1)))
    assert abs(np.corrcoef(mine[0].T) - np.eye(3)).max() < 5 / COUNT**0.5


def test_arithmetic_children_lie_between_their_parents_with_one_uniform_share_for_all_genes() -> None:
    first, second = children(real_variation.arithmetic_crossover, ([0.0, 0.0, 1.0], [1.0, -4.0, 1.5]))
    share = first[:, 0]
    np.testing.assert_allclose(first, np.column_stack([share, -4 * share, 1 + share / 2]), atol=1e-12)
    np.testing.assert_allclose(first + second, np.tile([1.0, -4.0, 2.5], (COUNT, 1)))
    assert stats.kstest(share, "uniform").pvalue > LOWEST


PARENT = np.array([0.1, -0.9, 1.0, 0.0])
LOW, HIGH = np.array([-1.0, -1.0, -1.0, -3.0]), np.array([1.0, 1.0, 1.0, 0.5])


def mutants(operator: Any, within: Range, kind: Any = np.float64, **options: Any) -> NDArray[Any]:
    genomes = np.tile(PARENT, (COUNT, 1)).astype(kind)
    operator(genomes, np.random.default_rng(1), within=within, **options)
    return genomes


@pytest.mark.parametrize("eta", [1.0, 20.0])
@pytest.mark.parametrize("probability", [0.4, 1.0])
def test_polynomial_mutation_has_deaps_distribution(eta: float, probability: float) -> None:
    within = Range(None, (LOW, HIGH))
    mine = mutants(real_variation.polynomial_mutation, within, eta=eta, gene_probability=probability)
    given = eta, LOW.tolist(), HIGH.tolist(), probability
    with GlobalStreams(2).active():
        theirs = np.array([tools.mutPolynomialBounded(PARENT.tolist(), *given)[0] for _ in range(COUNT)])
    for gene in range(4):
        assert stats.ks_2samp(mine[:, gene], theirs[:, gene]).pvalue > LOWEST
    assert ((mine >= LOW) & (mine <= HIGH)).all()
    np.testing.assert_allclose((mine != PARENT)[:, :2].mean(axis=0), probability, atol=0.03)


def test_uniform_mutation_has_the_distribution_of_deaps_on_whole_numbers() -> None:
    within = Range(None, (np.full(4, -0.5), np.full(4, 9.5)))
    mine = np.rint(mutants(real_variation.uniform_mutation, within)).clip(0, 9)
    with GlobalStreams(2).active():
        theirs = np.array([tools.mutUniformInt([0] * 4, 0, 9, 1.0)[0] for _ in range(COUNT)])
    table = [np.bincount(sample.astype(int).ravel(), minlength=10) for sample in (mine, theirs)]
    assert stats.chi2_contingency(table).pvalue > LOWEST


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("operator", "options"), [
    (real_variation.uniform_mutation, {}),
    (real_variation.polynomial_mutation, {"eta": 0.0}),
    (real_variation.polynomial_mutation, {"eta": 30.0}),
])  # fmt: skip
def test_genes_stay_within_reach_and_bounds(operator: Any, options: Any, kind: Any) -> None:
    low, high = LOW.astype(kind), HIGH.astype(kind)
    reach = np.array([0.5, 0.5, 0.0, 100.0], dtype=kind)
    changed = mutants(operator, Range(lambda _, genes: reach[genes], (low, high)), kind, **options)
    parent = PARENT.astype(kind)
    assert changed.dtype == kind
    assert (changed >= np.maximum(low, parent - reach)).all()
    assert (changed <= np.minimum(high, parent + reach)).all()
    assert (changed[:, 2] == parent[2]).all()
    assert len(np.unique(changed[:, 0])) > COUNT / 2


def test_genes_outside_the_bounds_are_put_on_them_before() -> None:
    genomes = np.array([[5.0, -7.0]])
    bounds = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    within = Range(lambda _, genes: np.full(2, 0.1)[genes], bounds)
    real_variation.polynomial_mutation(genomes, np.random.default_rng(0), eta=5.0, within=within)
    assert 0.9 <= genomes[0, 0] <= 1
    assert -1 <= genomes[0, 1] <= -0.9


def test_a_self_adaptive_strength_has_the_distribution_of_deaps() -> None:
    """With a single gene, DEAP's strategy is a single strength with `tau = 1`."""
    genomes, strengths = np.zeros((COUNT, 1)), np.full(COUNT, 0.3)
    real_variation.self_adaptive_mutation(
        genomes, np.random.default_rng(1), strengths=strengths, rate=1.0, size=lambda _, genes: np.ones(1)[genes]
    )
    theirs = []
    with GlobalStreams(2).active():
        for _ in range(COUNT):
            individual = _deap.Individual([0.0], 0, _deap.Loss(), 0.0)
            individual.strategy = [0.3]  # type: ignore[attr-defined]
            tools.mutESLogNormal(individual, 1.0, 1.0)
            theirs.append((individual[0], individual.strategy[0]))  # type: ignore[attr-defined]
    for mine, other in zip((genomes[:, 0], strengths), np.array(theirs).T, strict=True):
        assert stats.ks_2samp(mine, other).pvalue > LOWEST


def test_strengths_are_inherited_and_crossed_parents_pass_on_their_geometric_mean() -> None:
    options = {"elites": 0, "mutation": "self-adaptive", "mutation_probability": 0.0, "selection": "truncation"}
    optimizer = make("deap-ga", size=40, crossover_probability=0.5, truncation_share=0.05, **options)
    drive(optimizer, driving.sphere, (0,))
    best = np.argsort(optimizer._loss)[:2]  # type: ignore[attr-defined]
    optimizer._strength[best] = 0.1, 0.4  # type: ignore[attr-defined]
    optimizer.ask(0)
    found = np.unique(optimizer._strength.round(12))  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, [0.1, 0.2, 0.4])


def test_strengths_adapt_where_the_default_is_much_too_large() -> None:
    reached = []
    for mutation in ("gaussian", "self-adaptive"):
        optimizer = make("deap-ga", size=20, mutation=mutation, mutation_strength=5.0)
        reached.append(float(drive(optimizer, driving.sphere, [0] * 60)[-1][1].min()))
    assert reached[1] < 0.01 * reached[0]


@pytest.mark.parametrize("kind", ["polynomial", "uniform", "self-adaptive"])
def test_mutations_are_relative_to_the_scale_of_each_gene(kind: Any) -> None:
    scale = np.array([0.01, 1.0, 50.0])
    groups = (Group("a", slice(0, 3), (3,)),)
    for given, expected in (("initial", scale), ("relative", np.array([2.0, 2.0, 5.0]))):  # at least a tenth of 50
        genomes = np.full((COUNT, 3), 2.0)
        options = DeapOptions(mutation=kind, mutation_scale=given)
        mutate = array_mutation(kind, options, scale, None, groups)
        mutate(genomes, np.full(COUNT, 0.2), np.random.default_rng(0), None)
        size = (genomes - 2).std(axis=0) / np.clip(expected, 0.1 * scale, 1000 * scale)
        np.testing.assert_allclose(size / size.mean(), 1, rtol=0.1)


@pytest.mark.parametrize("kind", ["polynomial", "uniform"])
def test_a_range_as_wide_as_the_bounds_needs_bounds(kind: str) -> None:
    bounds = (torch.full((6,), -3.0), torch.full((6,), 2.0))
    optimizer = make("deap-ga", size=400, elites=0, mutation=kind, mutation_range=None, bounds=bounds, polynomial_eta=0)
    drive(optimizer, driving.sphere, (0,))
    asked = optimizer.ask(0)
    assert asked.min() < -2.8
    assert asked.max() > 1.8
    with pytest.raises(ConfigError, match="mutation: mutation_range: expected a number, as the problem has no bounds"):
        make("deap-ga", mutation=kind, mutation_range=None)


@pytest.mark.filterwarnings(NAMED)
@pytest.mark.parametrize("kind", ["deap-ga", "deap-mu-plus-lambda", "deap-mu-comma-lambda", "deap-islands"])
@pytest.mark.parametrize("option", [
    {"selection": "sus"}, {"selection": "rank"}, {"crossover": "sbx"}, {"crossover": "arithmetic"},
    {"mutation": "polynomial"}, {"mutation": "uniform"}, {"mutation": "self-adaptive"},
    {"selection": "tools.selNSGA2"}, {"selection": "tools.selSPEA2"}, {"crossover": "tools.cxBlend"},
    {"mutation": "tools.mutGaussian"}, {"crossover": "tools.cxSimulatedBinary", "mutation": "self-adaptive"},
])  # fmt: skip
def test_every_way_gets_nearer_to_the_optimum_and_can_be_resumed(kind: str, option: dict[str, Any]) -> None:
    optimizer = make(kind, size=16, **option)
    trace = drive(optimizer, driving.sphere, [0] * 12)
    again = make(kind, size=16, seed=9, **option)
    again.load_state_dict(optimizer.state_dict())
    more = drive(optimizer, driving.sphere, [0] * 13)
    assert driving.same(more, drive(again, driving.sphere, [0] * 13))
    lowest = min(float(loss.min()) for rows, loss in more if len(rows))
    assert lowest < 0.3 * float(trace[0][1].min())
