"""The compiled gradients against autograd in float64, member by member, for every operation that a program has."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from fused_cases import Case, case, classes, network, random, values
from torch import nn

from gfopt import registry
from gfopt.engine.fused.gradient import FusedGradients
from gfopt.engine.fused.lower import lower
from gfopt.engine.fused.lowering import NotLowered
from gfopt.errors import ShapeError
from gfopt.kernels.tape import tape_of
from gfopt.nn import ParameterLayout
from gfopt.nn.activations import LeakyReLUOneAtZero, Sin, Step

REFUSED = {"spectral", "ghost", "whitening", "iternorm"}
NORMS = [name for name in registry.norms.names() if not registry.norms.get(name).pictures_only and name not in REFUSED]
BATCH, INPUTS, CLASSES = 37, 6, 3


def derived(found: Case) -> FusedGradients:
    return FusedGradients(lower(found.module, found.layout, found.inputs), found.layout, found.inputs)


def autograd(found: Case, criterion, inputs=None, dtype=torch.float64):
    """`(P,)` losses and `(P, D)` gradients of the plain module."""
    module = copy.deepcopy(found.module).to(dtype)
    rows = (found.inputs if inputs is None else inputs).to(dtype)
    wide = replace(
        criterion,
        targets=criterion.targets if criterion.kind == "cross_entropy" else criterion.targets.to(dtype),
        weight=None if criterion.weight is None else criterion.weight.to(dtype),
    )
    losses, gradients = [], []
    for vector in found.population.to(dtype):
        found.layout.assign(module, vector)
        loss = wide(module(rows))
        parameters = [module.get_parameter(name) for name in found.layout.names]
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        losses.append(loss.detach())
        gradients.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    return torch.stack(losses), torch.stack(gradients)


def check(found: Case, criterion, tolerance=3e-6):
    """The gradients are those of autograd in float64, relative to their own length.

    Where a gradient is a difference of large numbers, they are about as exact as autograd in float32.
    """
    loss, gradient = derived(found).gradients(
        found.population, found.inputs[None], [criterion], [len(found.population)]
    )
    exact, slopes = autograd(found, criterion)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-7)
    if found.engine.strategy == "fused":  # one loss, whether it is derived or not
        assert torch.equal(loss, found.losses(criterion))
    narrow = autograd(found, criterion, dtype=torch.float32)[1]
    error, usual = (((g.double() - slopes).norm(dim=1) / slopes.norm(dim=1)).max() for g in (gradient, narrow))
    assert float(error) < max(tolerance, 4 * float(usual)), (error, usual)
    return gradient


def one_layer(activation: nn.Module) -> Case:
    """Pre-activations that are small whole numbers, so that each kink is met; the input passes through a layer."""
    net = nn.Sequential(nn.Linear(1, 3), activation, nn.Linear(3, 2))
    found = case(net, torch.arange(-3.0, 4.0)[:, None])
    first = torch.tensor([1.0, -1.0, 2.0, 0.0, 0.0, 1.0])
    found.population[:, :6] = first
    return found


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("samples", [3, BATCH])
def test_norms_of_an_mlp(norm, samples):
    net = network("mlp", INPUTS, CLASSES, hidden=[10, 8], norm=norm)
    check(case(net, random(samples, INPUTS)), classes(samples, CLASSES))


@pytest.mark.parametrize("norm", [name for name in NORMS if registry.norms.get(name).of_batch])
@pytest.mark.parametrize("ahead", [5, 30])
def test_statistics_of_reference_rows(norm, ahead):
    net = network("mlp", INPUTS, CLASSES, hidden=[10, 8], norm=norm)
    found = case(net, random(ahead + BATCH, INPUTS), mode="reference", ahead=ahead, strategy=None)
    if norm == "batch_renorm":
        with pytest.raises(NotLowered):
            derived(found)
    else:
        check(found, classes(ahead + BATCH, CLASSES, ahead=ahead))


@pytest.mark.parametrize("norm", ["batch", "layer", "rms", "mean", {"kind": "group", "groups": 3}])
def test_norms_of_the_inputs_and_behind_activations(norm):
    net = network(
        "mlp", INPUTS, CLASSES, hidden=[12, 9], norm=norm, norm_position="post", input_norm=norm, activation="relu"
    )
    check(case(net, random(BATCH, INPUTS)), classes(BATCH, CLASSES))


@pytest.mark.parametrize("norm", [*NORMS, "none"])
@pytest.mark.parametrize("block", ["pre-activation", "post-activation", "plain"])
def test_residual_networks(norm, block):
    net = network("residual", INPUTS, CLASSES, width=8, blocks=3, block=block, norm=norm, activation="gelu")
    check(case(net, random(BATCH, INPUTS), spread=0.3), classes(BATCH, CLASSES))


ACTIVATIONS = [
    nn.Tanh(), nn.Sigmoid(), nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(-0.5), LeakyReLUOneAtZero(0.2), nn.ELU(0.7),
    nn.ELU(-0.7), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Hardtanh(), Sin(), nn.Identity(),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activations_and_their_kinks(activation):
    check(one_layer(activation), classes(7, 2))
    net = nn.Sequential(nn.Linear(INPUTS, 9), activation, nn.Linear(9, 8), activation, nn.Linear(8, CLASSES))
    check(case(net, 2 * random(BATCH, INPUTS)), classes(BATCH, CLASSES))


def test_slopes_of_large_numbers_stay_exact():
    found = one_layer(Sin())
    found.population[:, 0] = torch.tensor([50.0, 100.0, 300.0])
    check(found, classes(7, 2), 3e-5)


def test_nothing_comes_back_through_a_step():
    found = case(nn.Sequential(nn.Linear(INPUTS, 9), Step(), nn.Linear(9, CLASSES)), random(BATCH, INPUTS))
    gradient = check(found, classes(BATCH, CLASSES))
    assert not gradient[:, : 9 * INPUTS + 9].any()


def test_every_size_of_a_batch():
    net = network("mlp", INPUTS, CLASSES, hidden=[5])
    for samples in range(1, 51):
        check(case(net, random(samples, INPUTS), members=1), classes(samples, CLASSES))


@pytest.mark.parametrize("widths", [[1], [2, 3], [16, 7], [33, 8, 17]])
@pytest.mark.parametrize("bias", [True, False])
def test_every_width(widths, bias):
    sizes = [INPUTS, *widths, CLASSES]
    layers = [(nn.Linear(*pair, bias=bias), nn.Tanh()) for pair in pairwise(sizes)]
    check(case(nn.Sequential(*(part for pair in layers for part in pair)), random(BATCH, INPUTS)), classes(BATCH, 3))


def test_weights_beyond_a_cache_are_read_for_tiles_of_more_samples():
    found = case(network("mlp", 40, CLASSES, hidden=[260, 257]), random(100, 40), members=1, spread=0.01)
    assert derived(found).rows > 24
    check(found, classes(100, CLASSES))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [classes, values])
def test_losses_and_weights_of_samples(loss, weighted):
    weight = random(BATCH, seed=4).abs() * (torch.arange(BATCH) % 3 > 0) if weighted else None
    check(case(network("mlp", INPUTS, 4, hidden=[9]), random(BATCH, INPUTS)), loss(BATCH, 4, weight=weight))


@pytest.mark.parametrize(
    ("activation", "norm", "features"), [("tanh", "none", 9 + 8), ("gelu", "none", 2 * (9 + 8)), ("tanh", "batch", 34)]
)
def test_values_that_nobody_needs_again_are_written_over(activation, norm, features):
    net = network("mlp", INPUTS, CLASSES, hidden=[9, 8], activation=activation, norm=norm)
    found = case(net, random(BATCH, INPUTS))
    assert tape_of(lower(found.module, found.layout, found.inputs).program).features == features + CLASSES


def test_pictures_are_flattened():
    found = case(network("mlp", INPUTS, CLASSES, hidden=[9], norm="cosine"), random(BATCH, 2, 3))
    check(found, classes(BATCH, CLASSES))


def test_layers_of_torch_and_a_weight_that_two_of_them_share():
    net = nn.Sequential(
        nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8),
        nn.BatchNorm1d(8, affine=False), nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, CLASSES),
    )  # fmt: skip
    net[5].weight = net[3].weight
    check(case(net, random(BATCH, INPUTS)), classes(BATCH, CLASSES))


@pytest.mark.parametrize("norm", ["weight", "centred_weight", "cosine", "pearson", "weight_standardization"])
def test_a_length_below_eps_is_a_constant(norm):
    net = network("mlp", INPUTS, CLASSES, hidden=[8, 7], norm=norm, eps=0.5)
    found = case(net, random(BATCH, INPUTS), spread=0)
    names = dict(zip(found.layout.names, found.layout.groups, strict=True))
    weight = next(group for name, group in names.items() if name.endswith("weight"))
    found.population[0, weight.slice.start : weight.slice.start + INPUTS] = 0
    found.population[1, weight.slice] *= 0.1
    found.inputs[:5] *= 0.01
    found.inputs[5] = 0
    check(found, classes(BATCH, CLASSES))


def test_slopes_are_those_of_the_compiled_losses():
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8], norm="batch"), random(BATCH, INPUTS), members=1)
    criterion = classes(BATCH, CLASSES)
    _, gradient = derived(found).gradients(found.population, found.inputs[None], [criterion], [1])
    direction = random(found.layout.dim, seed=5)
    step = 1e-2 * direction / direction.norm()
    there, back = (replace_population(found, found.population + sign * step).losses(criterion) for sign in (1, -1))
    measured = (there - back) / 2
    torch.testing.assert_close(measured, gradient @ step, rtol=2e-3, atol=1e-6)


def replace_population(found, population):
    return replace(found, population=population)


@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_members_depend_on_nobody_else_and_on_no_threads(norm):
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8], norm=norm), random(BATCH, INPUTS), members=7)
    inputs = random(3, BATCH, INPUTS, seed=8)
    criteria = [classes(BATCH, CLASSES), replace(classes(BATCH, CLASSES), weight=random(BATCH).abs())]
    criteria.append(criteria[0])
    kernel = derived(found)
    together = kernel.gradients(found.population, inputs, criteria, [3, 0, 4])
    streams = [0, 0, 0, 2, 2, 2, 2]
    for i, stream in enumerate(streams):
        alone = kernel.gradients(found.population[i : i + 1], inputs[stream : stream + 1], [criteria[stream]], [1])
        assert torch.equal(alone[0], together[0][i : i + 1])
        assert torch.equal(alone[1], together[1][i : i + 1])
    torch.set_num_threads(2)
    try:
        split = kernel.gradients(found.population, inputs, criteria, [3, 0, 4])
    finally:
        torch.set_num_threads(1)
    assert torch.equal(split[0], together[0])
    assert torch.equal(split[1], together[1])


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "cosine"])
def test_what_is_not_finite_stays_with_its_member(norm):
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8], norm=norm), random(BATCH, INPUTS), members=4)
    criterion, kernel = classes(BATCH, CLASSES), derived(found)
    before = kernel.gradients(found.population, found.inputs[None], [criterion], [4])
    broken = found.population.clone()
    broken[1, 3], broken[2] = torch.nan, 3e38
    losses, gradients = kernel.gradients(broken, found.inputs[None], [criterion], [4])
    assert losses[1].isnan()
    assert gradients[1].isnan().any()
    for i in (0, 3):
        assert torch.equal(losses[i], before[0][i])
        assert torch.equal(gradients[i], before[1][i])


def test_a_batch_of_another_size_than_the_example():
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8], norm="batch"), random(BATCH, INPUTS))
    kernel, more, criterion = derived(found), random(50, INPUTS, seed=2), classes(50, CLASSES)
    _, gradient = kernel.gradients(found.population, more[None], [criterion], [3])
    torch.testing.assert_close(gradient.double(), autograd(found, criterion, more)[1], rtol=1e-4, atol=1e-6)


def test_no_members():
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8]), random(BATCH, INPUTS))
    loss, gradient = derived(found).gradients(found.population[:0], found.inputs[None], [classes(BATCH, CLASSES)], [0])
    assert loss.shape == (0,)
    assert gradient.shape == (0, found.layout.dim)


def test_weights_replaced_ahead_of_the_program_are_refused():
    net = network("mlp", INPUTS, CLASSES, hidden=[8], norm="spectral")
    layout, inputs = ParameterLayout.of(net), random(BATCH, INPUTS)
    with pytest.raises(NotLowered, match="SpectralNorm replaces weights"):
        FusedGradients(lower(net, layout, inputs), layout, inputs)


def test_arrays_that_do_not_fit_are_refused():
    found = case(network("mlp", INPUTS, CLASSES, hidden=[8]), random(BATCH, INPUTS))
    kernel, rows, population = derived(found), found.inputs[None], found.population
    with pytest.raises(ShapeError, match="targets: expected 37 rows, 1 columns"):
        kernel.gradients(population, rows, [classes(30, CLASSES)], [3])
    with pytest.raises(ShapeError, match="targets: expected 37 rows, 3 columns"):
        kernel.gradients(population, rows, [values(BATCH, 2)], [3])
    with pytest.raises(ShapeError, match="members"):
        kernel.gradients(population, rows, [classes(BATCH, CLASSES)], [2])
    with pytest.raises(ShapeError, match="population"):
        kernel.gradients(population.double(), rows, [classes(BATCH, CLASSES)], [3])
