"""Rules against torch's optimizers on the same gradients, and ClipUp against its paper's algorithm."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.optimizers._rules import ClipUp, Rule, RuleName, TorchRule, make_rule

RATE = 0.3


def gradients(count: int = 6) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def walk(rule: Rule, steps: Tensor) -> list[Tensor]:
    return [rule.step(gradient).clone() for gradient in steps]


@pytest.mark.parametrize(("name", "reference", "options"), [
    ("sgd", torch.optim.SGD, {"momentum": 0.8}),
    ("adam", torch.optim.Adam, {"betas": (0.8, 0.95)}),
    ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.95), "weight_decay": 0}),
    ("adamax", torch.optim.Adamax, {"betas": (0.8, 0.95)}),
    ("nadam", torch.optim.NAdam, {"betas": (0.8, 0.95)}),
    ("radam", torch.optim.RAdam, {"betas": (0.8, 0.95)}),
    ("rmsprop", torch.optim.RMSprop, {"alpha": 0.95}),
    ("adagrad", torch.optim.Adagrad, {}),
    ("adadelta", torch.optim.Adadelta, {"rho": 0.95}),
])  # fmt: skip
def test_steps_are_those_of_torch_at_the_learning_rate(
    name: RuleName, reference: type[torch.optim.Optimizer], options: dict[str, object]
) -> None:
    point = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = reference([point], lr=RATE, **options)  # type: ignore[call-arg] # the base class takes other arguments
    total = torch.zeros(5, dtype=torch.float64)
    rule = make_rule(name, (0.8, 0.95), total)
    for gradient in gradients():
        point.grad = -gradient
        optimizer.step()
        total += RATE * rule.step(gradient)
        torch.testing.assert_close(total, point.detach(), rtol=1e-6, atol=1e-12)


def test_every_name_is_known() -> None:
    assert set(get_args(RuleName)) == {"adam", "sgd", *TorchRule.classes}


@pytest.mark.parametrize("name", [*get_args(RuleName), "clipup"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_state_goes_on_bit_for_bit(name: RuleName, dtype: torch.dtype) -> None:
    def made() -> Rule:
        center = torch.zeros(5, dtype=dtype)
        return ClipUp((0.9, 0.999), center, 2.0) if name == "clipup" else make_rule(name, (0.9, 0.999), center)

    steps, first, second = gradients(12).to(dtype), made(), made()
    walk(first, steps[:6])
    second.load_state_dict(first.state_dict())
    for one, other in zip(walk(first, steps[6:]), walk(second, steps[6:]), strict=True):
        assert torch.equal(one, other)


def test_clipup_by_the_papers_algorithm() -> None:
    """Toklu et al. 2020, algorithm 1, with lengths divided by the root of the number of genes."""
    rule, velocity = ClipUp((0.9, 0.0), torch.zeros(5, dtype=torch.float64), 2.0), np.zeros(5)
    speeds = []
    for gradient in gradients(20):
        slope = gradient.numpy()
        velocity = 0.9 * velocity + slope / (np.linalg.norm(slope) / np.sqrt(5))
        speed = np.linalg.norm(velocity) / np.sqrt(5)
        velocity = velocity * min(1.0, 2.0 / speed)
        speeds.append(speed)
        np.testing.assert_allclose(rule.step(gradient).numpy(), velocity, rtol=1e-12)
    assert min(speeds) < 2 < max(speeds)


def test_clipup_without_a_gradient_keeps_its_momentum() -> None:
    rule = ClipUp((0.5, 0.0), torch.zeros(2), 10.0)
    rule.step(torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(rule.step(torch.zeros(2)), torch.tensor([0.5, 0.5]))
