"""torch.optim on the matrix of rows: the same as torch.optim on each row alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gfopt.errors import ConfigError, NotDifferentiableError
from gfopt.optimizers._backprop import Backprop
from gfopt.testing import driving
from gfopt.testing.driving import drive, evaluate, make, same

CASES: list[tuple[str, type[torch.optim.Optimizer], dict[str, Any], dict[str, Any]]] = [
    ("sgd", torch.optim.SGD, {"momentum": 0.0}, {"lr": 0.1}),
    ("sgd", torch.optim.SGD, {"nesterov": True}, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", torch.optim.RMSprop, {"smoothing": 0.9, "momentum": 0.5},
     {"lr": 0.003, "alpha": 0.9, "momentum": 0.5}),
    ("adam", torch.optim.Adam, {"betas": [0.8, 0.9], "weight_decay": 0.1},
     {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("adam", torch.optim.Adam, {"amsgrad": True, "eps": 0.1}, {"lr": 0.01, "amsgrad": True, "eps": 0.1}),
    ("adamw", torch.optim.AdamW, {"learning_rate": 0.2}, {"lr": 0.2, "weight_decay": 0.01}),
    ("rmsprop", torch.optim.RMSprop, {"centered": True}, {"lr": 0.003, "centered": True}),
    ("adagrad", torch.optim.Adagrad, {"rate_decay": 0.1}, {"lr": 0.1, "lr_decay": 0.1}),
    ("adadelta", torch.optim.Adadelta, {"weight_decay": 0.1},
     {"lr": 1.0, "rho": 0.95, "eps": 1e-4, "weight_decay": 0.1}),
    ("nadam", torch.optim.NAdam, {"momentum_decay": 0.1}, {"lr": 0.01, "momentum_decay": 0.1}),
    ("radam", torch.optim.RAdam, {"betas": [0.9, 0.5]}, {"lr": 0.03, "betas": (0.9, 0.5)}),
    ("rprop", torch.optim.Rprop, {"shrink": 0.4, "grow": 1.5, "largest_step": 0.012},
     {"lr": 0.01, "etas": (0.4, 1.5), "step_sizes": (1e-6, 0.012)}),
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


SCHEDULED = ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "nadam", "radam"]
BATCHES = (0, 1, 2, 3, 4, 5, 6, 7)


def _reference(kind: str, start: Tensor, **options: Any) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    """Torch's own optimizer of one row, with the arguments that the row's optimizer has."""
    built = make(kind, size=1, start=start[None], dtype=start.dtype, **options)
    assert isinstance(built, Backprop)
    parameter = torch.nn.Parameter(start.clone())
    settings = built.options
    arguments = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, **built.arguments()}
    return parameter, built.torch_class([parameter], **arguments)


@pytest.mark.parametrize("kind", SCHEDULED)
def test_a_schedule_is_torch_with_the_rate_set_before_each_step(kind: str) -> None:
    optimizer = make(kind, dtype=torch.float64, weight_decay=0.1, schedule="cosine")
    parameter, reference = _reference(kind, driving.starts(6, 6, torch.float64)[3], weight_decay=0.1)
    rate = reference.param_groups[0]["lr"]
    for step, batch in enumerate(BATCHES):
        optimizer.spent = step / len(BATCHES)
        ((rows, _),) = drive(optimizer, driving.rugged, (batch,))
        assert torch.equal(rows[3], parameter.detach())
        reference.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / len(BATCHES))) / 2
        _step(reference, parameter, batch)


@pytest.mark.parametrize("kind", SCHEDULED)
def test_each_row_has_the_rate_of_its_own_plateau(kind: str) -> None:
    plateau = {"kind": "plateau", "patience": 0, "smoothing": 0.0, "factor": 0.3}
    options = {"weight_decay": 0.1, "learning_rate": 0.3}
    optimizer = make(kind, dtype=torch.float64, schedule=plateau, **options)
    trace = drive(optimizer, driving.rugged, BATCHES)
    lowered = 0
    for row, start in enumerate(driving.starts(6, 6, torch.float64)):
        parameter, reference = _reference(kind, start, **options)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            reference, factor=0.3, patience=0, threshold=0.0, threshold_mode="abs", min_lr=3e-4
        )
        for batch, (rows, losses) in zip(BATCHES, trace, strict=True):
            torch.testing.assert_close(rows[row], parameter.detach(), rtol=1e-12, atol=1e-13)
            scheduler.step(float(losses[row]))
            _step(reference, parameter, batch)
        lowered += reference.param_groups[0]["lr"] < 0.3
    assert lowered > 0


@pytest.mark.parametrize(("options", "clip"), [
    ({"clip_norm": 0.05}, lambda p: torch.nn.utils.clip_grad_norm_([p], 0.05)),
    ({"clip_value": 0.02}, lambda p: torch.nn.utils.clip_grad_value_([p], 0.02)),
])  # fmt: skip
def test_clipping_is_torchs_on_each_row_alone(options: dict[str, float], clip: Any) -> None:
    trace = drive(make("sgd", dtype=torch.float64, **options), driving.rugged, BATCHES)
    assert not same(trace, drive(make("sgd", dtype=torch.float64), driving.rugged, BATCHES))
    for row, start in enumerate(driving.starts(6, 6, torch.float64)):
        parameter, reference = _reference("sgd", start, **options)
        for batch, (rows, _) in zip(BATCHES, trace, strict=True):
            torch.testing.assert_close(rows[row], parameter.detach(), rtol=1e-13, atol=1e-14)
            _step(reference, parameter, batch, clip)


@pytest.mark.parametrize("options", [{"clip_norm": 0.05}, {"schedule": {"kind": "plateau", "patience": 0}}])
def test_a_rows_path_does_not_depend_on_the_others(options: dict[str, Any]) -> None:
    together = drive(make("sgd", **options), driving.rugged, BATCHES)
    start = driving.starts(6, 6)
    for row in range(6):
        alone = drive(make("sgd", size=1, start=start[[row]], **options), driving.rugged, BATCHES)
        assert all(torch.equal(a[row], b[0]) for (a, _), (b, _) in zip(together, alone, strict=True))


@pytest.mark.parametrize("kind", ["nadam", "radam", "adagrad", "rprop", "sgd"])
@pytest.mark.parametrize("cut", [0, 4])
def test_a_resumed_run_is_the_same_in_float64(kind: str, cut: int) -> None:
    options = {} if kind == "rprop" else {"schedule": {"kind": "plateau", "patience": 0, "smoothing": 0.0}}
    whole = drive(make(kind, dtype=torch.float64, **options), driving.rugged, BATCHES)
    first, second = (make(kind, dtype=torch.float64, **options) for _ in range(2))
    before = drive(first, driving.rugged, BATCHES[:cut])
    second.load_state_dict(first.state_dict())
    assert same(whole, before + drive(second, driving.rugged, BATCHES[cut:]))


def test_rprops_weight_decay_is_part_of_the_gradient() -> None:
    start = driving.starts(2, 3)
    optimizer = make("rprop", dim=3, size=2, start=start, weight_decay=2.0)
    drive(optimizer, lambda rows, batch: 0 * rows.sum(dim=1), (0,))
    torch.testing.assert_close(optimizer.ask(0), start - 0.01 * start.sign())


@pytest.mark.parametrize(("kind", "options", "message"), [
    ("rprop", {"schedule": "cosine"}, "schedule: expected constant, got 'cosine'. Rprop adapts its steps by itself"),
    ("rprop", {"clip_norm": 1.0}, "clip_norm: expected a known option"),
    ("rprop", {"largest_step": 1e-7}, "largest_step: expected at least the smallest step, 1e-06, got 1e-07"),
    ("sgd", {"clip_norm": 1.0, "clip_value": 1.0}, "clip_norm: expected either clip_norm or clip_value, got both"),
])  # fmt: skip
def test_options_that_do_not_fit_together_are_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("both", "`both`")):
        make(kind, **options)


def _step(reference: torch.optim.Optimizer, parameter: torch.nn.Parameter, batch: int, clip: Any = None) -> None:
    reference.zero_grad()
    driving.rugged(parameter[None], batch).sum().backward()
    if clip is not None:
        clip(parameter)
    reference.step()
