from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gfopt.optimizers.simulated_annealing import SimulatedAnnealing
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def chains(**options: object) -> SimulatedAnnealing:
    made = make("simulated-annealing", **options)
    assert isinstance(made, SimulatedAnnealing)
    return made


def told(optimizer: SimulatedAnnealing, loss: Tensor, batch: int = 0) -> Tensor:
    rows = optimizer.ask(batch)
    optimizer.tell(rows, Evaluation(loss, None, 1, batch))
    return rows


def calibrated(**options: object) -> SimulatedAnnealing:
    """3000 chains at a loss of 0, whose first 30 proposals all were 2 worse."""
    optimizer = chains(size=3000, dim=1, **options)
    told(optimizer, torch.zeros(3000))
    optimizer.spent = 1.0
    for _ in range(30):
        told(optimizer, torch.full((3000,), 2.0))
    return optimizer


@pytest.mark.parametrize(("spent", "temperature"), [(0.0, 0.5), (0.5, 0.05), (1.0, 0.005)])
def test_steps_for_the_worse_are_taken_with_metropolis_probability(spent: float, temperature: float) -> None:
    """The unit is the mean change of 2: a rise of 1 at half of it is taken with probability exp(-1 / 1)."""
    optimizer = calibrated(temperature=0.5, last_temperature=0.005)
    before = optimizer._points.clone()
    optimizer.spent = spent
    told(optimizer, torch.ones(3000))
    taken = float((optimizer._points != before).float().mean())
    expected = math.exp(-1 / (2 * temperature))
    assert taken == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 3000) + 1e-9)


def test_better_and_equal_steps_are_always_taken_and_failed_ones_never() -> None:
    optimizer = calibrated()
    optimizer.spent = 0.0
    rows = told(optimizer, torch.cat([torch.full((1000,), -1.0), torch.zeros(1000), torch.full((1000,), torch.inf)]))
    same = (optimizer._points == rows).squeeze(1)
    assert same[:2000].all()
    assert not same[2000:].any()


def test_a_failed_point_is_left() -> None:
    optimizer = chains(size=2)
    told(optimizer, torch.full((2,), torch.inf))
    assert torch.equal(told(optimizer, torch.tensor([1.0, torch.inf])), optimizer._points)


@pytest.mark.parametrize(("spent", "deviation"), [(0.0, 0.4), (0.5, 0.2), (1.0, 0.1)])
def test_steps_become_smaller_as_the_budget_is_spent(spent: float, deviation: float) -> None:
    optimizer = chains(size=1, dim=4000, deviation=0.4, last_deviation=0.1)
    start = told(optimizer, torch.zeros(1))
    optimizer.spent = spent
    assert float((optimizer.ask(0) - start).std()) == pytest.approx(deviation * SCALE, rel=0.05)


def test_on_a_new_batch_the_points_are_asked_again() -> None:
    optimizer = chains()
    lengths = [len(rows) for rows, _ in drive(optimizer, sphere, (0, 0, 1, 1))]
    assert lengths == [6, 6, 12, 6]
