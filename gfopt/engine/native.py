"""Networks whose layers compute all members at once from stacked weights, without `torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from gfopt.engine.batchnorm import BatchStatistics, statistics_layers
from gfopt.engine.dropout import drops
from gfopt.nn import MLP, NormalizedLinear, NormLayer, ResidualMLP

NativeForward = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]

# Layers that act on each number by itself, so that a leading axis of members changes nothing.
_ELEMENTWISE = (
    nn.Identity,
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
_LAYERS = (nn.Linear, NormalizedLinear, NormLayer, BatchStatistics, *_ELEMENTWISE)


def native_forward(module: nn.Module) -> NativeForward | None:
    """From stacked parameters, frozen ones and `(B, ...)` rows to `(T, B, C)`; `None` if a layer is not known."""
    if statistics_layers(module):  # with a memory, that is: such a layer takes one network's channels only
        return None
    if drops(module):  # with stacked members it would draw one mask for each
        return None
    if isinstance(module, MLP | ResidualMLP):

        def stacked(parameters: Mapping[str, Tensor], frozen: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
            output: Tensor = functional_call(module, {**frozen, **parameters}, (inputs,), tie_weights=False)
            # With no gene in front of the last layers, one computation serves all members.
            return output if output.ndim == 3 else output.expand(_members(parameters), *output.shape)

        return stacked
    if type(module) is not nn.Sequential or not _known(module):
        return None

    def chain(parameters: Mapping[str, Tensor], frozen: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        everything = {**frozen, **parameters}
        x = inputs
        for name, layer in module.named_children():
            own = {key.partition(".")[2]: t for key, t in everything.items() if key.partition(".")[0] == name}
            x = _apply(layer, own, x)
        return x if x.ndim == 3 else x.expand(_members(parameters), *x.shape)

    return chain


def _known(module: nn.Sequential) -> bool:
    """Whether every layer is known, on flat rows; a Flatten may come first only."""
    names = {id(p) for p in module.parameters()}
    shared = len(names) != sum(1 for layer in module.modules() for _ in layer.parameters(recurse=False))
    rows = [layer for i, layer in enumerate(module) if not (i == 0 and _flattens(layer))]
    own = not any(parametrize.is_parametrized(layer) for layer in rows)  # else its weight is not a parameter
    return bool(rows) and own and not shared and all(isinstance(layer, _LAYERS) for layer in rows)


def _flattens(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Flatten) and layer.start_dim == 1 and layer.end_dim == -1


def _apply(layer: nn.Module, own: Mapping[str, Tensor], x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return _linear(x, own["weight"], own.get("bias"))
    if isinstance(layer, BatchStatistics):
        return layer.forward_members(x, own.get("weight"), own.get("bias"))
    if isinstance(layer, NormalizedLinear | NormLayer):
        members: Tensor = functional_call(layer, dict(own), (x,), {"members": x.ndim == 3})
        return members
    return layer(x)  # type: ignore[no-any-return] # modules are untyped in torch


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`(B, in)` or `(T, B, in)` by `(T, out, in)`, or a frozen `(out, in)`."""
    if weight.ndim == 2:
        y = x @ weight.mT
        return y if bias is None else y + (bias if bias.ndim == 1 else bias.unsqueeze(-2))
    rows = x.expand(len(weight), *x.shape[-2:])
    if bias is None:
        return torch.bmm(rows, weight.mT)
    return torch.baddbmm(bias.expand(len(weight), -1).unsqueeze(-2), rows, weight.mT)


def _members(parameters: Mapping[str, Tensor]) -> int:
    return len(next(iter(parameters.values())))
