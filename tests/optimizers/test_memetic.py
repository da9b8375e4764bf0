"""The memetic algorithm: its gradient steps, what they leave in the genes, and what they cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gfopt.optimizers.base import Optimizer
from gfopt.testing import driving
from gfopt.testing.driving import drive, evaluate, make, same


def _held(optimizer: Optimizer, steps: int) -> list[tuple[int, bool, Tensor, Tensor]]:
    """Batch, whether a gradient was wanted, rows and losses, with batches as the loop hands them out."""
    batch, trace = 0, []
    for _ in range(steps):
        wanted, rows = optimizer.wants_gradient, optimizer.ask(batch)
        evaluation = evaluate(driving.rugged, rows, batch, wanted)
        optimizer.tell(rows, evaluation)
        trace.append((batch, wanted, rows.clone(), evaluation.loss))
        batch += not optimizer.hold_batch
    return trace


def test_a_generation_is_gradient_descent_on_one_batch() -> None:
    trace = _held(make("memetic", gradient_steps=3, learning_rate=0.5, dtype=torch.float64), 8)
    assert [batch for batch, *_ in trace] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [wanted for _, wanted, *_ in trace] == [True, True, True, False] * 2
    rows = driving.starts(6, 6, torch.float64)
    for _, _, asked, _ in trace[:4]:
        assert torch.equal(asked, rows)
        point = rows.clone().requires_grad_()
        rows = rows - 0.5 * torch.autograd.grad(driving.rugged(point, 0).sum(), point)[0]


@pytest.mark.parametrize("baldwinian", [False, True])
def test_what_was_learnt_goes_back_into_the_genes_unless_baldwinian(baldwinian: bool) -> None:
    optimizer = make("memetic", gradient_steps=3, baldwinian=baldwinian, learning_rate=2.0)
    trace = _held(optimizer, 4)
    losses = torch.stack([loss for *_, loss in trace])
    best = losses.argmin(dim=0)
    assert (best > 0).any()
    assert (best < 3).any()  # the rate is too large for some: their best is on the way
    learnt = torch.stack([rows for _, _, rows, _ in trace])[best, torch.arange(6)]
    assert torch.equal(optimizer._genomes, driving.starts(6, 6) if baldwinian else learnt)
    assert torch.equal(optimizer._loss, losses.min(dim=0).values)


def test_a_generation_that_failed_completely_learns_nothing() -> None:
    optimizer = make("memetic")
    drive(optimizer, driving.hopeless, (0,))
    assert not optimizer.hold_batch
    assert len(optimizer.ask(1)) == 6


def test_only_every_other_generation_learns() -> None:
    trace = _held(make("memetic", gradient_steps=1, every=2), 6)
    assert [(batch, wanted) for batch, wanted, *_ in trace] == [
        (0, True), (0, False), (1, False), (2, True), (2, False), (3, False),
    ]  # fmt: skip


def test_elites_on_an_unchanged_batch_are_not_asked_again() -> None:
    optimizer = make("memetic", gradient_steps=1, elites=2)
    trace = drive(optimizer, driving.rugged, (0,) * 4)
    assert [len(rows) for rows, _ in trace] == [6, 6, 4, 4]


@pytest.mark.parametrize("cut", range(1, 8))
def test_resuming_inside_a_generation_equals_going_on(cut: int) -> None:
    whole, first, second = (make("memetic", gradient_steps=2, every=2) for _ in range(3))
    expected, before = _held(whole, 8), _held(first, cut)
    second.load_state_dict(first.state_dict())
    batch, trace = before[-1][0] + (not first.hold_batch), [(rows, loss) for _, _, rows, loss in before]
    for _ in range(8 - cut):
        trace += drive(second, driving.rugged, (batch,))
        batch += not second.hold_batch
    assert same([(rows, loss) for _, _, rows, loss in expected], trace)


def test_a_batch_that_changes_all_the_same_ends_the_lesson_but_keeps_what_was_learnt() -> None:
    optimizer = make("memetic", gradient_steps=3)
    drive(optimizer, driving.sphere, (0, 0, 0))
    rows = optimizer.ask(1)
    assert (driving.sphere(rows, 0) < driving.sphere(driving.starts(6, 6), 0)).all()
