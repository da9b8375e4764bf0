"""BatchNorm in a population: whose statistics, in which mode, and what the winner is scored with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gfopt import registry
from gfopt.engine import PopulationEngine, calibrate, prepare, statistics_layers
from gfopt.engine.batchnorm import BatchStatistics, has_statistics
from gfopt.nn import NormalizedConv2d, ParameterLayout, build_network


def mlp(in_features, out_features, **options):
    return build_network({"kind": "mlp", "in_features": in_features, "out_features": out_features, **options})


OF_BATCH = [name for name in registry.norms.names() if registry.norms.get(name).of_batch and name != "batch"]


def nets():
    torch.manual_seed(1)
    return {
        **{name: mlp(4, 2, hidden=[4, 4], norm=name).double() for name in OF_BATCH},
        "pictures": nn.Sequential(
            nn.Unflatten(1, (1, 2, 2)),
            NormalizedConv2d(1, 3, 2, padding=1, norm="whitening"),
            nn.Flatten(),
            nn.Linear(27, 2),
        ).double(),
        "own": mlp(4, 2, hidden=[6, 5], norm="batch").double(),
        "torch": nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double(),
        "images": nn.Sequential(
            nn.Unflatten(1, (1, 2, 2)),
            nn.Conv2d(1, 3, 2, padding=1),
            nn.BatchNorm2d(3),
            nn.Flatten(),
            nn.Linear(27, 2),
        ).double(),
    }


@pytest.fixture(params=["own", "torch", "images", "pictures", *OF_BATCH])
def net(request):
    return nets()[request.param]


@pytest.fixture(params=["own", "torch", "images", "pictures", *(name for name in OF_BATCH if name != "batch_renorm")])
def referring(request):
    """Those whose rows depend on the reference alone; renormalization corrects the batch's own statistics."""
    return nets()[request.param]


@pytest.fixture
def rows():
    return torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3 + 1


def test_batch_mode_is_the_training_mode_without_the_memory(net, rows):
    memoryless = prepare(net, "batch")
    if any(type(part).__name__ == "RenormMoments" for part in net.modules()):
        net = prepare(mlp(4, 2, hidden=[4, 4], norm="batch").double(), "batch")  # all that is left of it
        net.load_state_dict(memoryless.state_dict(), strict=False)
    expected = net.train()(rows)
    torch.testing.assert_close(memoryless(rows), expected, rtol=1e-12, atol=1e-12)
    assert not statistics_layers(memoryless)
    assert [n for n, _ in memoryless.named_parameters()] == [n for n, _ in net.named_parameters()]


def test_reference_mode_uses_the_statistics_of_the_leading_rows_only(referring, rows):
    net = referring
    virtual = prepare(net, "reference", 12)
    whole = virtual(rows)
    changed = rows.clone()
    changed[15] += 100
    torch.testing.assert_close(virtual(changed)[:15], whole[:15], rtol=0, atol=0)  # no row depends on another
    torch.testing.assert_close(virtual(rows[:12]), prepare(net, "batch")(rows[:12]), rtol=1e-12, atol=1e-12)


def test_reference_mode_differentiates_through_its_statistics(referring, rows):
    virtual = prepare(referring, "reference", 12)
    layout = ParameterLayout.of(virtual)
    vector = layout.flatten(virtual)

    def loss(outputs):
        return outputs[..., 12:, :].square().mean((-1, -2))

    engine = PopulationEngine(virtual, layout, rows)
    _, gradient = engine.gradients(vector[None], rows, loss)
    for place in range(0, layout.dim, 7):
        step = torch.zeros_like(vector)
        step[place] = 1e-6
        both = engine.losses(torch.stack([vector + step, vector - step]), rows, loss)
        torch.testing.assert_close((both[0] - both[1]) / 2e-6, gradient[0, place], rtol=1e-4, atol=1e-7)


def test_renormalization_by_the_reference_gives_its_statistics_within_the_bounds(rows):
    virtual = prepare(mlp(4, 2, hidden=[4], norm="batch_renorm").double(), "reference", 12)
    plain = prepare(mlp(4, 2, hidden=[4], norm="batch").double(), "reference", 12)
    torch.testing.assert_close(virtual(rows), plain(rows))


def test_running_mode_uses_the_stored_statistics(net, rows):
    calibrate(net, rows)
    torch.testing.assert_close(prepare(net, "running")(rows[:3]), net.eval()(rows[:3]), rtol=1e-12, atol=1e-12)


def test_calibrated_statistics_reproduce_the_batch_exactly(net, rows):
    expected = prepare(net, "batch")(rows)
    assert not has_statistics(net)
    calibrate(net, rows)
    assert has_statistics(net)
    torch.testing.assert_close(net.eval()(rows), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        net(rows[:1]), expected[:1], rtol=1e-9, atol=1e-9
    )  # a sample does not depend on the rest


def test_statistics_are_the_members_own(net, rows):
    """Pooling over the population would let a member with huge weights change everybody's loss."""
    module = prepare(net, "batch")
    layout = ParameterLayout.of(module)
    population = torch.randn(6, layout.dim, dtype=torch.float64)

    def loss(outputs):
        return outputs.square().mean((-1, -2))

    engine = PopulationEngine(module, layout, rows)
    before = engine.losses(population, rows, loss)
    population[0] *= 1000
    torch.testing.assert_close(engine.losses(population, rows, loss)[1:], before[1:], rtol=1e-12, atol=0)


def test_a_root_that_is_a_batch_norm_is_replaced_too(rows):
    assert isinstance(prepare(nn.BatchNorm1d(4), "batch"), BatchStatistics)


def test_a_constant_feature_gives_zero():
    layer = prepare(nn.Sequential(nn.BatchNorm1d(2, affine=False)), "batch")
    assert layer(torch.full((8, 2), 3.0)).abs().max() < 1e-3  # rounding over sqrt(eps), never NaN
