"""Networks by name as populations: the same numbers as one by one, with every norm and mode, and their cost."""

from __future__ import annotations

import pytest
import torch

from gfopt import registry
from gfopt.engine import PopulationEngine, measure_cost, prepare
from gfopt.nn import ParameterLayout, build_network

MEMBERS, ROWS, AHEAD, CLASSES = 5, 12, 8, 3
NORMS = registry.norms.names()
PICTURES = {"cnn": {"channels": [4, 6], "hidden": [4]}, "residual_cnn": {"channels": [4, 6]}}
CASES = [
    *[(kind, norm) for kind in PICTURES for norm in NORMS],
    *[("residual", norm) for norm in NORMS if not registry.norms.get(norm).pictures_only],
]
OF_BATCH = [case for case in CASES if registry.norms.get(case[1]).of_batch]


def criterion(outputs):
    """Cross-entropy of the rows behind the reference ones."""
    logits = torch.log_softmax(outputs[..., -ROWS:, :], dim=-1)
    targets = (torch.arange(ROWS) % CLASSES).expand(logits.shape[:-1])
    return -logits.gather(-1, targets[..., None])[..., 0].mean(-1)


def setup(kind, options, bn_mode="batch"):
    shape, own = ([2, 6, 6], PICTURES[kind]) if kind in PICTURES else ([5], {"width": 4, "blocks": 2})
    network = build_network({"kind": kind, "input_shape": shape, "out_features": CLASSES, **own, **options}).double()
    generator = torch.Generator().manual_seed(0)
    ahead = AHEAD if bn_mode == "reference" else 0
    inputs = torch.randn(ahead + ROWS, *shape, dtype=torch.float64, generator=generator)
    module = prepare(network, bn_mode, ahead)
    layout = ParameterLayout.of(module)
    noise = torch.randn(MEMBERS, layout.dim, dtype=torch.float64, generator=generator)
    return module, layout, layout.flatten(module) + 0.3 * noise, inputs


def one_by_one(module, layout, population, inputs):
    losses, gradients = [], []
    for vector in population:
        layout.assign(module, vector)
        loss = criterion(module(inputs))
        found = torch.autograd.grad(loss, layout.tensors(module))
        losses.append(loss.detach())
        gradients.append(torch.cat([gradient.reshape(-1) for gradient in found]))
    return torch.stack(losses), torch.stack(gradients)


def check(module, layout, population, inputs):
    expected, slopes = one_by_one(module, layout, population, inputs)
    assert expected.unique().numel() == MEMBERS
    engine = PopulationEngine(module, layout, inputs, strategy="vmap")
    engine.tile = 3  # a full tile, and one that is not
    torch.testing.assert_close(engine.losses(population, inputs, criterion), expected, rtol=0, atol=1e-10)
    losses, gradients = engine.gradients(population, inputs, criterion)
    torch.testing.assert_close(losses, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(gradients, slopes, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("kind", "norm"), CASES)
def test_population_equals_one_by_one(kind, norm):
    check(*setup(kind, {"norm": norm}))


# The other norms share the code that takes statistics from elsewhere.
MODES = [pytest.param(*case, marks=[] if case[1] in ("batch", "ghost") else [pytest.mark.slow]) for case in OF_BATCH]


@pytest.mark.parametrize("bn_mode", ["reference", "running"])
@pytest.mark.parametrize(("kind", "norm"), MODES)
def test_every_mode_of_batch_statistics(kind, norm, bn_mode):
    check(*setup(kind, {"norm": norm}, bn_mode))


@pytest.mark.parametrize("norm", ["none", "batch", "weight", "filter_response"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("cnn", {"pool": "mean", "activation": "relu", "padding": "valid", "channels": [4]}),
        ("residual_cnn", {"block": "post-activation", "activation": "sigmoid"}),
        ("residual_cnn", {"block": "plain", "blocks": 2}),
    ],
)
def test_every_form_of_a_network(kind, options, norm):
    check(*setup(kind, {**options, "norm": norm}))


def test_the_engine_batches_them_by_itself():
    for kind in ("cnn", "residual_cnn"):
        module, layout, _, inputs = setup(kind, {"norm": "batch"})
        assert PopulationEngine(module, layout, inputs).strategy == "vmap"


def test_reference_rows_alone_give_the_statistics():
    module, layout, population, inputs = setup("cnn", {"norm": "batch"}, "reference")
    engine = PopulationEngine(module, layout, inputs, strategy="vmap")
    whole = engine.outputs(population, inputs)
    part = engine.outputs(population, inputs[: AHEAD + 2])
    torch.testing.assert_close(part[:, AHEAD:], whole[:, AHEAD : AHEAD + 2], rtol=0, atol=1e-12)


def test_a_cnn_costs_two_operations_per_weight_and_position():
    network = build_network({"kind": "cnn", "input_shape": [1, 8, 8], "out_features": 10})
    cost = measure_cost(network, torch.randn(16, 1, 8, 8), lambda outputs: outputs.sum())
    first, second, dense, head = 8 * 8 * 8 * 9, 4 * 4 * 16 * 8 * 9, 64 * 32, 32 * 10
    assert cost.forward == 2 * (first + second + dense + head)
    # Backward: every weight's gradient, and that of every layer's input but the first's.
    assert cost.backward == 2 * (first + 2 * (second + dense + head))


@pytest.mark.parametrize("block", ["pre-activation", "post-activation", "plain"])
def test_a_residual_cnn_pays_for_its_projection(block):
    network = build_network({"kind": "residual_cnn", "input_shape": [1, 8, 8], "out_features": 10, "block": block})
    cost = measure_cost(network, torch.randn(16, 1, 8, 8), None)
    stem, first, second = 64 * 8 * 9, 64 * 2 * 8 * 8 * 9, 16 * (8 * 16 + 16 * 16) * 9
    projection = 0 if block == "plain" else 16 * 8 * 16
    assert cost.forward == 2 * (stem + first + second + projection + 16 * 10)
