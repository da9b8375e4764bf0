"""Members of several runs at once, each run on samples of its own, equal the runs by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fused_cases import case, classes, network, random, values
from torch import nn

from gfopt.engine.criterion import Criterion

ROWS, INPUTS, CLASSES = 21, 6, 3
MEMBERS = [3, 1, 0, 4]
SEEDS = [5, 6, 7, 8]


class ByMember(nn.Module):
    """What it does hangs on a number, so that torch cannot batch it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(INPUTS, CLASSES)

    def forward(self, x):
        h = self.body(x)
        return torch.tanh(h) if float(h.detach().mean()) > 0 else torch.sin(h)


NETWORKS = {
    "fused": lambda: network("mlp", INPUTS, CLASSES, hidden=[7]),
    "batch norm": lambda: network("mlp", INPUTS, CLASSES, hidden=[7], norm="batch"),
    "spectral": lambda: network("mlp", INPUTS, CLASSES, hidden=[7], norm="spectral"),
    "ghost": lambda: network("mlp", INPUTS, CLASSES, hidden=[7], norm={"kind": "ghost", "size": 5}),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, INPUTS)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, CLASSES)
    ),
    "dropout": lambda: nn.Sequential(nn.Linear(INPUTS, 30), nn.Dropout(0.5), nn.Linear(30, CLASSES)),
    "loop": ByMember,
}
STRATEGIES = {"fused": "fused", "batch norm": "fused", "spectral": "fused", "loop": "loop"}


def setup(name, make=classes, **options):
    torch.manual_seed(0)
    found = case(
        NETWORKS[name](), random(ROWS, INPUTS), members=sum(MEMBERS), strategy="loop" if name == "loop" else None
    )
    assert STRATEGIES.get(name, found.engine.strategy) == found.engine.strategy
    inputs = random(len(MEMBERS), ROWS, INPUTS, seed=2)
    criteria = [_own(make(ROWS, CLASSES, **options), stream) for stream in range(len(MEMBERS))]
    return found, inputs, criteria


def _own(criterion, stream):
    """The same loss with targets that no other stream has."""
    return replace(criterion, targets=criterion.targets.roll(stream, 0))


def apart(found, inputs, criteria, call):
    parts = torch.split(found.population, MEMBERS)
    each = zip(parts, inputs, criteria, SEEDS, strict=True)
    return [call(part, rows, loss, seed=seed) for part, rows, loss, seed in each]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("make", [classes, values])
def test_losses_are_those_of_each_stream_by_itself(name, make):
    found, inputs, criteria = setup(name, make)
    together = found.engine.losses_of_streams(found.population, inputs, criteria, MEMBERS, SEEDS)
    alone = torch.cat(apart(found, inputs, criteria, found.engine.losses))
    assert together.equal(alone)
    assert together.unique().numel() == len(together)


def test_how_streams_are_grouped_changes_no_bit():
    found, inputs, criteria = setup("batch norm")
    whole = found.engine.losses_of_streams(found.population, inputs, criteria, MEMBERS, SEEDS)
    first, rest = found.population[: sum(MEMBERS[:2])], found.population[sum(MEMBERS[:2]) :]
    halves = [
        found.engine.losses_of_streams(first, inputs[:2], criteria[:2], MEMBERS[:2], SEEDS[:2]),
        found.engine.losses_of_streams(rest, inputs[2:], criteria[2:], MEMBERS[2:], SEEDS[2:]),
    ]
    assert torch.cat(halves).equal(whole)


def test_streams_have_weights_of_their_own():
    found, inputs, criteria = setup("fused")
    criteria = [replace(loss, weight=random(ROWS, seed=i).abs()) for i, loss in enumerate(criteria)]
    criteria[1] = replace(criteria[1], weight=None)
    together = found.engine.losses_of_streams(found.population, inputs, criteria, MEMBERS, SEEDS)
    assert together.equal(torch.cat(apart(found, inputs, criteria, found.engine.losses)))


def test_a_loss_without_a_compiled_form_works_on_streams_too():
    found, inputs, criteria = setup("fused")
    compiled = found.engine.losses_of_streams(found.population, inputs, criteria, MEMBERS, SEEDS)
    plain = [Criterion(loss.loss, loss.targets) for loss in criteria]
    torch.testing.assert_close(
        found.engine.losses_of_streams(found.population, inputs, plain, MEMBERS, SEEDS), compiled, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_each_member_by_itself(name):
    found, inputs, criteria = setup(name)
    stream = [place for place, count in enumerate(MEMBERS) for _ in range(count)]
    losses, gradients = found.engine.gradients_of_streams(
        found.population, inputs[stream], [criteria[i] for i in stream], [SEEDS[i] for i in stream]
    )
    each = zip(found.population, inputs[stream], stream, strict=True)
    alone = [found.engine.gradients(one[None], rows, criteria[i], seed=SEEDS[i]) for one, rows, i in each]
    torch.testing.assert_close(losses, torch.cat([loss for loss, _ in alone]), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients, torch.cat([slopes for _, slopes in alone]), rtol=1e-5, atol=1e-6)


def test_nobody_has_no_losses():
    found, inputs, criteria = setup("fused")
    nobody = found.population[:0]
    assert found.engine.losses_of_streams(nobody, inputs, criteria, [0] * 4, SEEDS).shape == (0,)
    assert found.engine.losses(nobody, inputs[0], criteria[0]).shape == (0,)
