"""The operators on whole arrays do, in distribution, what DEAP's do gene by gene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deap import tools
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from gfopt.optimizers import _blocks, _parameters, real_variation, variation
from gfopt.rng import GlobalStreams
from gfopt.types import Group

PAIRS, DIM = 3000, 5
LOWEST = 1e-3  # p-value below which two samples are not of one distribution; the seeds are fixed
GROUPS = (
    Group("0.weight", slice(0, 6), (2, 3)),
    Group("0.shift", slice(6, 8), (2,)),
    Group("1.weight", slice(8, 10), (1, 2)),
    Group("1.shift", slice(10, 11), (1,)),
    Group("temperature", slice(11, 12), ()),
)
NEURONS = [0, 0, 0, 1, 1, 1, 0, 1, 2, 2, 2, 3, 4]


def ours(operator: Callable[..., None], pairs: int = PAIRS, **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Children of parents that are all zeros and all ones."""
    first, second = np.zeros((pairs, DIM)), np.ones((pairs, DIM))
    operator(first, second, np.random.default_rng(1), **options)
    return first, second


def deaps(operator: Callable[..., Any], *arguments: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    with GlobalStreams(2).active():
        children = [operator([0.0] * DIM, [1.0] * DIM, *arguments) for _ in range(PAIRS)]
    return np.array([a for a, _ in children]), np.array([b for _, b in children])


@pytest.mark.parametrize(("mine", "theirs", "arguments"), [
    (variation.uniform_crossover, tools.cxUniform, (0.5,)),
    (variation.one_point_crossover, tools.cxOnePoint, ()),
    (variation.two_point_crossover, tools.cxTwoPoint, ()),
])  # fmt: skip
def test_children_have_deaps_distribution(mine: Any, theirs: Any, arguments: Any) -> None:
    counts = []
    for first, second in (ours(mine), deaps(theirs, *arguments)):
        assert (first + second == 1).all()
        # A child and its sibling are interchangeable: count what differs from the first gene's side.
        patterns = first != first[:, :1]
        counts.append(Counter(map(bytes, patterns)))
    assert set(counts[0]) == set(counts[1])
    table = [[count[pattern] for pattern in counts[1]] for count in counts]
    assert stats.chi2_contingency(table).pvalue > LOWEST


def test_uniform_crossover_swaps_each_gene_of_each_pair_half_of_the_time() -> None:
    swapped = ours(variation.uniform_crossover)[0] == 1
    assert stats.binomtest(int(swapped.sum()), swapped.size).pvalue > LOWEST
    assert len(np.unique(swapped, axis=0)) == 2**DIM


def test_blend_crossover_has_deaps_distribution() -> None:
    mine, theirs = ours(variation.blend_crossover, alpha=0.25), deaps(tools.cxBlend, 0.25)
    np.testing.assert_allclose(mine[0] + mine[1], 1)
    assert stats.ks_2samp(mine[0].ravel(), theirs[0].ravel()).pvalue > LOWEST
    assert mine[0].min() >= -0.25
    assert mine[0].max() <= 1.25


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_gaussian_mutation_has_deaps_distribution(probability: float) -> None:
    deviation = np.array([0.1, 0.2, 0.5, 1.0, 2.0])
    mine = np.zeros((PAIRS, DIM))
    variation.gaussian_mutation(mine, np.random.default_rng(1), deviation=deviation, gene_probability=probability)
    with GlobalStreams(2).active():
        theirs = np.array([tools.mutGaussian([0.0] * DIM, 0.0, list(deviation), probability)[0] for _ in range(PAIRS)])
    for gene in range(DIM):
        changed = [sample[:, gene][sample[:, gene] != 0] for sample in (mine, theirs)]
        assert stats.ks_2samp(*changed).pvalue > LOWEST
        assert stats.binomtest(len(changed[0]), PAIRS, probability).pvalue > LOWEST
    # Genes are hit independently of each other.
    assert abs(np.corrcoef(mine.T) - np.eye(DIM)).max() < 5 / PAIRS**0.5


def test_the_size_of_a_parameter_is_its_root_mean_square_in_each_individual() -> None:
    genomes = np.random.default_rng(0).standard_normal((4, 13)) * np.array([[0.0], [1.0], [7.0], [1e9]])
    scale = np.linspace(0.5, 2.0, 13)
    sizes = _parameters.parameter_size(genomes, scale, GROUPS)
    for row, genome in zip(sizes, genomes, strict=True):
        for group in GROUPS:
            expected = np.sqrt(np.mean(genome[group.slice] ** 2))
            limits = 0.1 * scale[group.slice], 1000 * scale[group.slice]
            np.testing.assert_allclose(row[group.slice], np.clip(expected, *limits), rtol=1e-12)
        assert row[12] == scale[12]  # in no group


@pytest.mark.parametrize("probability", [0.3, 1.0])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_relative_mutation_changes_genes_in_proportion_to_their_parameter(probability: float, kind: Any) -> None:
    groups = (Group("a", slice(0, 2), (2,)), Group("b", slice(2, 5), (3,)))
    parents = np.tile(np.array([3.0, 4.0, 0.0, 0.0, 0.0], dtype=kind), (PAIRS, 1))
    parents[::2] *= 10
    children = parents.copy()
    variation.relative_mutation(
        children,
        np.random.default_rng(1),
        strength=0.2,
        scale=np.full(DIM, 0.5, dtype=kind),
        groups=groups,
        gene_probability=probability,
    )
    assert children.dtype == kind
    change = children - parents
    for first, size in ((0, 10 * 12.5**0.5), (1, 12.5**0.5)):
        for genes, deviation in ((slice(0, 2), 0.2 * size), (slice(2, 5), 0.2 * 0.1 * 0.5)):
            changed = change[first::2, genes]
            share = stats.binomtest(int((changed != 0).sum()), changed.size, probability)
            assert share.pvalue > LOWEST
            assert stats.kstest(changed[changed != 0] / deviation, "norm").pvalue > LOWEST


def test_relative_mutation_of_what_nothing_selects_for_stays_finite() -> None:
    genomes, generator = np.ones((3, 4), dtype=np.float32), np.random.default_rng(0)
    groups, scale = (Group("a", slice(0, 4), (4,)),), np.ones(4, dtype=np.float32)
    for _ in range(1000):
        variation.relative_mutation(genomes, generator, strength=2.0, scale=scale, groups=groups)
    assert 1000 < abs(genomes).max() < 1e6


@given(st.integers(0, 4), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_crossover_moves_genes_between_siblings_and_makes_none(pairs: int, dim: int, seed: int) -> None:
    parents = np.arange(2.0 * pairs * dim).reshape(2, pairs, dim)
    for operator, options in (
        (variation.uniform_crossover, {}),
        (variation.one_point_crossover, {}),
        (variation.two_point_crossover, {}),
        (variation.neuron_crossover, {"neurons": np.arange(dim) // 2}),
    ):
        first, second = parents.copy()
        operator(first, second, np.random.default_rng(seed), **options)
        np.testing.assert_array_equal(np.sort([first, second], axis=0), parents)


def test_crossover_works_through_views_of_one_array() -> None:
    rows = np.arange(40.0).reshape(8, 5)
    first, second = rows[0::2].copy(), rows[1::2].copy()
    variation.uniform_crossover(rows[0::2], rows[1::2], np.random.default_rng(3))
    variation.uniform_crossover(first, second, np.random.default_rng(3))
    np.testing.assert_array_equal(rows[0::2], first)
    np.testing.assert_array_equal(rows[1::2], second)


WITHIN = real_variation.Range(lambda _, genes: np.linspace(0.5, 2, 13)[genes], (np.full(13, -9.0), np.full(13, 9.0)))
OPERATORS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "uniform": (variation.uniform_crossover, {}),
    "one-point": (variation.one_point_crossover, {}),
    "two-point": (variation.two_point_crossover, {}),
    "neuron": (variation.neuron_crossover, {"neurons": np.array(NEURONS)}),
    "blend": (variation.blend_crossover, {"alpha": 0.5}),
    "gaussian": (variation.gaussian_mutation, {"deviation": np.linspace(0.5, 2, 13)}),
    "some genes": (variation.gaussian_mutation, {"deviation": np.linspace(0.5, 2, 13), "gene_probability": 0.4}),
    "relative": (variation.relative_mutation, {"strength": 0.2, "scale": np.ones(13), "groups": GROUPS}),
    "arithmetic": (real_variation.arithmetic_crossover, {}),
    "sbx": (real_variation.simulated_binary_crossover, {"eta": 4.0}),
    "uniform mutation": (real_variation.uniform_mutation, {"within": WITHIN}),
    "polynomial": (real_variation.polynomial_mutation, {"within": WITHIN, "eta": 4.0}),
    "some polynomial": (real_variation.polynomial_mutation, {"within": WITHIN, "eta": 4.0, "gene_probability": 0.4}),
    "some relative": (
        variation.relative_mutation,
        {"strength": 0.2, "scale": np.ones(13), "groups": GROUPS, "gene_probability": 0.4},
    ),
}


def varied(name: str, rows: list[int] | None, kind: Any = np.float64) -> NDArray[Any]:
    """Ten individuals after an operator on some of them, or of the pairs that their halves make."""
    operator, options = OPERATORS[name]
    people = np.random.default_rng(5).standard_normal((10, 13)).astype(kind)
    arrays = [people] if "mutation" in operator.__name__ else [people[:5], people[5:]]
    places = None if rows is None else np.array(rows, dtype=np.intp)
    operator(*arrays, np.random.default_rng(1), rows=places, **options)
    return people


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("rows", [None, [0, 1, 3], [4], []])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_how_the_arrays_are_cut_changes_no_number(
    name: str, rows: list[int] | None, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = varied(name, rows, kind)
    for block in (8, 32):  # a part of a row, and two rows
        monkeypatch.setattr(_blocks, "BLOCK", block)
        np.testing.assert_array_equal(varied(name, rows, kind), whole)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("block", [8, 32, 2**15])
def test_rows_that_are_named_are_varied_as_if_they_were_alone(
    name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_blocks, "BLOCK", block)
    operator, options = OPERATORS[name]
    people, rows = varied(name, [0, 2, 3]), [0, 2, 3]
    before = np.random.default_rng(5).standard_normal((10, 13))
    mutation = "mutation" in operator.__name__
    chosen = rows if mutation else [*rows, 5, 7, 8]
    alone = before[chosen]
    operator(*([alone] if mutation else [alone[:3], alone[3:]]), np.random.default_rng(1), **options)
    np.testing.assert_array_equal(people[chosen], alone)
    others = np.setdiff1d(np.arange(10), chosen)
    np.testing.assert_array_equal(people[others], before[others])
    assert (people[chosen] != before[chosen]).any()


def test_neurons_are_rows_of_all_parameters_of_a_module() -> None:
    assert _parameters.neurons_of(GROUPS, 13).tolist() == NEURONS
    assert _parameters.neurons_of((), 3).tolist() == [0, 1, 2]


def test_neuron_crossover_swaps_whole_neurons_independently() -> None:
    first, second = np.zeros((400, 13)), np.ones((400, 13))
    neurons = _parameters.neurons_of(GROUPS, 13)
    variation.neuron_crossover(first, second, np.random.default_rng(0), neurons=neurons)
    per_neuron = np.array([first[:, neurons == neuron].mean(axis=1) for neuron in range(5)])
    assert set(np.unique(per_neuron)) == {0.0, 1.0}
    assert len(np.unique(per_neuron, axis=1).T) == 2**5
