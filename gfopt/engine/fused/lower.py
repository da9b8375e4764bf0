"""From a network to the program that computes it, layer by layer; or the layer that has none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gfopt.engine.batchnorm import BatchStatistics
from gfopt.engine.fused.traced import NotTraced, chain_of
from gfopt.kernels.program import (
    ACTIVATE,
    ACTIVATIONS,
    ADD,
    AFFINE,
    BATCH,
    KEEP,
    LINEAR,
    NOWHERE,
    STANDARDIZE,
    Program,
)
from gfopt.nn import MLP, NormalizedLinear, NormLayer, ResidualMLP
from gfopt.nn.activations import LeakyReLUOneAtZero, Sin, Step
from gfopt.nn.blocks import Preactivation, ResidualBlock
from gfopt.nn.normalization import Normalization, RowStatistics
from gfopt.nn.normalization.base import Identity
from gfopt.nn.normalization.batch import BatchDependent, BatchNorm, BatchRenorm, MeanOnlyBatchNorm, WeightMeanNorm
from gfopt.nn.normalization.per_sample import GroupNorm, LayerNorm, RMSNorm
from gfopt.nn.normalization.weights import (
    CentredWeightNorm,
    CosineNorm,
    DirectionNorm,
    PearsonNorm,
    WeightNorm,
    WeightReparametrization,
    WeightStandardization,
)
from gfopt.nn.parameters import ParameterLayout

_DIRECTIONS = (WeightNorm, CentredWeightNorm, WeightStandardization, CosineNorm, PearsonNorm)


class NotLowered(Exception):
    """A layer that has no program; the message says which, and why."""


@dataclass(frozen=True)
class Scaling:
    """A weight that a normalization replaces before the program runs.

    Attributes:
        norm: computes it from stacked weights `(1, out, in)` and gains `(1, out)`.
        weight: its entries of the genome.
        shape: `(out, in)`.
        gain: the gain's entries, `None` where there is none.
    """

    norm: WeightReparametrization
    weight: slice
    shape: tuple[int, ...]
    gain: slice | None

    def apply(self, genomes: Tensor) -> None:
        """Replace the weights of `(T, D)` genomes, in place."""
        for genome in genomes:  # torch's batched products round otherwise in another stack, or at another place of it
            rows = genome[self.weight].reshape(1, *self.shape)
            gain = None if self.gain is None else genome[None, self.gain]
            # Eigenvalues of what is not finite are an error; this bounds every product of two rows.
            finite = rows.square().sum() < torch.inf
            scaled = torch.where(finite, self.norm.scaled(torch.where(finite, rows, 0), gain), torch.nan)
            genome[self.weight] = scaled.flatten()


class Lowering:
    """Walks through a network and collects its program.

    Args:
        layout: where each parameter lies in the genome.
        module: the network.
        sample: shape of a sample.

    Attributes:
        program: what was collected.
        flat: whether samples have become flat rows by now.
        traced: whether a `forward` of a user's own was read.
        scalings: weights to replace ahead of it.
        reference_rows: leading samples that give the statistics of batches, 0 for all; `None` without batch norms.
    """

    def __init__(self, layout: ParameterLayout, module: nn.Module, sample: Sequence[int]) -> None:
        self.program = Program(math.prod(sample))
        self.flat = len(sample) == 1
        self.traced = False
        self.scalings: list[Scaling] = []
        self.reference_rows: int | None = None
        genes = {group.name: group for group in layout.groups}
        self._read: Counter[int] = Counter()
        # By identity: a tied parameter has one place and several names.
        self._genes = {id(p): genes[name] for name, p in module.named_parameters() if name in genes}

    def layer(self, module: nn.Module) -> None:
        """Add what a layer computes.

        Raises:
            NotLowered: if there is no program for it.
        """
        kind = type(module)  # not subclasses: they may compute something else
        if "forward" in vars(module):
            raise NotLowered(f"the forward of a {kind.__name__} was replaced")
        if parametrize.is_parametrized(module) or (kind not in _LAYERS and kind.__module__.startswith("torch.nn")):
            raise NotLowered(f"{kind.__name__} has no compiled form")
        if kind not in _LAYERS:
            self._chain(module)
            return
        if not self.flat and kind not in _FLATTENING:
            raise NotLowered("samples are no flat rows")
        _LAYERS[kind](self, module)

    def _chain(self, module: nn.Module) -> None:
        """Add the layers of a network of a class that is not known."""
        self.traced = True
        try:
            chain = chain_of(module, tuple(_LAYERS))
        except NotTraced as reason:
            raise NotLowered(f"{type(module).__name__}: {reason}") from None
        kept = 0
        for part in chain:
            if isinstance(part, nn.Module):
                self.layer(part)
            elif part == "keep":
                kept = self.program.features
                self.program.add(KEEP, kept)
            elif kept != self.program.features:
                raise NotLowered(f"a sum of {kept} and {self.program.features} features")
            else:
                self.program.add(ADD, kept)

    def place(self, parameter: Tensor | None) -> int:
        """Where a parameter begins in the genome."""
        if parameter is None:
            return NOWHERE
        place: int = self.entries(parameter).start
        self._read[place] += 1
        return place

    def check(self) -> None:
        """Refuse what each layer by itself allows, but not all of them together.

        Raises:
            NotLowered: for a weight that is replaced ahead of the program and that something else reads too, or more
                than one tile to put aside.
        """
        if any(self._read[scaling.weight.start] > 1 for scaling in self.scalings):
            raise NotLowered("a tied weight has one normalization at each of its places")
        skips = [op[0] for op in self.program.ops if op[0] in (KEEP, ADD)]
        if any(code == following for code, following in pairwise(skips)):
            raise NotLowered("skips inside of skips")

    def entries(self, parameter: Tensor) -> slice:
        """A parameter's entries of the genome."""
        group = self._genes.get(id(parameter))
        if group is None:
            raise NotLowered("a frozen parameter is the same for all members")
        return group.slice

    def linear(self, units: int, inputs: int, weight: int, bias: int = NOWHERE, *, normalized: bool = False) -> None:
        """`W x + b`."""
        if inputs != self.program.features:
            raise NotLowered(f"a layer of {inputs} inputs behind {self.program.features} features")
        self.program.add(LINEAR, units, inputs, weight, bias, int(normalized))

    def affine(self, gain: Tensor | None, shift: Tensor | None) -> None:
        """`g x + b`."""
        if gain is not None or shift is not None:
            self.program.add(AFFINE, self.program.features, self.place(gain), self.place(shift))

    def statistics(self, layer: nn.Module) -> None:
        """Take note of which samples give a batch norm's statistics; they are the same for all layers."""
        forgets = isinstance(layer, RowStatistics) and layer.training and not layer.remember
        if not forgets and not isinstance(layer, BatchStatistics):
            raise NotLowered("statistics of earlier batches are remembered")
        self.reference_rows = layer.reference_rows  # type: ignore[assignment] # a module's attributes are untyped

    def batch(self, eps: float, gain: Tensor | None, shift: Tensor | None, *, scales: bool) -> None:
        """`(x - mu) / sigma` over the batch, `sigma = 1` unless it `scales`; then gain and shift."""
        self.program.add(BATCH, self.program.features, int(scales), self.place(gain), self.place(shift), number=eps)

    def standardize(self, eps: float, *, groups: int = 1, centred: bool = True, of_length: bool = False) -> None:
        """`(x - mu) / sigma` over the features of each group of one sample."""
        others = groups, int(centred), int(of_length)
        self.program.add(STANDARDIZE, self.program.features, *others, number=eps)


def _sequential(to: Lowering, module: nn.Sequential) -> None:
    for layer in module:
        to.layer(layer)


def _flatten(to: Lowering, module: nn.Flatten) -> None:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise NotLowered("Flatten of some axes has no compiled form")
    to.flat = True


def _mlp(to: Lowering, module: MLP) -> None:
    to.flat = True
    if module.input_norm is not None:
        to.layer(module.input_norm)
    for i, activation in enumerate(module.activations):
        to.layer(module.layers[i])
        to.layer(activation)
        if module.norms is not None:
            to.layer(module.norms[i])
        if module.dropout is not None:
            to.layer(module.dropout)
    to.layer(module.layers[-1])


def _residual(to: Lowering, module: ResidualMLP) -> None:
    to.flat = True
    for layer in (module.stem, module.stem_activation, *module.blocks, module.head_activation, module.head):
        to.layer(layer)


def _block(to: Lowering, module: ResidualBlock) -> None:
    if module.shortcut is not None:
        raise NotLowered("a projection beside the branch has no compiled form")
    width = to.program.features
    if module.kind != "plain":
        to.program.add(KEEP, width)
    pairs = list(zip(module.layers, module.activations, strict=True))
    for layer, activation in pairs[:-1]:
        first, second = (activation, layer) if module.kind == "pre-activation" else (layer, activation)
        to.layer(first)
        to.layer(second)
    layer, activation = pairs[-1]
    if module.kind == "pre-activation":
        to.layer(activation)
    to.layer(layer)
    if module.kind != "plain":
        to.program.add(ADD, width)
    if module.kind != "pre-activation":
        to.layer(activation)


def _preactivation(to: Lowering, module: Preactivation) -> None:
    to.layer(module.norm)
    to.layer(module.activation)


def _plain_linear(to: Lowering, module: nn.Linear) -> None:
    to.linear(module.out_features, module.in_features, to.place(module.weight), to.place(module.bias))


def _normalized_linear(to: Lowering, module: NormalizedLinear) -> None:
    norm, units, inputs = module.norm, module.out_features, module.in_features
    if module.later is not None:
        raise NotLowered("each step of a sequence has statistics of its own")
    gain, shift, weight = module.gain, module.shift, to.place(module.weight)
    # By its exact class wherever the formula is written down here: a subclass may have another.
    if type(norm) is WeightMeanNorm:
        place = to.program.direction(units, inputs, weight, to.place(gain), centred=False, length=1.0, eps=norm.eps)
        to.linear(units, inputs, place, normalized=True)
        to.statistics(norm.statistics)
        to.batch(norm.eps, None, shift, scales=False)
    elif isinstance(norm, DirectionNorm) and type(norm) in _DIRECTIONS:
        if norm.of_input:
            to.standardize(norm.eps, centred=norm.centred, of_length=True)
        length = math.sqrt(inputs) if type(norm) is WeightStandardization else 1.0
        place = to.program.direction(
            units, inputs, weight, to.place(gain), centred=norm.centred, length=length, eps=norm.eps
        )
        to.linear(units, inputs, place, to.place(shift), normalized=True)
    elif isinstance(norm, WeightReparametrization) and type(norm).forward is WeightReparametrization.forward:
        entries = None if gain is None else to.entries(gain)
        to.scalings.append(Scaling(norm, to.entries(module.weight), tuple(module.weight.shape), entries))
        to.linear(units, inputs, weight, to.place(shift))
    elif type(norm) is Identity:
        to.linear(units, inputs, weight, to.place(shift))
    else:
        to.linear(units, inputs, weight)
        _activation_norm(to, norm, gain, shift)


def _norm_layer(to: Lowering, module: NormLayer) -> None:
    if not isinstance(module.norm, Identity):
        if module.later is not None:
            raise NotLowered("each step of a sequence has statistics of its own")
        _activation_norm(to, module.norm, module.gain, module.shift)


def _activation_norm(to: Lowering, norm: Normalization, gain: Tensor | None, shift: Tensor | None) -> None:
    kind = type(norm)
    if isinstance(norm, BatchDependent) and kind in (BatchNorm, MeanOnlyBatchNorm, BatchRenorm):
        to.statistics(norm.statistics)
        if kind is BatchRenorm and to.reference_rows:
            raise NotLowered("batch renormalization towards reference rows has no compiled form")
        to.batch(norm.eps, gain, shift, scales=kind is not MeanOnlyBatchNorm)
        return
    if kind is LayerNorm:
        to.standardize(norm.eps)
    elif kind is RMSNorm:
        to.standardize(norm.eps, centred=False)
    elif kind is GroupNorm:
        to.standardize(norm.eps, groups=norm.options.groups)  # type: ignore[attr-defined] # known by its class
    else:
        raise NotLowered(f"{kind.__name__} has no compiled form")
    to.affine(gain, shift)


def _own_statistics(to: Lowering, module: BatchStatistics) -> None:
    to.statistics(module)
    to.batch(module.eps, module.weight, module.bias, scales=True)


def _torch_layer_norm(to: Lowering, module: nn.LayerNorm) -> None:
    if tuple(module.normalized_shape) != (to.program.features,):
        raise NotLowered("LayerNorm over several axes has no compiled form")
    to.standardize(module.eps)
    to.affine(module.weight, module.bias)


def _nothing(to: Lowering, module: nn.Module) -> None:
    del to, module


def _dropout(to: Lowering, module: nn.Dropout) -> None:
    del to
    if module.training and module.p:
        raise NotLowered("dropout draws masks")


def _activation(
    name: str, option: str = "", *, only: Sequence[tuple[str, object]] = (), one_at_zero: bool = False
) -> Callable[..., None]:
    """Lowers an activation whose `option` is its number, if its other options are those of `only`."""

    def lower(to: Lowering, module: nn.Module) -> None:
        for attribute, value in only:
            if getattr(module, attribute) != value:
                raise NotLowered(f"{type(module).__name__} with {attribute}={getattr(module, attribute)}")
        number = float(getattr(module, option)) if option else 0.0
        to.program.add(ACTIVATE, to.program.features, ACTIVATIONS.index(name), int(one_at_zero), number=number)

    return lower


_LAYERS: dict[type[nn.Module], Callable[..., None]] = {
    MLP: _mlp,
    ResidualMLP: _residual,
    ResidualBlock: _block,
    Preactivation: _preactivation,
    nn.Sequential: _sequential,
    nn.Linear: _plain_linear,
    NormalizedLinear: _normalized_linear,
    NormLayer: _norm_layer,
    BatchStatistics: _own_statistics,
    nn.LayerNorm: _torch_layer_norm,
    nn.Flatten: _flatten,
    nn.Identity: _nothing,
    nn.Dropout: _dropout,
    nn.Tanh: _activation("tanh"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.ReLU: _activation("relu"),
    nn.LeakyReLU: _activation("leaky_relu", "negative_slope"),
    LeakyReLUOneAtZero: _activation("leaky_relu", "slope", one_at_zero=True),
    nn.ELU: _activation("elu", "alpha"),
    nn.SELU: _activation("selu"),
    nn.GELU: _activation("gelu", only=[("approximate", "none")]),
    nn.SiLU: _activation("silu"),
    nn.Softplus: _activation("softplus", only=[("beta", 1), ("threshold", 20)]),
    nn.Hardtanh: _activation("hardtanh", only=[("min_val", -1), ("max_val", 1)]),
    Sin: _activation("sin"),
    Step: _activation("step"),
}


# What takes samples of any shape.
_FLATTENING = (nn.Sequential, nn.Flatten, nn.Identity, MLP, ResidualMLP)


def lower(module: nn.Module, layout: ParameterLayout, example: Tensor) -> Lowering:
    """The program of a network for `(B, ...)` samples like `example`.

    Raises:
        NotLowered: naming the first layer that has none.
    """
    if any(part._forward_hooks or part._forward_pre_hooks for part in module.modules()):
        raise NotLowered("hooks look into the network")
    lowering = Lowering(layout, module, example.shape[1:])
    lowering.layer(module)
    lowering.check()
    return lowering
