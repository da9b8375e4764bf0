from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.optimizers.snes import SNES, natural_rate, snes_utilities
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def strategy(**options: object) -> SNES:
    made = make("snes", **options)
    assert isinstance(made, SNES)
    return made


def begun(optimizer: SNES) -> Tensor:
    """Tell the losses of the start; the center, which is the first row."""
    rows = optimizer.ask(0)
    optimizer.tell(rows, Evaluation(torch.arange(len(rows)).to(rows), None, 1, 0))
    return rows[0]


def test_utilities_of_four_by_hand() -> None:
    """Schaul et al. 2011, table 1, for P = 4: ln 3, ln 3 - ln 2, 0, 0, of sum 1, less 1/4."""
    raw = np.array([np.log(3), np.log(3 / 2), 0, 0])
    np.testing.assert_allclose(snes_utilities(4).numpy(), raw / raw.sum() - 0.25, rtol=1e-12, atol=1e-16)


def test_the_learning_rate_by_hand() -> None:
    assert natural_rate(1) == pytest.approx(0.6)
    assert natural_rate(100) == pytest.approx((3 + np.log(100)) / 50)


def test_two_steps_by_the_papers_formulas() -> None:
    optimizer = strategy(size=10, dim=4, dtype=torch.float64, center_rate=0.7)
    center, deviation = begun(optimizer).numpy(), np.full(4, SCALE)
    utilities = snes_utilities(10).numpy()
    for step in (1, 2):
        rows = optimizer.ask(step)
        loss = np.random.default_rng(step).permutation(11).astype(np.float64)
        optimizer.tell(rows, Evaluation(torch.from_numpy(loss), None, 1, step))
        s = (rows[:10].numpy() - center) / deviation
        u = utilities[loss[:10].argsort().argsort()][:, None]
        center = center + 0.7 * deviation * (u * s).sum(axis=0)
        deviation = deviation * np.exp(natural_rate(4) / 2 * (u * (s**2 - 1)).sum(axis=0))
        np.testing.assert_allclose(optimizer.ask(step + 1)[10].numpy(), center, rtol=1e-10)
        np.testing.assert_allclose(optimizer._vectors["deviation"].numpy(), deviation, rtol=1e-10)


def test_samples_have_the_deviation_of_their_gene() -> None:
    optimizer = strategy(size=2000, dim=3, deviation=0.5)
    center = begun(optimizer)
    torch.testing.assert_close(optimizer.ask(0).std(dim=0), torch.full((3,), 0.5 * SCALE), rtol=0.06, atol=0)
    assert torch.equal(optimizer.ask(1)[2000], center)


def test_genes_without_effect_keep_their_deviation_and_others_lose_it() -> None:
    optimizer = strategy(size=32, dim=4)
    drive(optimizer, lambda rows, batch: sphere(rows[:, :2]), [0] * 150)
    deviation = optimizer._vectors["deviation"] / SCALE
    assert (deviation[:2] < 1e-3).all()
    assert (deviation[2:] > 1e-2).all()


def test_equal_losses_change_nothing() -> None:
    optimizer = strategy()
    begun(optimizer)
    drive(optimizer, lambda rows, batch: 0 * rows[:, 0], [1] * 3)
    torch.testing.assert_close(optimizer._vectors["deviation"], torch.full((6,), SCALE), rtol=1e-5, atol=0)
