"""What is planned, that it is said, that it hangs on nothing but network and batch, and that the work has its shape."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.criterion import Criterion
from gfopt.engine.plan import MAX_TILE, TILE_BYTES
from gfopt.nn import ParameterLayout, build_network
from gfopt.problems.loss_smooth import CrossEntropy

ROWS, INPUTS, CLASSES, MEMBERS = 20, 6, 3, 11


def engine_of(net, inputs=None, strategy=None):
    module = prepare(net, "batch")
    rows = torch.zeros(ROWS, INPUTS) if inputs is None else inputs
    return PopulationEngine(module, ParameterLayout.of(module), rows, strategy=strategy)


def mlp(**options):
    spec = {"kind": "mlp", "in_features": INPUTS, "out_features": CLASSES, "hidden": [5], **options}
    return build_network(spec, seed=0)


def criterion(rows=ROWS):
    return Criterion(CrossEntropy(), torch.arange(rows) % CLASSES, None, 0, "cross_entropy")


def setup(strategy, net=None):
    engine = engine_of(net or mlp(norm="batch"), strategy=strategy)
    generator = torch.Generator().manual_seed(0)
    population = torch.randn(MEMBERS, engine.layout.dim, generator=generator)
    return engine, population, torch.randn(ROWS, INPUTS, generator=generator)


def test_the_plan_of_a_kernel_says_what_is_done():
    plan = engine_of(mlp()).plan
    assert (plan.strategy, plan.gradients, plan.members, plan.rows) == ("fused", plan.gradients, 0, 24)
    text = str(plan)
    assert "53 parameters, batch 20, float32 on cpu" in text
    assert "losses: fused: one compiled loop" in text
    assert "any number of members, one after the other, 24 samples at once" in text
    assert f"gradients: {plan.gradients}: " in text
    assert "not fused" not in text


def test_the_plan_in_torch_says_why_nothing_is_faster():
    plan = engine_of(mlp(norm="ghost")).plan
    assert (plan.strategy, plan.rows) == ("native", 0)
    assert f"{plan.members} members at once, the whole batch at once" in str(plan)
    assert "not fused: GhostBatchNorm has no compiled form" in str(plan)


def test_the_plan_of_other_layers_names_every_reason():
    net = nn.Sequential(nn.Unflatten(1, (1, INPUTS)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, CLASSES))
    plan = engine_of(net).plan
    assert plan.strategy == "vmap"
    assert list(plan.reasons) == ["fused", "native"]
    assert all(f"not {way}: {why}" in str(plan) for way, why in plan.reasons.items())


def test_one_by_one_is_planned_where_it_is_asked_for():
    plan = engine_of(mlp(), strategy="loop").plan
    assert (plan.members, plan.gradients) == (1, "loop")
    assert "losses: loop: member by member; 1 members at once" in str(plan)


@pytest.mark.parametrize("norm", ["none", "batch", "ghost"])
def test_the_plan_does_not_hang_on_the_threads(norm):
    before = torch.get_num_threads()
    plans = []
    for threads in (1, 2, 8):
        torch.set_num_threads(threads)
        plans.append(engine_of(mlp(norm=norm)).plan)
    torch.set_num_threads(before)
    assert plans[0] == plans[1] == plans[2]


def test_the_plan_does_not_hang_on_what_was_evaluated():
    engine, population, inputs = setup(None)
    before = engine.plan
    for members in (1, 2, 300):
        engine.losses(population[:1].expand(members, -1), inputs, criterion())
        engine.gradients(population[:1].expand(members, -1), inputs, criterion())
    assert engine.plan == before


def test_members_at_once_leave_a_layer_in_the_cache():
    for rows in (8, 1000, 50_000):
        tile = engine_of(mlp(), torch.zeros(rows, INPUTS)).tile
        assert tile == max(1, min(MAX_TILE["cpu"], TILE_BYTES["cpu"] // (4 * 5 * rows)))


def counted(engine):
    """Forward calls of the torch paths, each with the members that it is for."""
    calls = []
    for name in ("native", "_batched"):
        original = getattr(engine._members, name)
        if original is None:
            continue

        def counting(parameters, *rest, original=original, **named):
            calls.append(len(next(iter(parameters.values()))))
            return original(parameters, *rest, **named)

        setattr(engine._members, name, counting)
    return calls


@pytest.mark.parametrize("strategy", ["native", "vmap"])
@pytest.mark.parametrize("tile", [1, 2, 4, 11, 32])
def test_the_network_runs_once_for_each_tile(strategy, tile):
    engine, population, inputs = setup(strategy)
    calls = counted(engine)
    engine.tile = tile
    engine.losses(population, inputs, criterion())
    # A member by itself needs no stack: the plain module does it.
    stacked = [size for size in _sizes(tile) if size > 1]
    assert calls == stacked
    calls.clear()
    engine.gradients(population, inputs, criterion())
    assert calls == _sizes(tile)


def _sizes(tile):
    return [min(tile, MEMBERS - first) for first in range(0, MEMBERS, tile)]


class Counting(nn.Module):
    """Counts how often it is run."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(INPUTS, CLASSES), 0

    def forward(self, x):
        self.calls += 1
        return torch.sin(self.layer(x))


@pytest.mark.parametrize("tile", [2, 4, 32])
def test_a_users_module_is_called_once_for_each_tile(tile):
    engine, population, inputs = setup(None, Counting())
    assert engine.strategy == "vmap"
    engine.tile = tile
    engine.module.calls = 0
    engine.losses(population, inputs, criterion())
    assert engine.module.calls == math.ceil(MEMBERS / tile)


class NoTransfer(TorchDispatchMode):
    """Refuses to bring numbers to the host, or tensors to another device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert func is not torch.ops.aten._local_scalar_dense.default, "a number was read on the host"
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        device = kwargs.get("device")
        copies = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        if copies and tensors:
            devices = {x.device for x in tensors} | ({torch.device(device)} if device is not None else set())
            assert len(devices) == 1, "a tensor was moved"
        return func(*args, **kwargs)


@pytest.mark.parametrize("strategy", ["native", "vmap"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "weight", "cosine", "weight_mean"])
def test_nothing_leaves_the_device_inside_the_loop_over_tiles(strategy, norm):
    engine, population, inputs = setup(strategy, mlp(norm=norm))
    engine.tile = 4
    loss = criterion()
    with NoTransfer():
        engine.losses(population, inputs, loss)
        engine.gradients(population, inputs, loss)


def test_the_watch_sees_what_it_shall_see():
    with NoTransfer():
        with pytest.raises(AssertionError, match="read on the host"):
            torch.ones(1).item()
        with pytest.raises(AssertionError, match="moved"):
            torch.ones(1).to("meta")


def out_of_memory_beyond(engine, most):
    """Let the engine's device hold so many members."""
    asked, original = [], engine._members.native

    def forward(parameters, *rest):
        asked.append(len(next(iter(parameters.values()))))
        if asked[-1] > most:
            raise torch.OutOfMemoryError("no more memory")
        return original(parameters, *rest)

    engine._members.native = forward
    return asked


@pytest.mark.parametrize("most", [2, 3, 5])
def test_the_tile_is_halved_until_it_fits_and_stays_so(most):
    engine, population, inputs = setup("native")
    expected, slopes = engine.gradients(population, inputs, criterion())
    engine.tile = 8
    asked = out_of_memory_beyond(engine, most)
    losses = engine.losses(population, inputs, criterion())
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=0)
    assert engine.tile == {2: 2, 3: 2, 5: 4}[most]
    assert asked[:2] == [8, 4]
    asked.clear()
    losses, gradients = engine.gradients(population, inputs, criterion())
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients, slopes, rtol=1e-5, atol=1e-6)
    assert max(asked) == engine.tile
    assert engine.plan.members == engine.tile


def test_a_member_that_does_not_fit_by_itself_is_an_error():
    engine, population, inputs = setup("native")
    out_of_memory_beyond(engine, 0)
    with pytest.raises(torch.OutOfMemoryError, match="no more memory"):
        engine.gradients(population, inputs, criterion())
    assert engine.tile == 1
