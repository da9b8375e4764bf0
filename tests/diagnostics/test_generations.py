import math

import numpy as np
import pytest
import torch

from gfopt.diagnostics import (
    cosine,
    diversity,
    es_gradient_cosine,
    generation_change,
    gradient_cosine,
    improving_share,
    nearest_parents,
    selection_intensity,
    step_size,
)
from gfopt.errors import NotDifferentiableError, ShapeError
from gfopt.problems import FunctionProblem, SupervisedProblem

MEMBERS, GENES = 60, 200


@pytest.fixture
def scale():
    return torch.logspace(-2, 1, GENES, dtype=torch.float64)


@pytest.fixture
def population(scale):
    """Drawn independently, every gene with its scale."""
    return torch.randn(MEMBERS, GENES, dtype=torch.float64) * scale


def test_diversity_of_independent_members_is_one(population, scale):
    assert diversity(population, scale) == pytest.approx(1, abs=0.03)
    assert diversity(3 * population + 7, 3 * scale) == pytest.approx(diversity(population, scale))
    # A copy of one member, up to the rounding of the mean.
    assert diversity(population[:1].expand(5, -1), scale) == pytest.approx(0, abs=1e-12)


def test_diversity_is_the_formula(population, scale):
    rows = population.numpy() / scale.numpy()
    expected = np.sqrt(((rows - rows.mean(0)) ** 2).mean(1)).mean()
    assert diversity(population, scale) == pytest.approx(expected, rel=1e-12)


def test_step_size_is_in_units_of_scale(population, scale):
    moved = population + 0.2 * scale * torch.randn(MEMBERS, GENES, dtype=torch.float64)
    assert step_size(population, moved, scale) == pytest.approx(0.2, rel=0.05)
    assert step_size(population, population + 0.3 * scale, scale) == pytest.approx(0.3)


@pytest.mark.parametrize("crossed", [False, True])
def test_the_nearest_member_is_a_parent(population, scale, crossed):
    parents = torch.randint(MEMBERS, (2, 100))
    mask = torch.rand(100, GENES) < (0.5 if crossed else 1.0)
    children = torch.where(mask, population[parents[0]], population[parents[1]])
    children = children + 0.2 * scale * torch.randn(100, GENES, dtype=torch.float64)
    found = nearest_parents(population, children, scale)
    right = (found == parents[0]) | (found == parents[1]) if crossed else found == parents[0]
    assert right.all()


def test_particles_are_their_own_parents(population, scale):
    moved = population + 0.3 * scale * torch.randn(MEMBERS, GENES, dtype=torch.float64)
    losses = torch.randn(MEMBERS)
    change = generation_change(population, losses, moved, losses - 1, scale)
    assert change.selection_intensity == pytest.approx(0, abs=1e-9)
    assert change.parents_represented == 1
    assert change.improving_share == 1
    assert change.step_size == pytest.approx(0.3, rel=0.05)


def test_a_takeover(population, scale):
    losses = torch.arange(MEMBERS, dtype=torch.float64)
    children = population[0] + 0.01 * scale * torch.randn(MEMBERS, GENES, dtype=torch.float64)
    change = generation_change(population, losses, children, losses, scale)
    assert change.parents_represented == 1 / MEMBERS
    assert change.selection_intensity == pytest.approx(float(losses.mean() / losses.std(correction=0)))
    assert change.improving_share == 0
    assert change.diversity == pytest.approx(0.01, rel=0.1)


# Mühlenbein & Schlierkamp-Voosen 1993, table 1, for truncation: 50 % 0.80, 20 % 1.40, 10 % 1.76; tournaments of t have
# the expected largest of t standard normal numbers: 1 / sqrt(pi) for two, 1.163 for five.
@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.80), (0.2, 1.40), (0.1, 1.76)])
def test_intensity_of_truncation(share, expected):
    losses = torch.randn(20_000, dtype=torch.float64)
    best = losses.argsort()[: int(share * len(losses))]
    parents = best[torch.randint(len(best), (20_000,))]
    assert selection_intensity(losses, parents) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("size", "expected"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (5, 1.163)])
def test_intensity_of_tournaments(size, expected):
    losses = torch.randn(20_000, dtype=torch.float64)
    entrants = torch.randint(len(losses), (20_000, size))
    parents = entrants.gather(1, losses[entrants].argmin(1, keepdim=True))[:, 0]
    assert selection_intensity(losses, parents) == pytest.approx(expected, abs=0.03)


def test_failed_members_do_not_count():
    losses = torch.tensor([1.0, 2.0, 3.0, math.inf, math.nan])
    assert selection_intensity(losses, torch.tensor([0, 0, 3])) == pytest.approx(1 / math.sqrt(2 / 3))
    assert math.isnan(selection_intensity(torch.ones(4), torch.tensor([0])))
    assert math.isnan(selection_intensity(torch.full((3,), math.inf), torch.tensor([0])))
    # No finite parent is left: there is nothing that was selected.
    assert math.isnan(selection_intensity(losses, torch.tensor([3])))


def test_improving_share():
    losses = torch.tensor([1.0, 2.0, 3.0, math.nan, math.inf])
    assert improving_share(losses, 2.5) == 2 / 5
    assert improving_share(losses, torch.tensor([1.0, 3.0, 4.0, 5.0, math.inf])) == 2 / 5


def test_the_cosine_of_a_step_of_gradient_descent():
    problem = SupervisedProblem({"kind": "mlp", "hidden": [4]}, "iris", device="cpu", batch_size=16, dtype="float64")
    start = problem.initial(1, 0)[0]
    gradient = problem.evaluate(start[None], 3, seed=5, gradient=True).gradient[0]
    assert gradient_cosine(problem, start, start - 0.1 * gradient, step=3, seed=5) == pytest.approx(1)
    assert gradient_cosine(problem, start, start + 0.1 * gradient, step=3, seed=5) == pytest.approx(-1)
    assert gradient_cosine(problem, start, start - 0.1 * gradient, step=4, seed=5) < 0.999  # another batch
    assert math.isnan(gradient_cosine(problem, start, start))


def test_a_problem_without_gradient_is_refused():
    problem = FunctionProblem(lambda x: x.detach().square().sum(1), 3, differentiable=False)
    with pytest.raises(NotDifferentiableError):
        gradient_cosine(problem, torch.ones(3), torch.zeros(3))


def test_cosine_at_the_edges():
    x = torch.tensor([1e-30, 0.0])
    assert cosine(x, torch.tensor([1e30, 1e30])) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(cosine(x, torch.zeros(2)))
    assert math.isnan(cosine(x, torch.tensor([math.inf, 1.0])))


@pytest.mark.parametrize("pairs", [8, 32, 128, 512])
def test_an_evolution_strategys_estimate_has_the_expected_cosine(pairs):
    dim, slope = 1210, torch.randn(1210, dtype=torch.float64)
    found = []
    for _ in range(5):
        noise = torch.randn(pairs, dim, dtype=torch.float64)
        difference = (noise @ slope) - (-noise @ slope)  # mirrored evaluations of a linear function
        found.append(cosine(difference @ noise, slope))
    assert np.mean(found) == pytest.approx(es_gradient_cosine(pairs, dim), rel=0.15)


def test_reference_of_the_evolution_strategy():
    # Other code's table for n = 1210.
    for pairs, expected in ((8, 0.081), (32, 0.160), (128, 0.309), (512, 0.545)):
        assert es_gradient_cosine(pairs, 1210) == pytest.approx(expected, abs=6e-4)


def test_shapes_that_do_not_belong_together_are_refused(population, scale):
    losses = torch.zeros(MEMBERS)
    with pytest.raises(ShapeError, match=r"before: expected shape \(P, 200\)"):
        step_size(population[:, :3], population, scale)
    with pytest.raises(ShapeError, match="as before"):
        step_size(population, population[:3], scale)
    with pytest.raises(ShapeError, match=r"population: expected shape \(P, 200\) with P >= 1"):
        diversity(population[:0], scale)
    with pytest.raises(ShapeError, match=r"after_losses: expected shape \(60,\)"):
        generation_change(population, losses, population, losses[:3], scale)
