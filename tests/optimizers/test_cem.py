from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.optimizers.cem import CEM
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def strategy(**options: object) -> CEM:
    made = make("cem", **options)
    assert isinstance(made, CEM)
    return made


def begun(optimizer: CEM) -> Tensor:
    """The center after the start."""
    ((rows, loss),) = drive(optimizer, sphere, (0,))
    return rows[loss.argmin()]


def test_the_distribution_is_fitted_to_the_elites() -> None:
    """In float64, with numpy: mean and unbiased variance of the three best of ten."""
    options = {"elite_share": 0.3, "center_rate": 0.9, "deviation_rate": 0.2, "noise": 0.0}
    optimizer = strategy(size=10, dim=4, dtype=torch.float64, **options)
    center, variance = begun(optimizer).numpy(), np.full(4, (0.5 * SCALE) ** 2)
    for step in (1, 2):
        rows = optimizer.ask(step)
        loss = np.random.default_rng(step).permutation(11).astype(np.float64)
        optimizer.tell(rows, Evaluation(torch.from_numpy(loss), None, 1, step))
        elites = rows[:10].numpy()[loss[:10].argsort()[:3]]
        center = center + 0.9 * (elites.mean(axis=0) - center)
        variance = variance + 0.2 * (elites.var(axis=0, ddof=1) - variance)
        np.testing.assert_allclose(optimizer.ask(step + 1)[10].numpy(), center, rtol=1e-10)
        np.testing.assert_allclose(optimizer._vectors["variance"].numpy(), variance, rtol=1e-10)


@pytest.mark.parametrize(("spent", "variance"), [(0.0, 0.04 + 0.09), (0.5, 0.04 + 0.045), (1.0, 0.04)])
def test_the_extra_variance_falls_in_a_straight_line(spent: float, variance: float) -> None:
    optimizer = strategy(size=2000, dim=3, deviation=0.2, noise=0.3)
    begun(optimizer)
    optimizer.spent = spent
    expected = torch.full((3,), variance * SCALE**2)
    torch.testing.assert_close(optimizer.ask(0)[:2000].var(dim=0), expected, rtol=0.15, atol=0)


def test_failed_rows_are_no_elites() -> None:
    optimizer = strategy(size=10, elite_share=0.5, center_rate=1.0)
    center = begun(optimizer)
    loss = torch.full((10,), torch.inf)
    rows = optimizer.ask(0)
    optimizer.tell(rows, Evaluation(loss, None, 1, 0))
    assert torch.equal(optimizer._center, center)
    rows = optimizer.ask(0)
    loss[[2, 7]] = torch.tensor([1.0, 2.0])
    optimizer.tell(rows, Evaluation(loss, None, 1, 0))
    torch.testing.assert_close(optimizer._center, (rows[2] + rows[7]) / 2)


def test_one_elite_alone_tells_nothing_about_deviations() -> None:
    optimizer = strategy(size=10, elite_share=0.1)
    begun(optimizer)
    rows = optimizer.ask(0)
    optimizer.tell(rows, Evaluation(sphere(rows), None, 1, 0))
    torch.testing.assert_close(optimizer._center, rows[sphere(rows).argmin()])
    torch.testing.assert_close(optimizer._vectors["variance"], torch.full((6,), (0.5 * SCALE) ** 2))
