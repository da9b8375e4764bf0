import math

import numpy as np
import pytest
import scipy.stats
import torch

from gfopt.data import from_arrays
from gfopt.diagnostics import minibatch_rank_correlation, rank_correlation, search_blindness
from gfopt.errors import ConfigError, ShapeError
from gfopt.problems import FunctionProblem, SupervisedProblem


@pytest.fixture(scope="module")
def noise():
    """Data that mean nothing: what matters is what the first layer does to the loss."""
    stream = np.random.default_rng(0)
    return from_arrays(stream.standard_normal((160, 32)), stream.integers(0, 10, 160))


def deep(noise, activation, dtype="float64", **options):
    spec = {"kind": "mlp", "hidden": [32] * 9, "activation": activation, **options}
    return SupervisedProblem(spec, noise, device="cpu", dtype=dtype)


def spread_of_first(problem):
    rows = search_blindness(problem, problem.initial(1, 0)[0])
    assert [row.layer for row in rows] == list(range(1, 11))
    assert rows[-1].relative_spread == 1.0
    return rows[0]


@pytest.mark.parametrize(
    ("low", "high", "options"),
    [
        # Other code measured, for ten layers of 32: 1e-8, 1.3, 0.7 and 1.4.
        (1e-9, 1e-6, {"activation": "sigmoid"}),
        (0.3, 4.0, {"activation": "tanh", "init": "glorot"}),
        (0.2, 3.0, {"activation": "relu", "init": "he"}),
        (0.2, 4.0, {"activation": "sigmoid", "norm": "batch"}),
        (1e-5, 1e-2, {"activation": "sigmoid", "norm": "layer"}),  # LN rescues backprop, the search not
    ],
)
def test_spread_of_the_first_layer_against_the_last(noise, low, high, options):
    first = spread_of_first(deep(noise, **options))
    assert low < first.relative_spread < high
    assert first.tie_share == 0


def test_in_single_precision_selection_is_blind(noise):
    first = spread_of_first(deep(noise, "sigmoid", dtype="float32"))
    assert first.distinct <= 3  # of 64; other code found 2
    assert first.tie_share > 0.9


def test_only_one_layer_moves_at_a_time():
    """`sum_i i x_i` over "layers" of one number each: the spread is the coefficient times sigma times scale."""
    problem = FunctionProblem(lambda x: 3 * x[:, 0] + x[:, 1], 2, dtype="float64", bounds=([-1, -6], [1, 6]))
    from gfopt.types import Group

    problem.groups = (Group("a.weight", slice(0, 1), (1,)), Group("b.weight", slice(1, 2), (1,)))
    rows = search_blindness(problem, torch.zeros(2, dtype=torch.float64), perturbations=4000, sigma=0.5)
    assert [row.name for row in rows] == ["a", "b"]
    for row, expected in zip(rows, (3 * 2, 12), strict=True):
        assert row.fitness_spread == pytest.approx(0.5 * expected / math.sqrt(12), rel=0.05)
    assert rows[0].relative_spread == pytest.approx(0.5, rel=0.06)


def test_a_function_is_one_layer_and_infinite_losses_do_not_count():
    problem = FunctionProblem(lambda x: torch.where(x[:, 0] > 0, math.inf, torch.sign(x[:, 0] + 0.1)), 2, name="cliff")
    row = search_blindness(problem, torch.zeros(2), perturbations=100)[0]
    assert row.name == "x"
    assert row.distinct == 2
    assert 0.9 < row.tie_share < 1
    flat = FunctionProblem(lambda x: 0 * x[:, 0], 2)
    row = search_blindness(flat, torch.zeros(2))[0]
    assert (row.fitness_spread, row.tie_share) == (0.0, 63 / 64)
    assert math.isnan(row.relative_spread)
    broken = FunctionProblem(lambda x: x[:, 0] + math.inf, 2, differentiable=False)
    assert math.isnan(search_blindness(broken, torch.zeros(2))[0].tie_share)


def test_same_seed_same_perturbations():
    problem = FunctionProblem.named("sphere", 3)
    first, again, other = (search_blindness(problem, torch.ones(3), seed=s)[0].fitness_spread for s in (1, 1, 2))
    assert first == again != other


def test_wrong_arguments_are_refused():
    problem = FunctionProblem.named("sphere", 3)
    with pytest.raises(ConfigError, match="perturbations: expected at least 2"):
        search_blindness(problem, torch.ones(3), perturbations=1)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="sigma: expected a positive number"):
            search_blindness(problem, torch.ones(3), sigma=sigma)
    with pytest.raises(ShapeError):
        search_blindness(problem, torch.ones(4))


def test_rank_correlation_is_that_of_scipy():
    x = torch.tensor([3.0, 1.0, 2.0, 2.0, 9.0, 4.0])
    y = torch.tensor([1.0, 1.0, 5.0, 4.0, 7.0, 2.0])
    assert rank_correlation(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert rank_correlation(x, x.exp()) == pytest.approx(1.0)
    assert rank_correlation(x, -x) == pytest.approx(-1.0)


def test_failed_members_rank_last():
    x = torch.tensor([1.0, 2.0, 3.0, math.nan, math.inf])
    y = torch.tensor([1.0, 2.0, 3.0, 8.0, 8.0])
    assert rank_correlation(x, y) == pytest.approx(1.0)
    assert math.isnan(rank_correlation(x, torch.ones(5)))


def test_larger_minibatches_rank_more_truly():
    spec, found = {"kind": "mlp", "hidden": [8]}, []
    for size in (4, 32, 512):
        problem = SupervisedProblem(spec, "digits", device="cpu", batch_size=size)
        population = problem.initial(1, 0) + 0.1 * problem.scale * torch.randn(48, problem.dim)
        found.append(np.mean([minibatch_rank_correlation(problem, population, step=s) for s in range(10)]))
    assert found[0] < found[1] < found[2]
    assert found[0] < 0.6
    assert found[2] > 0.85


def test_a_full_batch_ranks_as_itself():
    problem = SupervisedProblem({"kind": "mlp", "hidden": [4]}, "iris", device="cpu")
    assert minibatch_rank_correlation(problem, problem.initial(16, 0)) == pytest.approx(1.0)
