from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from gfopt.errors import ConfigError
from gfopt.optimizers.snes import snes_utilities
from gfopt.optimizers.xnes import XNES, exponential_change, exponential_rate
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def strategy(**options: object) -> XNES:
    made = make("xnes", **options)
    assert isinstance(made, XNES)
    return made


def test_the_learning_rate_by_hand() -> None:
    assert exponential_rate(1) == pytest.approx(1.8)
    assert exponential_rate(4) == pytest.approx((9 + 3 * np.log(4)) / 40)


@pytest.mark.parametrize(("population", "dim"), [(3, 7), (20, 7), (7, 7)])
def test_the_exponential_in_the_span_of_the_samples_is_scipys(population: int, dim: int) -> None:
    stream = np.random.default_rng(0)
    transform, noise = stream.normal(size=(dim, dim)), stream.normal(size=(population, dim))
    weight = 0.3 * stream.normal(size=population)
    expected = transform @ expm(noise.T @ (weight[:, None] * noise)) - transform
    found = exponential_change(torch.from_numpy(transform), torch.from_numpy(noise), torch.from_numpy(weight))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dim", [3, 14])
def test_two_steps_by_the_papers_formulas(dim: int) -> None:
    """Glasmachers et al. 2010, algorithm 1, with separate size and shape, in float64 with numpy and scipy."""
    rates = {"center_rate": 0.7, "size_rate": 0.2, "shape_rate": 0.1}
    optimizer = strategy(size=10, dim=dim, dtype=torch.float64, **rates)
    ((rows, loss),) = drive(optimizer, sphere, (0,))
    center, sigma, shape = rows[loss.argmin()].numpy(), SCALE, np.eye(dim)
    utilities = snes_utilities(10).numpy()
    for step in (1, 2):
        rows = optimizer.ask(step)
        loss = np.random.default_rng(step).permutation(11).astype(np.float64)
        optimizer.tell(rows, Evaluation(torch.from_numpy(loss), None, 1, step))
        noise = np.linalg.solve(sigma * shape, (rows[:10].numpy() - center).T).T
        u = utilities[loss[:10].argsort().argsort()]
        whole = sum(u[i] * (np.outer(noise[i], noise[i]) - np.eye(dim)) for i in range(10))
        size = np.trace(whole) / dim
        center = center + 0.7 * sigma * shape @ (u @ noise)
        sigma = sigma * np.exp(0.2 / 2 * size)
        shape = shape @ expm(0.1 / 2 * (whole - size * np.eye(dim)))
        np.testing.assert_allclose(optimizer.ask(step + 1)[10].numpy(), center, rtol=1e-9)
        np.testing.assert_allclose(
            SCALE * optimizer._vectors["transform"].numpy(), sigma * shape, rtol=1e-8, atol=1e-12
        )


def test_it_learns_the_shape_of_a_rotated_valley() -> None:
    """Two genes that must move together: what a deviation for each gene cannot express."""
    optimizer = strategy(size=24, dim=2, dtype=torch.float64)
    valley = drive(
        optimizer, lambda rows, _: (rows[:, 0] + rows[:, 1]).square() + 1e-4 * rows.square().sum(dim=1), [0] * 60
    )
    transform = optimizer._vectors["transform"]
    covariance = transform @ transform.mT
    correlation = covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]).sqrt()
    assert float(correlation) < -0.99
    assert float(valley[-1][1].min()) < 1e-6


def test_too_many_genes_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 4096 parameters, got 5000"):
        strategy(dim=5000)
