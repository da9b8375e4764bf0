"""Networks whose layers compute all members at once from stacked weights, without `torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gfopt.engine.batchnorm import BatchStatistics, statistics_layers
from gfopt.engine.dropout import drops
from gfopt.nn import MLP, NormalizedLinear, NormLayer, ResidualMLP

NativeForward = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]

# Layers that act on each number by itself, so that a leading axis of members changes nothing; dropout where it is off.
_ELEMENTWISE = (
    nn.Identity,
    nn.Dropout,
    nn.Tanh,
    nn.Sigmoid,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Softplus,
    nn.Hardtanh,
    nn.SELU,
)
_ON_ROWS = (nn.Linear, NormalizedLinear, NormLayer, BatchStatistics, nn.LayerNorm, nn.RMSNorm)


def native_forward(module: nn.Module) -> NativeForward | None:
    """From stacked parameters, frozen ones and `(B, ...)` rows to `(T, B, C)`; `None` if there is nothing to gain.

    In an `nn.Sequential`, layers without a form of their own for stacked weights go through `torch.func.vmap`, one by
    one; the others do not.
    """
    if statistics_layers(module):  # with a memory, that is: such a layer takes one network's channels only
        return None
    if drops(module):  # with stacked members it would draw one mask for each
        return None
    if any(part._forward_hooks or part._forward_pre_hooks for part in module.modules()):  # they expect one network
        return None
    # Exact types, here and below: a subclass may compute something else.
    if type(module) in (MLP, ResidualMLP):

        def stacked(parameters: Mapping[str, Tensor], frozen: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
            output: Tensor = functional_call(module, {**frozen, **parameters}, (inputs,), tie_weights=False)
            # With no gene in front of the last layers, one computation serves all members.
            return output if output.ndim == 3 else output.expand(_members(parameters), *output.shape)

        return stacked
    return _chain(module) if type(module) is nn.Sequential else None


@dataclass(frozen=True)
class _Step:
    """A layer of a chain.

    Attributes:
        layer: itself.
        names: of its parameters: the layer's own name for each, and the network's.
    """

    layer: nn.Module
    names: Mapping[str, str]


def _chain(module: nn.Sequential) -> NativeForward | None:
    """One layer after the other; `None` if the first that has parameters is none for rows of features."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    steps = [
        _Step(layer, {own: names[id(parameter)] for own, parameter in layer.named_parameters()})
        for layer in _layers(module)
    ]
    memory = [id(buffer) for step in steps for buffer in step.layer.buffers()]
    if len(set(memory)) < len(memory):  # what one layer writes there, the other reads
        return None
    kinds = [type(step.layer) for step in steps if step.names]
    if not kinds or kinds[0] not in _ON_ROWS:  # a network of pictures or sequences
        return None

    def chain(parameters: Mapping[str, Tensor], frozen: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        x, stacked = inputs, False
        with sdpa_kernel(SDPBackend.MATH):  # of a user's attention the kernel that can be batched
            for step in steps:
                x, stacked = _step(step, parameters, frozen, x, stacked)
        return x if stacked else x.expand(_members(parameters), *x.shape)

    return chain


def _layers(module: nn.Sequential) -> Iterator[nn.Module]:
    """The layers in order, as often as they are used; a chain inside the chain is part of it."""
    for layer in module:
        if type(layer) is nn.Sequential:
            yield from _layers(layer)
        else:
            yield layer


def _step(
    step: _Step, parameters: Mapping[str, Tensor], frozen: Mapping[str, Tensor], x: Any, stacked: bool
) -> tuple[Any, bool]:
    """What a layer makes of `x`, and whether that differs between members.

    Args:
        step: the layer.
        parameters: stacked ones.
        frozen: the others.
        x: what the layer before returned.
        stacked: whether it has a first axis of members.
    """
    layer = step.layer
    own = {name: parameters[full] if full in parameters else frozen[full] for name, full in step.names.items()}
    genes = {name for name, full in step.names.items() if full in parameters}
    if type(layer) in _ELEMENTWISE:
        return layer(x), stacked
    rows = isinstance(x, Tensor) and x.ndim == 2 + stacked
    if rows and _knows_rows(layer):
        return _apply(layer, own, x, stacked), stacked or bool(genes)
    buffers = dict(layer.named_buffers())
    if not stacked and not genes:
        return functional_call(layer, own | {n: b.clone() for n, b in buffers.items()}, (x,)), False
    members = _members(parameters)
    state = {name: b.expand(members, *b.shape).clone() for name, b in buffers.items()}
    batched = vmap(
        lambda values, memory, rows: functional_call(layer, {**values, **memory}, (rows,)),
        in_dims=({name: 0 if name in genes else None for name in own}, 0, 0 if stacked else None),
    )
    return batched(own, state, x), True


def _knows_rows(layer: nn.Module) -> bool:
    """Whether a layer has a form of its own for rows of features."""
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm) and len(layer.normalized_shape) > 1:
        return False
    return type(layer) in _ON_ROWS


def _apply(layer: nn.Module, own: Mapping[str, Tensor], x: Tensor, stacked: bool) -> Tensor:
    if isinstance(layer, nn.Linear):
        return _linear(x, own["weight"], own.get("bias"))
    if isinstance(layer, BatchStatistics):
        return layer.forward_members(x, own.get("weight"), own.get("bias"))
    if isinstance(layer, nn.LayerNorm):
        return _affine(F.layer_norm(x, layer.normalized_shape, eps=layer.eps), own.get("weight"), own.get("bias"))
    if isinstance(layer, nn.RMSNorm):
        return _affine(F.rms_norm(x, list(layer.normalized_shape), eps=layer.eps), own.get("weight"), None)
    members: Tensor = functional_call(layer, dict(own), (x,), {"members": stacked})
    return members


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """`(B, F)` or `(T, B, F)` by `(T, F)`, or a frozen `(F,)`."""
    scaled = x if weight is None else x * weight.unsqueeze(-2)
    return scaled if bias is None else scaled + bias.unsqueeze(-2)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`(B, in)` or `(T, B, in)` by `(T, out, in)`, or a frozen `(out, in)`."""
    if weight.ndim == 2:
        y = x @ weight.mT
        return y if bias is None else y + (bias if bias.ndim == 1 else bias.unsqueeze(-2))
    rows = x.expand(len(weight), *x.shape[-2:])
    if bias is None:
        return torch.bmm(rows, weight.mT)
    bias = bias if bias.ndim == 2 else bias.expand(len(weight), -1)
    return torch.baddbmm(bias.unsqueeze(-2), rows, weight.mT)


def _members(parameters: Mapping[str, Tensor]) -> int:
    return len(next(iter(parameters.values())))
