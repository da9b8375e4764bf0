"""Which networks have a program, what it is, and what is said where there is none; those still evaluate right."""

from __future__ import annotations

import pytest
import torch
from fused_cases import case, check, classes, network, random
from torch import nn
from torch.nn.utils import parametrizations

from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.fused.lower import lower
from gfopt.engine.fused.lowering import NotLowered
from gfopt.errors import NetworkError
from gfopt.kernels.program import ACTIVATE, ADD, AFFINE, BATCH, COPY, KEEP, LINEAR, STANDARDIZE, Program
from gfopt.nn import MLP, NormalizedLinear, ParameterLayout
from gfopt.nn.normalization.per_sample import LayerNorm
from gfopt.nn.normalization.weights import WeightNorm, WeightReparametrization

ROWS, INPUTS, CLASSES = 19, 6, 3


def codes(net):
    module = prepare(net, "batch")
    return [op[0] for op in lower(module, ParameterLayout.of(module), torch.zeros(ROWS, INPUTS)).program.ops]


def test_operations_stand_in_the_order_of_the_layers():
    assert codes(network("mlp", INPUTS, CLASSES, hidden=[4])) == [LINEAR, ACTIVATE, LINEAR]
    assert codes(network("mlp", INPUTS, CLASSES, hidden=[4], norm="batch")) == [LINEAR, BATCH, ACTIVATE, LINEAR]
    assert codes(network("mlp", INPUTS, CLASSES, hidden=[4], norm="layer", norm_position="post")) == [
        LINEAR, ACTIVATE, STANDARDIZE, AFFINE, LINEAR,
    ]  # fmt: skip


def test_a_block_puts_its_input_aside_and_adds_it_again():
    options = {"width": 4, "blocks": 1, "layers_per_block": 1}
    assert codes(network("residual", INPUTS, CLASSES, block="pre-activation", **options)) == [
        LINEAR, KEEP, ACTIVATE, LINEAR, ADD, ACTIVATE, LINEAR,
    ]  # fmt: skip
    assert codes(network("residual", INPUTS, CLASSES, block="post-activation", **options)) == [
        LINEAR, ACTIVATE, KEEP, LINEAR, ADD, ACTIVATE, LINEAR,
    ]  # fmt: skip
    assert codes(network("residual", INPUTS, CLASSES, block="plain", **options)) == [
        LINEAR, ACTIVATE, LINEAR, ACTIVATE, LINEAR,
    ]  # fmt: skip


def test_samples_are_copied_ahead_of_what_would_write_on_them():
    assert codes(network("mlp", INPUTS, CLASSES, hidden=[4], input_norm="rms"))[:2] == [COPY, STANDARDIZE]
    assert codes(network("mlp", INPUTS, CLASSES, hidden=[4], norm="cosine"))[:3] == [COPY, STANDARDIZE, LINEAR]


def test_statistics_of_the_batch_cut_the_program_into_stages():
    module = prepare(network("mlp", INPUTS, CLASSES, hidden=[4, 4], norm="batch"), "batch")
    program = lower(module, ParameterLayout.of(module), torch.zeros(ROWS, INPUTS)).program
    assert program.arrays()[2].tolist() == [0, 1, 4, 7]
    assert program.heaviest == 4 * INPUTS
    assert program.width == INPUTS


def test_a_program_knows_its_widest_layer():
    program = Program(3)
    program.add(LINEAR, 20, 3, 0, -1, 0)
    program.add(LINEAR, 2, 20, 60, -1, 0)
    assert (program.width, program.features) == (20, 2)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class DoubledMLP(MLP):
    def forward(self, x):
        return 2 * super().forward(x)


class HalfLayerNorm(LayerNorm):
    def standardize(self, z, *, positions=0, members=False):
        return 0.5 * super().standardize(z, positions=positions, members=members)


class HalfWeightNorm(WeightNorm):
    def normalized(self, rows, gain):
        return 0.5 * super().normalized(rows, gain)


class LargestWeight(WeightReparametrization):
    """Each unit's weights over the largest of them."""

    def normalized(self, rows, gain):
        rows = rows / rows.abs().amax(-1, keepdim=True)
        return rows if gain is None else rows * gain.unsqueeze(-1)


class SkipInside(nn.Module):
    """A skip around a network that has one of its own."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(INPUTS, 4), nn.Linear(4, CLASSES)
        self.inner = network("residual", 4, 4, width=4, blocks=1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.inner(x))


class SkipOverwritten(nn.Module):
    """The activation writes over what the skip adds; with its head at 0, no output shows it."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.head = nn.Linear(INPUTS, 4), nn.Linear(4, 4), nn.Linear(4, CLASSES)
        self.active = nn.ReLU(inplace=True)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.inner(self.active(x)))


def with_norm(norm_class):
    """A network whose layer has somebody's own norm."""
    layer = NormalizedLinear(INPUTS, 4)
    layer.norm = norm_class(INPUTS, 4)
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(4, CLASSES))


def chain(*layers):
    return nn.Sequential(nn.Linear(INPUTS, 4), *layers, nn.Linear(4, CLASSES))


def frozen(name):
    net = chain(nn.Tanh())
    net.get_parameter(name).requires_grad_(False)
    return net


def hooked():
    net = chain(nn.Tanh())
    net[1].register_forward_hook(lambda _module, _args, output: 2 * output)
    return net


def hooked_ahead():
    net = chain(nn.Tanh())
    net[2].register_forward_pre_hook(lambda _module, args: (2 * args[0],))
    return net


def parametrized():
    net = chain(nn.Tanh())
    parametrizations.weight_norm(net[0])
    return net


def replaced():
    net = chain(nn.Tanh())
    net[1].forward = lambda x: 2 * torch.tanh(x)
    return net


OTHERS = {
    "frozen weight": (lambda: frozen("0.weight"), "a frozen parameter is the same for all members"),
    "frozen bias": (lambda: frozen("2.bias"), "a frozen parameter is the same for all members"),
    "hook": (hooked, "hooks look into the network"),
    "hook ahead": (hooked_ahead, "hooks look into the network"),
    "parametrization": (parametrized, "ParametrizedLinear has no compiled form"),
    "subclass": (lambda: chain(Doubled(4, 4)), "Doubled: weight is computed aside"),
    "subclass of a network": (
        lambda: DoubledMLP(INPUTS, CLASSES, hidden=[4]),
        "DoubledMLP: its forward depends on values (TraceError)",
    ),
    "own norm": (lambda: with_norm(HalfLayerNorm), "HalfLayerNorm has no compiled form"),
    "own norm of weights": (lambda: with_norm(HalfWeightNorm), "HalfWeightNorm has no compiled form"),
    "ghost": (lambda: network("mlp", INPUTS, CLASSES, norm="ghost"), "GhostBatchNorm has no compiled form"),
    "iternorm": (lambda: network("mlp", INPUTS, CLASSES, norm="iternorm"), "IterNorm has no compiled form"),
    "replaced forward": (replaced, "the forward of a Tanh was replaced"),
    "skip inside of a skip": (SkipInside, "skips inside of skips"),
    "overwritten skip": (
        SkipOverwritten,
        "the forward of SkipOverwritten computes something else than its layers in a row",
    ),
    "relu6": (lambda: chain(nn.ReLU6()), "ReLU6 has no compiled form"),
    "gelu by tanh": (lambda: chain(nn.GELU("tanh")), "GELU with approximate=tanh"),
    "steep softplus": (lambda: chain(nn.Softplus(beta=2)), "Softplus with beta=2"),
    "wide hardtanh": (lambda: chain(nn.Hardtanh(-2, 2)), "Hardtanh with min_val=-2"),
    "convolution": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, INPUTS)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, CLASSES)),
        "Unflatten has no compiled form",
    ),
    "layer norm over axes": (
        lambda: nn.Sequential(nn.LayerNorm((INPUTS,)), nn.Linear(INPUTS, CLASSES), nn.Softmax(-1)),
        "Softmax has no compiled form",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_no_program_says_why_and_is_evaluated_otherwise(name):
    torch.manual_seed(0)
    make, reason = OTHERS[name]
    found = case(make(), random(ROWS, INPUTS), strategy=None)
    assert found.engine.strategy != "fused"
    assert found.engine.plan.reasons["fused"] == reason
    assert reason in str(found.engine.plan)
    check(found, classes(ROWS, CLASSES), rtol=1e-4 if name == "iternorm" else 5e-6)


def test_a_reparametrization_of_somebody_elses_is_asked_what_it_does():
    torch.manual_seed(0)
    check(case(with_norm(LargestWeight), random(ROWS, INPUTS)), classes(ROWS, CLASSES))


@pytest.mark.parametrize("kind", ["batch", "mean", "weight_mean", "batch_renorm"])
def test_statistics_that_are_remembered_have_no_program(kind):
    net = network("mlp", INPUTS, CLASSES, norm=kind)
    found = case(net, random(ROWS, INPUTS), mode="running", strategy=None)
    assert found.engine.plan.reasons["fused"] == "statistics of earlier batches are remembered"
    check(found, classes(ROWS, CLASSES))


def test_statistics_that_are_only_applied_have_no_program():
    module = prepare(network("mlp", INPUTS, CLASSES, norm="mean"), "batch").eval()
    with pytest.raises(NotLowered, match="remembered"):
        lower(module, ParameterLayout.of(module), torch.zeros(ROWS, INPUTS))


def test_a_tied_weight_with_two_normalizations_says_so():
    first, second = NormalizedLinear(INPUTS, INPUTS, "spectral"), nn.Linear(INPUTS, INPUTS)
    second.weight = first.weight
    found = case(nn.Sequential(first, second, nn.Linear(INPUTS, CLASSES)), random(ROWS, INPUTS), strategy=None)
    assert found.engine.plan.reasons["fused"] == "a tied weight has one normalization at each of its places"


def test_dropout_has_no_program_only_while_it_drops():
    net = chain(nn.Dropout(0.5), nn.Tanh())
    module = prepare(net, "batch")
    layout, rows = ParameterLayout.of(module), random(ROWS, INPUTS)
    assert PopulationEngine(module, layout, rows).plan.reasons["fused"] == "dropout draws masks"
    assert PopulationEngine(module.eval(), layout, rows).strategy == "fused"


def test_samples_that_are_no_rows_have_no_program_where_nothing_flattens_them():
    torch.manual_seed(0)
    found = case(nn.Linear(3, CLASSES), random(ROWS, 2, 3), strategy=None)
    assert found.engine.plan.reasons["fused"] == "samples are no flat rows"
    torch.testing.assert_close(
        found.engine.outputs(found.population, found.inputs).double(), found.outputs_of_loop(), rtol=1e-5, atol=1e-6
    )


def test_double_precision_has_no_program():
    module = prepare(network("mlp", INPUTS, CLASSES).double(), "batch")
    engine = PopulationEngine(module, ParameterLayout.of(module), random(ROWS, INPUTS).double())
    assert engine.plan.reasons["fused"] == "only for float32 on the CPU"


def test_asking_for_a_kernel_that_is_not_there_says_why():
    with pytest.raises(NetworkError, match="expected a network with a fused kernel, got 'ReLU6 has no compiled form'"):
        case(chain(nn.ReLU6()), random(ROWS, INPUTS))
