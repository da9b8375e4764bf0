"""What counts as a layer with weights, and what as an activation, when a network is looked into; said only here."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

# Layers whatever they own. Any other layer is known by its weights, as gfopt's own are; see `weighted_layers`.
LAYERS: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Bilinear,
    _ConvNd,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)

# Leaves whose array of two axes is a gain per position, not a weight.
_NO_LAYERS: tuple[type[nn.Module], ...] = (nn.LayerNorm, nn.RMSNorm)

# Torch's elementwise activations; any other module has to prove that it is one, see `is_elementwise`.
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.PReLU, nn.ReLU, nn.RReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign,
    nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip


def weighted_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every outermost layer with weights, each once, in declared order.

    That is a module of a kind in `LAYERS`, or any other that owns a `weight` of two or more axes, or has no parts and
    owns any parameter of two or more axes, such as a user's own layer. What a layer is made of is not another layer.
    """
    inner: set[nn.Module] = set()
    for name, part in module.named_modules():
        if part not in inner and _has_weights(part):
            inner.update(part.modules())
            yield name, part


def activation_candidates(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every part that may be an activation: outside the layers, elementwise by type or unknown."""
    inside = {part for _, layer in weighted_layers(module) for part in layer.modules()}
    for name, part in module.named_modules():
        if part in inside or next(part.children(), None) is not None:
            continue
        of_torch = type(part).__module__.startswith("torch.")
        stateless = not part._parameters and not part._buffers
        if isinstance(part, ACTIVATIONS) or (stateless and not of_torch):
            yield name, part


def is_elementwise(part: nn.Module, z: Tensor) -> bool:
    """Whether `part` maps each number of `z` by itself: by its type, or because some entries do not see the others."""
    if isinstance(part, ACTIVATIONS):
        return True
    if z.numel() < 2 or not z.is_floating_point():
        return False
    # About half of the entries, irregularly, so that every row, column and plane has some of both.
    golden = (math.sqrt(5) - 1) / 2
    kept = torch.frac(golden * torch.arange(z.numel(), device=z.device, dtype=torch.float64)).reshape(z.shape) < 0.5
    other = torch.where(kept, z, 1 - 2 * z)
    with torch.no_grad():
        values = [without_hooks(part)(entries.clone()) for entries in (z, other)]
    if not all(isinstance(value, Tensor) and value.shape == z.shape for value in values):
        return False
    return torch.allclose(values[0][kept], values[1][kept], equal_nan=True)


def without_hooks(part: nn.Module) -> nn.Module:
    """A copy that can be called while `part` itself is being watched."""
    own = copy.deepcopy(part)
    own._forward_pre_hooks.clear()
    own._forward_hooks.clear()
    return own


def weight_names(layer: nn.Module) -> list[str]:
    """Names, within `layer`, of its parameters of two or more axes: its weights, without gains and shifts."""
    return [name for name, parameter in layer.named_parameters() if parameter.ndim > 1]


def sample_axis(layer: nn.Module) -> int:
    """The axis of a layer's input and output that counts samples."""
    return 0 if getattr(layer, "batch_first", True) else 1


def unit_axis(layer: nn.Module | None, values: Tensor) -> int:
    """The axis of a layer's input or output that counts units: channels of a convolution, else the last.

    Args:
        layer: the layer; `None` if it is not known.
        values: `(B, H)`, `(B, T, H)` or `(B, C, ...)`.
    """
    if values.ndim == 1:
        return 0
    convolution = values.ndim > 3 if layer is None else _is_convolution(layer)
    return 1 if convolution else values.ndim - 1


def by_unit(layer: nn.Module | None, values: Tensor) -> Tensor:
    """`(rows, units)`: samples, positions and time steps alike are rows."""
    return values.movedim(unit_axis(layer, values), -1).reshape(-1, values.shape[unit_axis(layer, values)])


def first_tensor(output: object) -> Tensor | None:
    """The output itself, or the first tensor of the tuple that recurrent and attention layers return."""
    if isinstance(output, Tensor):
        return output
    parts = output if isinstance(output, (tuple, list)) else ()
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)


def _is_convolution(layer: nn.Module) -> bool:
    """Whether the weight has positions besides units and inputs."""
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 2 and not isinstance(layer, nn.Bilinear)


def _has_weights(part: nn.Module) -> bool:
    if isinstance(part, LAYERS) or parametrize.is_parametrized(part):
        return True
    if isinstance(part, _NO_LAYERS):
        return False
    own = [name for name, parameter in part._parameters.items() if parameter is not None and parameter.ndim > 1]
    leaf = next(part.children(), None) is None
    return "weight" in own or (leaf and bool(own))
