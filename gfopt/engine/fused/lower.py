"""From a network to the program that computes it, layer by layer; or the layer that has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from gfopt.engine.batchnorm import BatchStatistics
from gfopt.engine.fused.lowering import Lowering, NotLowered, Scaling
from gfopt.kernels.program import (
    ACTIVATE,
    ACTIVATIONS,
    ADD,
    KEEP,
)
from gfopt.nn import MLP, NormalizedLinear, NormLayer, ResidualMLP
from gfopt.nn.activations import LeakyReLUOneAtZero, Sin, Step
from gfopt.nn.blocks import Preactivation, ResidualBlock
from gfopt.nn.normalization import Normalization
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
    lowering = Lowering(layout, module, example.shape[1:], _LAYERS, _FLATTENING)
    lowering.layer(module)
    lowering.check()
    return lowering
