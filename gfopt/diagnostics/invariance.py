"""Which scalings and shifts of weights and data a given network does not see, layer by layer and as a whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gfopt.diagnostics.layers import first_tensor, sample_axis, unit_axis, weight_names, weighted_layers
from gfopt.diagnostics.passes import forward, no_layers, seeded_alike

TOLERANCE = 1e-4  # largest change, relative to how far outputs differ, that still counts as none
SCALES = (0.5, 3.0)
NEGLIGIBLE_EPS = 1e-12


@dataclass(frozen=True)
class Invariance:
    """What one transformation does to one output.

    Attributes:
        layer: place of the transformed layer in the order in which layers run first, from 1; 0 for all of them, and
            for the data of the network.
        name: the layer's name; empty for 0.
        transformation: a key of `TRANSFORMATIONS`.
        output: whose output is compared: the `layer`'s own, or the `network`'s.
        change: `max |y' - y|` over the largest deviation of an output from its mean over the samples, with the module's
            own eps; NaN if an output is not finite. So an output that hardly depends on a layer, because the signal
            vanishes, does not count as invariant to what is done to that layer.
        invariant: whether the change is below 1e-4 once every eps is negligible (1e-12): what the formulas say.
        despite_eps: whether it is with the module's own eps too; where it is not, the pre-activations are so small that
            eps decides.
        eps: the largest eps of the parts that the output passes through; 0 if there is none.
    """

    layer: int
    name: str
    transformation: str
    output: Literal["layer", "network"]
    change: float
    invariant: bool
    despite_eps: bool
    eps: float

    @property
    def label(self) -> str:
        """What tells this row from the others in a table of one column, `layers.0.row_scale.network`."""
        return ".".join(part for part in (self.name, self.transformation, self.output) if part)


TRANSFORMATIONS: dict[str, str] = {
    "weight_scale": "the weights times 0.5 and times 3",
    "row_scale": "the weights that come in at each unit times a positive factor of its own",
    "weight_sign": "the weights times -1",
    "data_scale": "all inputs times 0.5 and times 3",
    "sample_scale": "each sample's inputs times a positive factor of its own",
    "data_shift": "plus a constant for each feature, the same for all samples",
    "sample_shift": "plus a constant for each sample, the same for all its features",
}


def invariances(module: nn.Module, inputs: Tensor) -> list[Invariance]:
    """The table of invariances of a network in the state that it has.

    Everything is computed on a copy in float64 as in training: BatchNorm uses the batch's statistics (with stored ones
    it is not invariant), dropout is off. Weights are parameters of two or more axes; biases, gains and shifts stay.

    Args:
        module: the network, which is left as it was.
        inputs: `(B, ...)`, eight rows or more where there is a BatchNorm. Data that are not real numbers, such as
            words, have no scale: the network's data rows are then missing.

    Returns:
        For each layer: every transformation of its weights, seen at its own output and at the network's, and of its
        inputs, seen at its own. Then, as layer 0, of all weights together and of the network's inputs.

    Raises:
        NetworkError: if the module runs no layer with weights.
    """
    own = _training_copy(module)
    limit = _training_copy(module)
    for part in limit.modules():
        if isinstance(getattr(part, "eps", None), float):
            part.__dict__["eps"] = NEGLIGIBLE_EPS
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    with torch.no_grad():
        return [
            Invariance(*change.key, change.change, _none(other.change), _none(change.change), change.eps)
            for change, other in zip(_changes(own, inputs), _changes(limit, inputs), strict=True)
        ]


@dataclass(frozen=True)
class _Change:
    key: tuple[int, str, str, Literal["layer", "network"]]
    change: float
    eps: float


@dataclass(frozen=True)
class _Call:
    """The first call of a layer."""

    name: str
    layer: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def output(self, data: Tensor | None = None, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """The layer's output with other inputs or weights."""
        first = self.args[0]  # in self-attention also the keys and values
        args = self.args if data is None else tuple(data if argument is first else argument for argument in self.args)
        buffers = {name: buffer.clone() for name, buffer in self.layer.named_buffers()}
        with seeded_alike(first):
            found = first_tensor(functional_call(self.layer, {**buffers, **(weights or {})}, args, self.kwargs))
        assert found is not None  # only such layers were kept
        return found


def _changes(module: nn.Module, inputs: Tensor) -> Iterator[_Change]:
    calls = _first_calls(module, inputs)
    if not calls:
        raise no_layers()
    canonical = {id(parameter): name for name, parameter in module.named_parameters()}
    eps_of_network = _eps(module)
    everything = {}
    output = forward(module, inputs)
    for place, call in enumerate(calls, start=1):
        names = {n: canonical[id(call.layer.get_parameter(n))] for n in weight_names(call.layer)}
        own = {n: call.layer.get_parameter(n) for n in names}
        everything.update({names[n]: weight for n, weight in own.items()})
        base, eps = call.output(), _eps(call.layer)
        for kind, variants in _of_weights(own).items():
            yield _Change(
                (place, call.name, kind, "layer"), _largest(base, (call.output(weights=w) for w in variants)), eps
            )
            moved = (forward(module, inputs, {names[n]: v for n, v in w.items()}) for w in variants)
            yield _Change((place, call.name, kind, "network"), _largest(output, moved), eps_of_network)
        for kind, data in _of_data(call.args[0], call.layer).items():
            yield _Change((place, call.name, kind, "layer"), _largest(base, map(call.output, data)), eps)
    for kind, variants in _of_weights(everything).items():
        moved = (forward(module, inputs, w) for w in variants)
        yield _Change((0, "", kind, "network"), _largest(output, moved), eps_of_network)
    first = calls[0]
    layer = first.layer if first.args[0].ndim == inputs.ndim else None
    for kind, data in _of_data(inputs, layer).items():
        yield _Change((0, "", kind, "network"), _largest(output, map(partial(forward, module), data)), eps_of_network)


def _of_weights(weights: Mapping[str, Tensor]) -> dict[str, list[dict[str, Tensor]]]:
    """Transformation to its variants of the weights."""

    def each(change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {name: change(weight) for name, weight in weights.items()}

    return {
        "weight_scale": [each(lambda w, a=a: a * w) for a in SCALES],  # type: ignore[misc] # a default of a lambda
        "row_scale": [each(lambda w: w * _along(0, _factors(len(w), w), w))],
        "weight_sign": [each(torch.neg)],
    }


def _of_data(data: Tensor, layer: nn.Module | None) -> dict[str, list[Tensor]]:
    """Transformation to its variants of the inputs; none of numbers that are not real."""
    if not data.is_floating_point():
        return {}
    size = data.std(correction=0)
    size = torch.where(size > 0, size, torch.ones_like(size))
    samples = min(0 if layer is None else sample_axis(layer), data.ndim - 1)
    units = unit_axis(layer, data)
    per_sample = _along(samples, _factors(data.shape[samples], data), data)
    per_unit = _along(units, _factors(data.shape[units], data), data)
    return {
        "data_scale": [a * data for a in SCALES],
        "sample_scale": [data * per_sample],
        "data_shift": [data + size * per_unit],
        "sample_shift": [data + size * per_sample],
    }


def _factors(count: int, like: Tensor) -> Tensor:
    """`(count,)` different positive factors in [0.5, 3), spread evenly: multiples of the golden ratio modulo 1."""
    golden = (math.sqrt(5) - 1) / 2
    return 0.5 + 2.5 * torch.frac(golden * torch.arange(count, dtype=like.dtype, device=like.device))


def _along(axis: int, values: Tensor, like: Tensor) -> Tensor:
    return values.reshape([-1 if a == axis else 1 for a in range(like.ndim)])


def _largest(base: Tensor, others: Iterator[Tensor]) -> float:
    # A single row has no deviation, and neither has a constant: there the size itself has to do.
    size = float((base - base.mean(0)).abs().max()) or float(base.abs().max())
    changes = [float((other - base).abs().max()) for other in others]
    change = math.nan if any(map(math.isnan, changes)) else max(changes)
    return change / size if size else change


def _none(change: float) -> bool:
    return change < TOLERANCE


def _eps(module: nn.Module) -> float:
    values = (getattr(part, "eps", None) for part in module.modules())
    return max((value for value in values if isinstance(value, float)), default=0.0)


def _training_copy(module: nn.Module) -> nn.Module:
    own = copy.deepcopy(module).double().train()
    for part in own.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()
    return own


def _first_calls(module: nn.Module, inputs: Tensor) -> list[_Call]:
    """The first call of each layer, in the order of execution."""
    calls: dict[str, _Call] = {}

    def look(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object, *, name: str) -> None:
        if name not in calls and args and isinstance(args[0], Tensor) and first_tensor(output) is not None:
            kept = args[0].clone()  # what follows may work in place
            calls[name] = _Call(
                name, layer, tuple(kept if argument is args[0] else argument for argument in args), kwargs
            )

    with ExitStack() as hooks:
        for name, layer in weighted_layers(module):
            hooks.callback(layer.register_forward_hook(partial(look, name=name), with_kwargs=True).remove)
        forward(module, inputs)
    return list(calls.values())
