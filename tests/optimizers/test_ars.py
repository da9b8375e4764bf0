from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.optimizers.ars import ARS
from gfopt.testing.driving import SCALE, drive, make, sphere
from gfopt.types import Evaluation


def search(**options: object) -> ARS:
    made = make("ars", **options)
    assert isinstance(made, ARS)
    return made


def begun(optimizer: ARS) -> Tensor:
    """The center after the start."""
    ((rows, loss),) = drive(optimizer, sphere, (0,))
    return rows[loss.argmin()]


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_steps_by_the_papers_formula(share: float) -> None:
    """Mania et al. 2018, algorithm 2, V1-t, in float64 with numpy; a reward is a negative loss."""
    optimizer = search(size=10, dim=4, dtype=torch.float64, top_share=share, learning_rate=0.3, deviation=0.5)
    center = begun(optimizer).numpy()
    for step in (1, 2, 3):
        rows = optimizer.ask(step)
        loss = np.random.default_rng(step).normal(size=11)
        optimizer.tell(rows, Evaluation(torch.from_numpy(loss), None, 1, step))
        direction = (rows[:5].numpy() - center) / (0.5 * SCALE)
        ahead, behind = -loss[:5], -loss[5:10]
        top = np.argsort(-np.maximum(ahead, behind))[: round(share * 5)]
        deviation = np.concatenate([ahead[top], behind[top]]).std()
        total = ((ahead - behind)[top, None] * direction[top]).sum(axis=0)
        center = center + 0.3 * SCALE / (len(top) * deviation) * total
        np.testing.assert_allclose(optimizer.ask(step + 1)[10].numpy(), center, rtol=1e-10)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    one, other = (drive(search(), lambda r, b, f=f: f * sphere(r, b), range(10))[-1][0] for f in (1.0, 1024.0))
    torch.testing.assert_close(one, other)


def test_a_failed_row_counts_as_the_highest_loss_of_the_others() -> None:
    moved = []
    for loss in ([torch.inf, 1.0, 2.0, 3.0, 0.0, 4.0], [4.0, 1.0, 2.0, 3.0, 0.0, 4.0]):
        optimizer = search()
        begun(optimizer)
        optimizer.tell(optimizer.ask(0), Evaluation(torch.tensor(loss), None, 1, 0))
        moved.append(optimizer._center)
    assert torch.equal(*moved)


def test_equal_losses_and_failures_alone_move_nothing() -> None:
    optimizer = search()
    center = begun(optimizer)
    for loss in (2.0, torch.inf):
        optimizer.tell(optimizer.ask(0), Evaluation(torch.full((6,), loss), None, 1, 0))
        assert torch.equal(optimizer._center, center)
