"""How much of each activation is flat, and how many units pass nothing on."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gfopt.diagnostics.layers import activation_candidates, by_unit, is_elementwise, weighted_layers, without_hooks
from gfopt.diagnostics.passes import forward

SATURATED_SLOPE = 0.01  # below it an entry counts as saturated; sigmoid' at |z| = 4.6, tanh' at 3.0
DEAD_SLOPE = 1e-6  # below it nothing that backprop sends arrives


@dataclass(frozen=True)
class LayerSaturation:
    """The state of one activation `f` on a batch.

    Attributes:
        layer: place, in the order of execution, of the layer with weights that ran last before it, whose `z` it
            takes; 0 if there was none.
        name: the activation's name in the module; one that is used again appears again.
        saturation_fraction: share of the entries with `|f'(z)| < 0.01`; 1 for a step.
        dead_share: share of the units that are dead on every row of the batch: their output is constant (of two rows
            or more), or `|f'(z)| < 1e-6` throughout, which counts only where `f` has a gradient at all.
    """

    layer: int
    name: str
    saturation_fraction: float
    dead_share: float


def saturation(module: nn.Module, inputs: Tensor) -> list[LayerSaturation]:
    """Saturation and dead units of every elementwise activation module, in the order of execution.

    `f'` comes from autograd, so any activation will do: torch's own, gfopt's, and a user's module without parameters
    that maps each number by itself. Functions that a network calls without a module, as `torch.relu(z)`, cannot be
    seen. Units are the last axis; after a convolution, the channels. The module is used in the mode that it is in,
    and left as it was.

    Args:
        module: the network.
        inputs: `(B, ...)`.

    Returns:
        One row per call of an activation; none if the network has no such module.
    """
    found: list[LayerSaturation] = []
    ran: list[nn.Module] = []  # layers with weights, so far

    def pass_layer(layer: nn.Module, _args: object) -> None:
        ran.append(layer)

    with ExitStack() as hooks, torch.no_grad():
        for _, layer in weighted_layers(module):
            hooks.callback(layer.register_forward_pre_hook(pass_layer).remove)
        for name, part in activation_candidates(module):

            def look(part: nn.Module, args: tuple[object, ...], name: str = name) -> None:
                z = args[0] if len(args) == 1 else None
                if isinstance(z, Tensor) and z.numel() and is_elementwise(part, z):
                    saturated, dead = _state(part, z, ran[-1] if ran else None)
                    found.append(LayerSaturation(len(ran), name, saturated, dead))

            hooks.callback(part.register_forward_pre_hook(look).remove)
        forward(module, inputs)
    return found


def slope(activation: nn.Module, z: Tensor) -> Tensor | None:
    """`f'(z)` of an elementwise activation, of the shape of `z`; `None` if its output carries no gradient."""
    with torch.enable_grad():
        leaf = z.detach().clone().requires_grad_()
        value = without_hooks(activation)(leaf.clone())  # the activation may work in place
        if not value.requires_grad:
            return None
        gradient: Tensor = torch.autograd.grad(value.sum(), leaf)[0]
    return gradient


def _state(activation: nn.Module, z: Tensor, layer: nn.Module | None) -> tuple[float, float]:
    """Saturation fraction and dead share."""
    gradient = slope(activation, z)
    rows = by_unit(layer, without_hooks(activation)(z.clone()))
    dead = (rows == rows[:1]).all(0) if len(rows) > 1 else torch.zeros_like(rows[0], dtype=torch.bool)
    if gradient is None:
        return 1.0, float(dead.double().mean())
    flat = gradient.abs()
    dead = dead | (by_unit(layer, flat) < DEAD_SLOPE).all(0)
    return float((flat < SATURATED_SLOPE).double().mean()), float(dead.double().mean())
