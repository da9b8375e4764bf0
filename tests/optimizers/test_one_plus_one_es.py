from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.optimizers.one_plus_one_es import OnePlusOneES
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def strategy(**options: object) -> OnePlusOneES:
    made = make("1+1-es", **{"size": 1, **options})
    assert isinstance(made, OnePlusOneES)
    return made


def told(optimizer: OnePlusOneES, batch: int, *loss: float) -> Tensor:
    """The rows of a step that is told these losses."""
    rows = optimizer.ask(batch)
    assert len(rows) == len(loss)
    optimizer.tell(rows, Evaluation(torch.tensor(loss), None, 1, batch))
    return rows


def test_a_better_child_replaces_its_parent_and_the_step_grows_by_a_half() -> None:
    optimizer = strategy(deviation=0.2)
    told(optimizer, 0, 5.0)
    child = told(optimizer, 0, 4.0)
    assert torch.equal(optimizer._points, child)
    assert optimizer._deviation().tolist() == pytest.approx([0.3])


def test_a_worse_child_is_dropped_and_four_of_them_take_back_one_success() -> None:
    optimizer = strategy(deviation=0.2)
    parent = told(optimizer, 0, 5.0)
    told(optimizer, 0, 6.0)
    assert torch.equal(optimizer._points, parent)
    assert optimizer._deviation().tolist() == pytest.approx([0.2 * 1.5**-0.25])
    for loss in (6.0, 6.0, 6.0, 4.0):
        told(optimizer, 0, loss)
    assert optimizer._deviation().tolist() == pytest.approx([0.2])


def test_an_equal_child_replaces_its_parent_but_leaves_the_step_size() -> None:
    optimizer = strategy(deviation=0.2)
    told(optimizer, 0, 5.0)
    child = told(optimizer, 0, 5.0)
    assert torch.equal(optimizer._points, child)
    assert optimizer._deviation().tolist() == [0.2]


def test_on_a_new_batch_the_parent_is_asked_again_and_the_other_rate_counts() -> None:
    optimizer = strategy(deviation=0.2)
    parent = told(optimizer, 0, 5.0)
    rows = told(optimizer, 1, 8.0, 7.0)
    assert torch.equal(rows[1:], parent)
    assert torch.equal(optimizer._points, parent)  # 8 is worse than 7, whatever the other batch said
    assert optimizer._deviation().tolist() == pytest.approx([0.2 * 1.5 ** -(0.4 / 0.6)])
    assert len(optimizer.ask(1)) == 1


def test_steps_have_the_deviation_in_units_of_scale() -> None:
    optimizer = strategy(deviation=0.2, dim=4000)
    parent = told(optimizer, 0, 5.0)
    assert float((optimizer.ask(0) - parent).std()) == pytest.approx(0.2 * SCALE, rel=0.05)


def test_searches_side_by_side_know_nothing_of_each_other() -> None:
    """Equal to a loop in numpy over each of them, with the same children."""
    optimizer = strategy(size=3, dim=2, dtype=torch.float64)
    loss = np.empty(0)
    for step in range(30):
        rows = optimizer.ask(0)
        found = sphere(rows).numpy()
        if step == 0:
            points, loss, deviation = rows.numpy().copy(), found, np.full(3, 0.1)
        for i in range(3 if step else 0):
            deviation[i] *= 1.5 if found[i] < loss[i] else 1.5**-0.25
            if found[i] <= loss[i]:
                points[i], loss[i] = rows[i].numpy(), found[i]
        optimizer.tell(rows, Evaluation(torch.from_numpy(found), None, 1, 0))
        np.testing.assert_array_equal(optimizer._points.numpy(), points)
        np.testing.assert_allclose(optimizer._deviation().numpy(), deviation)


def test_convergence_to_the_precision_of_the_numbers() -> None:
    trace = drive(strategy(dim=5, dtype=torch.float64), sphere, [0] * 600)
    assert float(trace[-1][1]) < 1e-10
