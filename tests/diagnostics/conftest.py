"""What the tests of diagnostics share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gfopt.rng import torch_seeded


@pytest.fixture(autouse=True)
def seeded():
    """The networks of these tests are drawn by torch's own constructors."""
    with torch_seeded(0):
        yield


def snapshot(module: nn.Module) -> dict:
    """All that a look inside must leave alone."""
    return {
        "state": {name: value.clone() for name, value in module.state_dict().items()},
        "grads": [p.grad is None for p in module.parameters()],
        "needs": [p.requires_grad for p in module.parameters()],
        "modes": [part.training for part in module.modules()],
        "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()],
        "random": torch.get_rng_state(),
        "dtypes": [p.dtype for p in module.parameters()],
    }


@pytest.fixture
def assert_untouched():
    """Run a function on a module, twice: nothing of it has changed, and the second time gives the same."""

    def check(module: nn.Module, look) -> None:
        before = snapshot(module)
        first = look()
        after = snapshot(module)
        assert all(torch.equal(before["state"][name], after["state"][name]) for name in before["state"])
        assert torch.equal(before.pop("random"), after.pop("random"))
        assert {k: v for k, v in before.items() if k != "state"} == {k: v for k, v in after.items() if k != "state"}
        assert repr(look()) == repr(first)  # NaN equals itself here

    return check


class Pictures(nn.Module):
    """Convolutions with BatchNorm, dropout and an activation in place, then a dense layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 5 * 5, 2)

    def forward(self, x):
        return self.head(self.drop(self.relu(self.norm(self.conv(x)))).flatten(1))


@pytest.fixture
def pictures():
    return Pictures(), torch.randn(8, 1, 5, 5)
