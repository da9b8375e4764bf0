from __future__ import annotations

import numpy as np
import pytest
import torch

from gfopt.optimizers.pgpe import PGPE
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def strategy(**options: object) -> PGPE:
    made = make("pgpe", **options)
    assert isinstance(made, PGPE)
    return made


def test_two_steps_by_the_papers_formulas() -> None:
    """In float64, with numpy: centered ranks, both sums over the pairs, plain gradient steps."""
    options = {"rule": "sgd", "betas": (0.0, 0.999), "learning_rate": 0.3, "deviation_rate": 0.4}
    optimizer = strategy(size=10, dim=4, dtype=torch.float64, **options)
    ((rows, loss),) = drive(optimizer, sphere, (0,))
    center, deviation = rows[loss.argmin()].numpy(), np.full(4, 0.5 * SCALE)
    for step in (1, 2):
        rows = optimizer.ask(step)
        loss = np.random.default_rng(step).permutation(11).astype(np.float64)
        optimizer.tell(rows, Evaluation(torch.from_numpy(loss), None, 1, step))
        utility = 0.5 - loss[:10].argsort().argsort() / 9
        offset = rows[:5].numpy() - center
        np.testing.assert_allclose(rows[5:10].numpy(), center - offset, rtol=1e-12)
        ahead, behind = utility[:5, None], utility[5:, None]
        growth = 0.4 / 10 * ((ahead + behind) * (offset**2 - deviation**2) / deviation**2).sum(axis=0)
        center = center + 0.3 / 10 * ((ahead - behind) * offset).sum(axis=0)
        deviation = deviation * (1 + growth)
        np.testing.assert_allclose(optimizer.ask(step + 1)[10].numpy(), center, rtol=1e-10)
        np.testing.assert_allclose(optimizer._vectors["deviation"].numpy(), deviation, rtol=1e-10)


def test_a_deviation_changes_by_no_more_than_it_may() -> None:
    optimizer = strategy(size=20, deviation_rate=1e6, deviation_change=0.1)
    drive(optimizer, sphere, (0, 0))
    change = optimizer._vectors["deviation"] / (0.5 * SCALE)
    assert ((change - 1).abs() < 0.1001).all()
    assert float((change - 1).abs().max()) == pytest.approx(0.1, rel=1e-4)


def test_no_step_is_faster_than_the_limit() -> None:
    optimizer = strategy(max_speed=0.2, learning_rate=0.15)
    (before,) = drive(optimizer, sphere, (0,))
    center, lengths = before[0][before[1].argmin()], []
    for batch in range(1, 12):
        deviation = optimizer._vectors["deviation"].clone()
        drive(optimizer, sphere, (batch,))
        step = (optimizer._center - center) / deviation
        lengths.append(float(step.square().mean().sqrt()))
        center = optimizer._center.clone()
    assert max(lengths) == pytest.approx(0.2, rel=1e-4)


def test_genes_without_effect_keep_their_deviation_and_others_lose_it() -> None:
    optimizer = strategy(size=32, dim=4)
    drive(optimizer, lambda rows, batch: sphere(rows[:, :2]), [0] * 200)
    deviation = optimizer._vectors["deviation"] / (0.5 * SCALE)
    assert (deviation[:2] < 0.1 * deviation[2:].min()).all()


@pytest.mark.parametrize("rule", ["clipup", "adam", "nadam"])
def test_convergence_with_each_rule(rule: str) -> None:
    optimizer = strategy(size=32, dim=10, rule=rule)
    assert min(float(loss.min()) for _, loss in drive(optimizer, sphere, [0] * 200)) < 1e-3
