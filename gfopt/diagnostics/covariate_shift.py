"""How much a step in the layers below changes what a layer sees: internal covariate shift, measured.

Two readings: the change of the layer's own gradient (Santurkar et al. 2018), and the drift of mean and variance of its
input, which is the wording of Ioffe & Szegedy 2015. Equal mean and variance are not yet an equal distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gfopt.diagnostics.layers import by_unit, weighted_layers
from gfopt.diagnostics.passes import forward, named, no_layers

if TYPE_CHECKING:
    from gfopt.types import Group


@dataclass(frozen=True)
class LayerShift:
    """How the gradient `G` of one layer changes to `G'` when only the layers below take their step.

    Attributes:
        layer: its place in the order in which layers run first, from 1.
        name: its name in the module.
        ics_l2: `||G - G'||_2`.
        ics_relative: `||G - G'||_2 / ||G||_2`; NaN if `G` is 0.
        ics_cosine: the cosine of `G` and `G'`; 1 if they are equal, NaN if one of them is 0.
    """

    layer: int
    name: str
    ics_l2: float
    ics_relative: float
    ics_cosine: float


@dataclass(frozen=True)
class InputDrift:
    """How the input of one layer changed on the same rows, in units of the standard deviation that it had.

    Attributes:
        layer: its place in the order in which layers run first, from 1.
        name: its name in the module.
        input_mean_drift: root mean square, over the input's features, of the change of their means, divided by the
            pooled standard deviation before (the root of the mean variance); NaN if that is 0.
        input_variance_drift: the same of the change of their variances, divided by the mean variance before.
    """

    layer: int
    name: str
    input_mean_drift: float
    input_variance_drift: float


def internal_covariate_shift(
    module: nn.Module,
    inputs: Tensor,
    loss_of: Callable[[Tensor], Tensor],
    before: Tensor,
    after: Tensor,
    groups: Sequence[Group],
) -> list[LayerShift]:
    """The internal covariate shift of a step, layer by layer.

    `G_i` is the gradient of layer `i`'s parameters with every parameter as before the step, `G'_i` the one with those
    that run before layer `i` as after it; same batch, same dropout masks. Layers below are all modules with
    parameters that run earlier, a BatchNorm between two layers included. The first layer has none, so its shift is 0.
    The shift grows with the step: compare networks at equal steps, and say which.

    Args:
        module: the network's structure; its own values do not matter where `groups` names a parameter.
        inputs: `(B, ...)`.
        loss_of: from outputs to one number.
        before: `(D,)` parameters before the step.
        after: `(D,)` parameters after it.
        groups: the vectors' layout; layers without a gene are left out.

    Raises:
        ShapeError: if a vector does not have that layout.
        NetworkError: if the module runs no layer with weights.

    References:
        Santurkar et al. 2018, arXiv:1805.11604, definition 2.1.
    """
    old, new = named(before, groups, "before"), named(after, groups, "after")
    gradient = partial(_gradient, module, inputs, loss_of)
    units = _units(module, inputs, old)
    rows: list[LayerShift] = []
    earlier: set[str] = set()
    place = 0
    everything = gradient(old, list(old))
    for unit in units:
        place += unit.is_layer
        if unit.is_layer and unit.genes:
            moved = {name: new[name] for name in earlier - set(unit.genes)}
            now = torch.cat([everything[name].flatten() for name in unit.genes])
            then = now
            if moved:
                found = gradient({**old, **moved}, unit.genes)
                then = torch.cat([found[name].flatten() for name in unit.genes])
            rows.append(LayerShift(place, unit.name, *_compare(now, then)))
        earlier.update(unit.genes)
    if not place:
        raise no_layers()
    return rows


@torch.no_grad()
def input_drift(
    module: nn.Module, inputs: Tensor, before: Tensor, after: Tensor, groups: Sequence[Group]
) -> list[InputDrift]:
    """How mean and variance of each layer's input differ between two parameter vectors, on the same rows.

    Features are the input's last axis; the channels of a convolution. A layer that runs several times is looked at
    the first time.

    Args:
        module: the network's structure.
        inputs: `(B, ...)`.
        before: `(D,)` parameters.
        after: `(D,)` parameters.
        groups: the vectors' layout.

    Raises:
        ShapeError: if a vector does not have that layout.
        NetworkError: if the module runs no layer with weights.
    """
    old = _input_moments(module, inputs, named(before, groups, "before"))
    new = _input_moments(module, inputs, named(after, groups, "after"))
    if not old:
        raise no_layers()
    rows = []
    for place, (name, (variance, _)) in enumerate(old.items(), start=1):
        pooled = float(variance.mean())
        moved = [float((moment - was).square().mean().sqrt()) for moment, was in zip(new[name], old[name], strict=True)]
        drifts = (moved[1] / math.sqrt(pooled), moved[0] / pooled) if pooled else (math.nan, math.nan)
        rows.append(InputDrift(place, name, *drifts))
    return rows


@dataclass(frozen=True)
class _Unit:
    """A module with parameters: a layer with weights, or anything else outside of them, as a BatchNorm."""

    name: str
    is_layer: bool
    genes: list[str]


def _units(module: nn.Module, inputs: Tensor, parameters: Mapping[str, Tensor]) -> list[_Unit]:
    """The modules with parameters in the order in which they run first."""
    genes = {id(module.get_parameter(name)): name for name in parameters}
    layers = dict(weighted_layers(module))
    inside = {part for layer in layers.values() for part in layer.modules()}
    others = {n: part for n, part in module.named_modules() if part not in inside and _owns_parameters(part)}
    order: dict[str, _Unit] = {}

    def ran(_part: nn.Module, _args: object, *, unit: _Unit) -> None:
        order.setdefault(unit.name, unit)

    with ExitStack() as hooks, torch.no_grad():
        for name, part in {**others, **layers}.items():
            own = part.parameters(recurse=name in layers)
            unit = _Unit(name, name in layers, [genes[id(p)] for p in own if id(p) in genes])
            hooks.callback(part.register_forward_pre_hook(partial(ran, unit=unit)).remove)
        forward(module, inputs, parameters)
    return list(order.values())


def _owns_parameters(part: nn.Module) -> bool:
    return any(parameter is not None for parameter in part._parameters.values())


def _gradient(
    module: nn.Module,
    inputs: Tensor,
    loss_of: Callable[[Tensor], Tensor],
    parameters: Mapping[str, Tensor],
    wanted: Sequence[str],
) -> dict[str, Tensor]:
    """The gradients of the wanted parameters, in float64."""
    leaves = {name: parameters[name].detach().clone().requires_grad_() for name in wanted}
    with torch.enable_grad():
        loss = loss_of(forward(module, inputs, {**parameters, **leaves}))
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf).double() if gradient is None else gradient.double()
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
    }


def _compare(now: Tensor, then: Tensor) -> tuple[float, float, float]:
    """Distance, relative distance and cosine."""
    distance = float(torch.linalg.vector_norm(now - then))
    size, other = float(torch.linalg.vector_norm(now)), float(torch.linalg.vector_norm(then))
    if not (size and other):
        return distance, distance / size if size else math.nan, math.nan
    return distance, distance / size, 1.0 if distance == 0 else float((now / size) @ (then / other))


def _input_moments(
    module: nn.Module, inputs: Tensor, parameters: Mapping[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer name to biased variance and mean of each feature of its input, in the order of execution."""
    moments: dict[str, tuple[Tensor, Tensor]] = {}

    def look(layer: nn.Module, args: tuple[object, ...], *, name: str) -> None:
        if name not in moments and args and isinstance(args[0], Tensor):
            moments[name] = torch.var_mean(by_unit(layer, args[0].double()), dim=0, correction=0)

    with ExitStack() as hooks:
        for name, layer in weighted_layers(module):
            hooks.callback(layer.register_forward_pre_hook(partial(look, name=name)).remove)
        forward(module, inputs, parameters)
    return moments
