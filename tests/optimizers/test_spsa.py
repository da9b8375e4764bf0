from __future__ import annotations

import numpy as np
import pytest
import torch

from gfopt.optimizers.spsa import SPSA
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def search(**options: object) -> SPSA:
    made = make("spsa", **{"size": 1, **options})
    assert isinstance(made, SPSA)
    return made


def test_steps_by_the_papers_formulas() -> None:
    """In float64, with numpy: gains, two-sided differences, and the mean slope so far as their unit."""
    optimizer = search(dim=4, dtype=torch.float64, first_step=0.3, stability=5.0)
    ((rows, _),) = drive(optimizer, sphere, (0,))
    point, steepness = rows[0].numpy(), []
    for k in range(35):
        rows = optimizer.ask(0)
        reach = 0.02 / (k + 1) ** 0.101
        signs = np.sign(rows[0].numpy() - point)
        np.testing.assert_allclose(rows.numpy(), np.stack([point + s * reach * SCALE * signs for s in (1, -1)]))
        loss = sphere(rows)
        optimizer.tell(rows, Evaluation(loss, None, 1, 0))
        slope = float(loss[0] - loss[1]) / (2 * reach)
        if k < 30:
            steepness.append(abs(slope))
        gain = 0.3 * 6**0.602 / np.mean(steepness) / (5 + k + 1) ** 0.602
        point = point - gain * slope * SCALE * signs
        np.testing.assert_allclose(optimizer._points[0].numpy(), point, rtol=1e-9)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    one, other = (drive(search(), lambda r, b, f=f: f * sphere(r, b), range(20))[-1][0] for f in (1.0, 1024.0))
    torch.testing.assert_close(one, other)


def test_signs_are_fair_and_independent() -> None:
    optimizer = search(dim=4000)
    drive(optimizer, sphere, (0,))
    ahead = (optimizer.ask(0)[0] > optimizer._points[0]).float()
    assert float(ahead.mean()) == pytest.approx(0.5, abs=0.04)  # 5 standard errors


def test_a_pair_with_a_failed_row_moves_nothing() -> None:
    optimizer = search(size=2)
    drive(optimizer, sphere, (0,))
    before, rows = optimizer._points.clone(), optimizer.ask(0)
    optimizer.tell(rows, Evaluation(torch.tensor([torch.inf, 1.0, 2.0, 3.0]), None, 1, 0))
    moved = (optimizer._points != before).all(dim=1)
    assert moved.tolist() == [False, True]


def test_a_full_step_has_both_rows_of_each_search() -> None:
    optimizer = search(size=3)
    assert [len(rows) for rows, _ in drive(optimizer, sphere, (0, 1))] == [3, 6]
    assert SPSA.evaluations_per_step(optimizer.options) == 6
