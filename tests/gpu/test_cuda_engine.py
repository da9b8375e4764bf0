"""A GPU gives the losses and gradients of a loop over modules on the CPU in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gfopt import registry
from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.criterion import Criterion
from gfopt.engine.dropout import give_members_masks
from gfopt.errors import NetworkError
from gfopt.nn import ParameterLayout, build_network

pytestmark = pytest.mark.gpu

MEMBERS, ROWS, CLASSES = 5, 24, 3
RELATIVE = 1e-4
# The derivative of an eigendecomposition divides by differences of eigenvalues, which float32 knows less well.
SLOPES = {"whitening": 2e-3}
NETWORKS = {
    "mlp": ((6,), {"hidden": [8, 8]}),
    "residual": ((6,), {"width": 8, "blocks": 2}),
    "cnn": ((2, 6, 6), {"channels": [4, 8], "hidden": [8]}),
    "residual_cnn": ((2, 6, 6), {"channels": [4, 8]}),
    "rnn": ((5, 3), {"hidden": [8]}),
    "lstm": ((5, 3), {"hidden": [8]}),
    "gru": ((5, 3), {"hidden": [8]}),
}


def network(kind, norm, **options):
    shape, own = NETWORKS[kind]
    spec = {"kind": kind, "input_shape": list(shape), "out_features": CLASSES, "norm": norm, **own, **options}
    return build_network(spec, seed=0)


def fits(kind, norm):
    try:
        network(kind, norm)
    except NetworkError:
        return False
    return True


CASES = [(kind, norm) for kind in registry.networks.names() for norm in registry.norms.names() if fits(kind, norm)]


def criterion_on(device):
    def loss(outputs, targets, weight):
        del weight
        logits = torch.log_softmax(outputs, dim=-1)
        return -logits.gather(-1, targets.expand(outputs.shape[:-1])[..., None])[..., 0].mean(-1)

    return Criterion(loss, (torch.arange(ROWS) % CLASSES).to(device), kind="cross_entropy")


def setup(make, shape, members=MEMBERS):
    """The network for the GPU in float32, its population and rows, on the CPU."""
    module = prepare(make, "batch")
    layout = ParameterLayout.of(module)
    generator = torch.Generator().manual_seed(0)
    population = layout.flatten(module) + 0.1 * torch.randn(members, layout.dim, generator=generator)
    return module, layout, population, torch.randn(ROWS, *shape, generator=generator)


def reference(module, layout, population, inputs):
    exact = copy.deepcopy(module).double()
    engine = PopulationEngine(exact, layout, inputs.double(), strategy="loop")
    return engine.gradients(population.double(), inputs.double(), criterion_on("cpu"))


def on_device(module, layout, inputs, device, **options):
    return PopulationEngine(copy.deepcopy(module).to(device), layout, inputs.to(device), **options)


def assert_near(got, expected, relative=RELATIVE, slopes=None):
    """Each member's loss, and the direction and length of its gradient."""
    losses, gradients = (t.cpu().double() for t in got)
    torch.testing.assert_close(losses, expected[0], rtol=relative, atol=0)
    distance = (gradients - expected[1]).norm(dim=1) / expected[1].norm(dim=1)
    assert float(distance.max()) <= (slopes or relative), distance.tolist()


@pytest.mark.parametrize(("kind", "norm"), CASES)
def test_every_network_and_norm(kind, norm, device):
    module, layout, population, inputs = setup(network(kind, norm), NETWORKS[kind][0])
    expected = reference(module, layout, population, inputs)
    engine = on_device(module, layout, inputs, device)
    engine.tile = 3  # a full tile, and one that is not
    assert engine.strategy != "loop"
    given = population.to(device), inputs.to(device), criterion_on(device)
    losses = engine.losses(*given)
    assert losses.device.type == device.type
    torch.testing.assert_close(losses.cpu().double(), expected[0], rtol=RELATIVE, atol=0)
    assert_near(engine.gradients(*given), expected, slopes=SLOPES.get(norm, RELATIVE))


@pytest.mark.parametrize("strategy", ["native", "vmap", "loop"])
def test_every_strategy(strategy, device):
    module, layout, population, inputs = setup(network("mlp", "batch"), (6,))
    engine = on_device(module, layout, inputs, device, strategy=strategy)
    got = engine.gradients(population.to(device), inputs.to(device), criterion_on(device))
    assert_near(got, reference(module, layout, population, inputs))


class Branch(nn.Linear):
    def forward(self, x):
        h = super().forward(x)
        return torch.tanh(h) if h.mean() > 0 else torch.sin(h)


@pytest.mark.filterwarnings("ignore:.*member by member")
def test_a_layer_that_runs_member_by_member(device):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), Branch(8, 8), nn.Linear(8, CLASSES))
    module, layout, population, inputs = setup(made, (6,))
    engine = on_device(module, layout, inputs, device)
    assert list(engine.plan.separate) == ["2"]
    got = engine.gradients(population.to(device), inputs.to(device), criterion_on(device))
    assert_near(got, reference(module, layout, population, inputs))


def dropping():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, CLASSES))


@pytest.mark.parametrize("strategy", ["vmap", "loop"])
def test_shared_dropout_is_one_mask_for_all_members_and_follows_the_seed(strategy, device):
    module, layout, population, inputs = setup(dropping(), (6,))
    engine = on_device(module, layout, inputs, device, strategy=strategy)
    engine.tile = 2
    given = population[:1].expand(MEMBERS, -1).to(device), inputs.to(device), criterion_on(device)
    losses = engine.losses(*given, seed=1)
    torch.testing.assert_close(losses, losses[:1].expand(MEMBERS), rtol=1e-6, atol=0)
    torch.testing.assert_close(engine.losses(*given, seed=1), losses, rtol=0, atol=0)
    assert (engine.losses(*given, seed=2) - losses).abs().min() > 1e-3


def test_masks_of_each_member_are_those_of_the_cpu(device):
    module, layout, population, inputs = setup(dropping(), (6,))
    give_members_masks(module)
    exact = PopulationEngine(copy.deepcopy(module).double(), layout, inputs.double(), strategy="loop")
    expected = exact.gradients(population.double(), inputs.double(), criterion_on("cpu"), seed=3)
    engine = on_device(module, layout, inputs, device)
    got = engine.gradients(population.to(device), inputs.to(device), criterion_on(device), seed=3)
    assert_near(got, expected)


def test_every_member_on_rows_of_its_own(device):
    module, layout, population, inputs = setup(network("mlp", "batch"), (6,))
    exact = PopulationEngine(copy.deepcopy(module).double(), layout, inputs.double(), strategy="loop")
    rows = torch.stack([inputs.roll(shift, 0) for shift in range(MEMBERS)])
    seeds = [0] * MEMBERS
    expected = exact.gradients_of_streams(population.double(), rows.double(), [criterion_on("cpu")] * MEMBERS, seeds)
    engine = on_device(module, layout, inputs, device)
    criteria = [criterion_on(device)] * MEMBERS
    assert_near(engine.gradients_of_streams(population.to(device), rows.to(device), criteria, seeds), expected)
    losses = engine.losses_of_streams(population.to(device), rows.to(device), criteria, [1] * MEMBERS, seeds)
    torch.testing.assert_close(losses.cpu().double(), expected[0], rtol=RELATIVE, atol=0)


@pytest.mark.parametrize(("precision", "relative"), [("tf32", 5e-3), ("bf16", 5e-2)])
@pytest.mark.parametrize("kind", NETWORKS)
def test_less_exact_products_by_option(kind, precision, relative, cuda):
    module, layout, population, inputs = setup(network(kind, "none"), NETWORKS[kind][0])
    engine = on_device(module, layout, inputs, cuda, precision=precision)
    got = engine.gradients(population.to(cuda), inputs.to(cuda), criterion_on(cuda))
    assert_near(got, reference(module, layout, population, inputs), relative)


def test_a_tile_that_does_not_fit_is_halved(cuda):
    """With a gibibyte to spare; a tile of all members would need several."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(64, 2048), nn.Tanh(), nn.Linear(2048, CLASSES))
    module = prepare(made, "batch")
    layout = ParameterLayout.of(module)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4096, 64, generator=generator).to(cuda)
    population = (0.05 * torch.randn(96, layout.dim, generator=generator)).to(cuda)
    engine = on_device(module, layout, inputs, cuda)

    def criterion(outputs):
        return outputs.square().mean((-2, -1))

    engine.tile = 4
    expected = engine.losses(population, inputs, criterion)
    engine.tile = len(population)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**30) / total)
    try:
        losses = engine.losses(population, inputs, criterion)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 1 <= engine.tile < len(population)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)
    assert engine.plan.members == engine.tile


def test_the_tile_follows_free_memory(cuda, monkeypatch):
    module, layout, _, inputs = setup(network("mlp", "none"), (6,))
    tiles = []
    for free in (2**40, 2**20):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_, free=free: (free, 2**40))
        tiles.append(on_device(module, layout, inputs, cuda).tile)
    assert tiles == [4096, 2**20 // (8 * 4 * ROWS * 8 * 4)]
