from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from gfopt.draws import Draws
from gfopt.errors import ConfigError
from gfopt.optimizers import _breeding as breeding
from gfopt.optimizers import real_variation, variation
from gfopt.optimizers._parameters import neurons_of
from gfopt.optimizers.ga import GeneticAlgorithm, GeneticAlgorithmOptions
from gfopt.testing.driving import drive, make, rugged, sphere
from gfopt.types import Evaluation, Group

PAIRS, DIM = 9, 24
GROUPS = (Group("a.weight", slice(0, 12), (4, 3)), Group("a.bias", slice(12, 16), (4,)), Group("s", slice(16, 17), ()))
SCALE = torch.linspace(0.1, 2, DIM, dtype=torch.float64)


class Echo:
    """Stands for a numpy generator; gives the numbers that `Draws` gives, in the form that is asked for."""

    def __init__(self, draws: Draws) -> None:
        self.draws, self.cuts = draws, []

    def bytes(self, count: int) -> bytes:
        coins = self.draws.coins_(torch.empty(self.coins, dtype=torch.bool))
        return np.packbits(coins.numpy()).tobytes()[:count]

    def integers(self, low: int, high: int | None = None, size: Any = None) -> np.ndarray:
        low, high = (0, low) if high is None else (low, high)
        if not self.cuts:
            self.cuts = list(self.draws.integers(2**32, PAIRS, self.points).split(1, dim=1))
        return low + (self.cuts.pop(0).numpy() * (high - low) >> 32)

    def random(self, shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
        return self.draws.uniform_(torch.empty(shape, dtype=torch.float64)).numpy()

    def standard_normal(self, shape: tuple[int, ...] | int, dtype: Any = np.float64) -> np.ndarray:
        numbers = self.draws.normal_(torch.empty(2 * PAIRS, DIM, dtype=torch.float64)).numpy()
        return numbers if shape == numbers.shape else numbers[self.mask]


def population(count: int = 2 * PAIRS, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(2), dtype=dtype)


@pytest.mark.parametrize(("kind", "operator", "coins"), [
    ("uniform", variation.uniform_crossover, PAIRS * DIM),
    ("one-point", variation.one_point_crossover, 0),
    ("two-point", variation.two_point_crossover, 0),
    ("neuron", lambda a, b, g: variation.neuron_crossover(a, b, g, neurons=neurons_of(GROUPS, DIM)),
     PAIRS * (4 + 1 + DIM - 17)),
    ("blend", lambda a, b, g: variation.blend_crossover(a, b, g, alpha=0.4), 0),
    ("arithmetic", real_variation.arithmetic_crossover, 0),
    ("sbx", lambda a, b, g: real_variation.simulated_binary_crossover(a, b, g, eta=15.0), 0),
])  # fmt: skip
def test_the_same_numbers_give_the_children_of_deap_ga(kind: str, operator: Callable[..., None], coins: int) -> None:
    genomes, parents = population(), torch.randperm(2 * PAIRS, generator=torch.Generator().manual_seed(1))
    options = GeneticAlgorithmOptions(crossover=kind, blend_alpha=0.4)
    offspring = torch.empty_like(genomes)
    breeding.Crossover(options, GROUPS, genomes, Draws(7))(genomes, parents, None, offspring)

    chosen = genomes[parents].numpy()
    one, other = chosen[::2].copy(), chosen[1::2].copy()
    echo = Echo(Draws(7))
    echo.coins, echo.points = coins, 2 if kind == "two-point" else 1
    operator(one, other, echo)
    np.testing.assert_allclose(offspring[::2].numpy(), one, rtol=1e-13)
    np.testing.assert_allclose(offspring[1::2].numpy(), other, rtol=1e-13)
    assert not np.array_equal(one, chosen[::2])


@pytest.mark.parametrize("scale", ["initial", "relative"])
@pytest.mark.parametrize("gene_probability", [1.0, 0.3])
def test_the_same_numbers_give_the_mutants_of_deap_ga(scale: str, gene_probability: float) -> None:
    genomes = population()
    options = GeneticAlgorithmOptions(mutation_scale=scale, gene_probability=gene_probability, mutation_strength=0.3)
    mutants = genomes.clone()
    breeding.Mutation(options, GROUPS, SCALE, Draws(7))(mutants, None)

    expected, echo = genomes.numpy().copy(), Echo(Draws(7))
    echo.mask = Draws(7).uniform_(torch.empty(2 * PAIRS, DIM, dtype=torch.float64)).numpy() < gene_probability
    if scale == "initial":
        variation.gaussian_mutation(
            expected, echo, deviation=0.3 * SCALE.numpy(), gene_probability=gene_probability
        )  # fmt: skip
    else:
        variation.relative_mutation(
            expected, echo, strength=0.3, scale=SCALE.numpy(), groups=GROUPS, gene_probability=gene_probability
        )
    np.testing.assert_allclose(mutants.numpy(), expected, rtol=1e-13)
    assert (mutants != genomes).double().mean() == pytest.approx(gene_probability, abs=0.07)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_swapping_is_exact(dtype: torch.dtype) -> None:
    one, other = population(5, dtype), 1e-30 * population(5, dtype).flip(0)
    one[0, 0], other[0, 1], one[1, 0] = torch.inf, -0.0, torch.nan
    mask = torch.rand(5, DIM, generator=torch.Generator().manual_seed(0)) < 0.5
    first, second = torch.empty_like(one), torch.empty_like(one)
    breeding.swap(one, other, mask, first, second)
    torch.testing.assert_close(first, torch.where(mask, other, one), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(second, torch.where(mask, one, other), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("options", "share"), [
    # Chances of the four individuals, best first, to be chosen, as DEAP's definitions give them.
    ({"selection": "tournament", "tournament_size": 2}, [7 / 16, 5 / 16, 3 / 16, 1 / 16]),
    ({"selection": "tournament", "tournament_size": 1}, [1 / 4] * 4),
    ({"selection": "roulette"}, [4 / 10, 3 / 10, 2 / 10, 1 / 10]),
    ({"selection": "truncation", "truncation_share": 0.5}, [1 / 2, 1 / 2, 0, 0]),
    ({"selection": "rank", "rank_pressure": 2.0}, [3 / 6, 2 / 6, 1 / 6, 0]),
    ({"selection": "rank", "rank_pressure": 1.3}, [1.3 / 4, 1.1 / 4, 0.9 / 4, 0.7 / 4]),
])  # fmt: skip
def test_parents_are_chosen_with_the_probabilities_of_the_definition(
    options: dict[str, Any], share: list[float]
) -> None:
    loss = torch.tensor([2.0, torch.inf, 0.5, 1.0])
    parents = breeding.select(loss, 20_000, GeneticAlgorithmOptions(**options), Draws(3))
    counts = torch.bincount(parents, minlength=4)[[2, 3, 0, 1]].numpy()
    expected = np.array(share) * 20_000
    assert (counts[expected == 0] == 0).all()
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_universal_sampling_gives_each_its_share_in_random_order() -> None:
    loss = torch.tensor([2.0, torch.inf, 0.5, 1.0])
    parents = breeding.select(loss, 50, GeneticAlgorithmOptions(selection="sus"), Draws(3))
    assert torch.bincount(parents, minlength=4).tolist() == [10, 5, 20, 15]
    assert (parents.diff() != 0).sum() > 20


def test_elites_survive_and_are_not_asked_again_on_the_same_batch() -> None:
    optimizer = make("ga", size=8, elites=3)
    assert isinstance(optimizer, GeneticAlgorithm)
    rows = optimizer.ask(0).clone()
    loss = torch.tensor([5.0, 1, 4, 0, 6, 7, 2, 3])
    optimizer.tell(rows, Evaluation(loss, None, 1, 0))
    assert len(optimizer.ask(0)) == 5
    everything = optimizer.ask(1)
    assert len(everything) == 8
    assert torch.equal(everything[:3], rows[[3, 1, 6]])


def test_individuals_that_nothing_changed_keep_their_loss() -> None:
    optimizer = make("ga", size=40, crossover_probability=0.3, mutation_probability=0.2, elites=0)
    trace = drive(optimizer, rugged, [0] * 6)
    sizes = [len(rows) for rows, _ in trace[1:]]
    assert min(sizes) > 0
    assert max(sizes) < 30  # 1 - 0.7 * 0.8 = 44 % of 40 have a change at all
    assert isinstance(optimizer, GeneticAlgorithm)
    torch.testing.assert_close(optimizer._loss, rugged(optimizer._genomes))


@pytest.mark.parametrize("options", [
    {"crossover": "one-point"}, {"crossover": "neuron", "crossover_probability": 0.5},
    {"gene_probability": 0.3}, {"mutation_probability": 0.5, "crossover": "two-point"},
])  # fmt: skip
def test_chunks_of_rows_do_not_change_a_generation(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drive(make("ga", size=13, **options), rugged, (0, 0, 0))
    monkeypatch.setattr(breeding, "_CHUNK", 24)  # four rows at a time
    parts = drive(make("ga", size=13, **options), rugged, (0, 0, 0))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(whole, parts, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"crossover": "two-point", "crossover_probability": 0.5}])
def test_the_compiled_generation_is_the_readable_one(options: dict[str, Any], dtype: torch.dtype) -> None:
    generations = []
    for one_pass in (True, False):
        start = population(12 * 30, dtype).view(12, -1)
        optimizer = make("ga", size=12, dim=start.shape[1], dtype=dtype, start=start, **options)
        assert isinstance(optimizer, GeneticAlgorithm)
        assert optimizer._one_pass
        optimizer._one_pass = one_pass
        drive(optimizer, rugged, (0,))
        generations.append(optimizer.ask(1))
    torch.testing.assert_close(*generations, rtol=1e-6, atol=1e-7)
    assert not torch.equal(generations[0][3], generations[0][4])


@pytest.mark.parametrize("where", [0, 511, 512, 3000])
def test_one_gene_is_difference_enough(where: int) -> None:
    genomes = torch.zeros(4, 3001)
    rows = genomes[[1, 3]].clone()
    rows[1, where] = 1e-30
    assert breeding.differ(rows, genomes, torch.tensor([1, 3])).tolist() == [False, True]


@pytest.mark.parametrize("crossover", ["uniform", "one-point", "two-point", "neuron", "blend", "sbx", "arithmetic"])
@pytest.mark.parametrize("selection", ["tournament", "roulette", "rank", "truncation", "sus"])
def test_every_combination_improves(crossover: str, selection: str) -> None:
    optimizer = make("ga", size=20, crossover=crossover, selection=selection, mutation_scale="relative")
    trace = drive(optimizer, sphere, [0] * 30)
    assert min(float(loss.min()) for _, loss in trace) < 0.5 * float(trace[0][1].min())


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="elites: expected less than the population of 4, got 4"):
        make("ga", size=4, elites=4)


@pytest.mark.parametrize(("option", "given", "message"), [
    ("mutation", "polynomial", "mutation: expected one of 'gaussian', got 'polynomial'. `deap-ga` has it."),
    ("selection", "tools.selBest", "selection: expected one of 'tournament', 'roulette', 'rank', 'truncation' or "
                                   "'sus', got 'tools.selBest'. `deap-ga` has it."),
    ("crossover", "cloning", "or 'arithmetic', got 'cloning'. The default is 'uniform'."),
])  # fmt: skip
def test_what_only_deap_ga_has_is_refused_with_its_name(option: str, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("ga", **{option: given})
