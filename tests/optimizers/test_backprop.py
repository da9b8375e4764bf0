"""torch.optim on the matrix of rows: the same as torch.optim on each row alone."""

from __future__ import annotations

from typing import Any

import optimizer_driving as driving
import pytest
import torch
from optimizer_driving import drive, evaluate, make

from gfopt.errors import NotDifferentiableError

CASES: list[tuple[str, type[torch.optim.Optimizer], dict[str, Any], dict[str, Any]]] = [
    ("sgd", torch.optim.SGD, {"momentum": 0.0}, {"lr": 0.1}),
    ("sgd", torch.optim.SGD, {"nesterov": True}, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", torch.optim.RMSprop, {"smoothing": 0.9, "momentum": 0.5},
     {"lr": 0.003, "alpha": 0.9, "momentum": 0.5}),
    ("adam", torch.optim.Adam, {"betas": [0.8, 0.9], "weight_decay": 0.1},
     {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("adam", torch.optim.Adam, {"amsgrad": True, "eps": 0.1}, {"lr": 0.01, "amsgrad": True, "eps": 0.1}),
    ("adamw", torch.optim.AdamW, {"learning_rate": 0.2}, {"lr": 0.2, "weight_decay": 0.01}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "torch_class", "options", "arguments"), CASES)
def test_each_row_takes_the_path_that_torch_gives_it_alone(
    kind: str, torch_class: Any, options: dict[str, Any], arguments: dict[str, Any]
) -> None:
    trace = drive(make(kind, dtype=torch.float64, **options), driving.rugged, (0, 1, 2, 3, 4))
    for row, start in enumerate(driving.starts(6, 6, torch.float64)):
        parameter = torch.nn.Parameter(start)
        reference = torch_class([parameter], **arguments)
        for batch, (rows, _) in enumerate(trace):
            assert torch.equal(rows[row], parameter.detach())
            reference.zero_grad()
            driving.rugged(parameter[None], batch).sum().backward()
            reference.step()


def test_momentum_is_worked_out_by_hand() -> None:
    # v <- m v + g, x <- x - lr v: torch.optim.SGD's documented update, worked out by hand.
    start = torch.tensor([[1.0]], dtype=torch.float64)
    optimizer = make("sgd", dim=1, size=1, start=start, dtype=torch.float64, learning_rate=0.5, momentum=0.5)
    rows = [step.item() for step, _ in drive(optimizer, lambda x, batch: x.square().sum(1) / 2, (0,) * 4)]
    assert rows == [1.0, 0.5, 0.0, -0.25]


def test_a_row_whose_loss_is_not_finite_stays_where_it_is() -> None:
    optimizer = make("sgd", momentum=0.0)
    trace = drive(optimizer, driving.broken, (0, 0))
    failed = torch.isinf(trace[0][1])
    assert failed.any()
    moved = (trace[0][0] != trace[1][0]).any(dim=1)
    assert torch.equal(moved, ~failed)


def test_one_row_is_the_default() -> None:
    optimizer = driving.optimizers.build(
        "adam", None, driving.starts(1, 3), driving.np.random.default_rng(0), scale=torch.ones(3)
    )
    assert optimizer.ask(0).shape == (1, 3)
    assert optimizer.wants_gradient


def test_an_evaluation_without_gradient_is_refused() -> None:
    optimizer = make("adam")
    rows = optimizer.ask(0)
    with pytest.raises(NotDifferentiableError, match=r"expected a \(P, D\) tensor, got `none`"):
        optimizer.tell(rows, evaluate(driving.sphere, rows, 0, gradient=False))
