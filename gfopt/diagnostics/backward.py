"""How strong the signal is that backprop sends to each layer: the measured form of a vanishing gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from gfopt.diagnostics.layers import sample_axis, weight_names, weighted_layers
from gfopt.diagnostics.passes import forward, no_layers
from gfopt.errors import ConfigError, NotDifferentiableError, expectation


@dataclass(frozen=True)
class LayerGradient:
    """The back-propagated signal at one layer, and what its weights get of it.

    Attributes:
        layer: its place in the order of execution, from 1 at the input.
        name: its name in the module; a layer that is used again appears again.
        norm: `sum_i ||dL/dz_i||_2` over samples `i`, `z_i` being all the layer's outputs for one sample. For
            a loss that is the mean of per-sample losses this is the mean over samples of each one's own
            gradient norm, so it does not depend on the batch size.
        weight_norm: `||dL/dW||_2` of the batch's loss, over all weights of the layer (parameters of two or more axes,
            so no gains and shifts), from all its uses together.
    """

    layer: int
    name: str
    norm: float = field(metadata={"quantity": "gradient_norm"})
    weight_norm: float = field(metadata={"quantity": "weight_gradient_norm"})


@dataclass(frozen=True)
class _Call:
    """One call of a layer while a pass runs."""

    name: str
    layer: nn.Module
    z: Tensor


def gradient_flow(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> list[LayerGradient]:
    """The norms of the gradient with respect to the pre-activations `z` and the weights `W` of each layer.

    The first is the back-propagated signal. The gradient of the weights alone would hide that it vanishes: a tanh
    network without biases loses it by a factor of 1e-5 over 20 layers while the weights' gradients stay alike, because
    the inputs of the layers shrink in the other direction.

    Layers are those of `layers.weighted_layers`; `z` of a `NormalizedLinear` is the normalized one, that of a
    recurrent layer its hidden states. The module is used in the mode that it is in, and left as it was: gradients,
    buffers such as BatchNorm's statistics, hooks and torch's random numbers included. Frozen parameters have a
    gradient all the same.

    Args:
        module: the network.
        inputs: `(B, ...)`.
        targets: as the loss wants them.
        loss: maps outputs and targets to one number, the mean over samples; as a `Loss` of gfopt does.

    Raises:
        NetworkError: if the module runs no layer with weights.
        NotDifferentiableError: if no gradient flows from the loss to the outputs.
        ConfigError: if the loss is not one number.
    """
    calls: list[_Call] = []
    real = {name: parameter for name, parameter in module.named_parameters() if parameter.is_floating_point()}
    leaves = {name: parameter.detach().requires_grad_() for name, parameter in real.items()}
    with torch.enable_grad(), _capturing(module, calls):
        value = loss(forward(module, inputs, leaves), targets)
        if not calls:
            raise no_layers()
        if value.ndim != 0:
            raise ConfigError("loss: " + expectation("one number", f"`shape {tuple(value.shape)}`"))
        if not value.requires_grad:
            raise NotDifferentiableError("loss: " + expectation("one that carries a gradient", "none"))
        signals = torch.autograd.grad(value, [*(c.z for c in calls), *leaves.values()], allow_unused=True)
    of_weights = dict(zip(map(id, real.values()), signals[len(calls) :], strict=True))
    return [
        LayerGradient(place, call.name, _signal_norm(call, signal), _weight_norm(call.layer, of_weights))
        for place, (call, signal) in enumerate(zip(calls, signals[: len(calls)], strict=True), start=1)
    ]


def backward_gain(norms: Sequence[float]) -> float:
    """The factor by which the signal changes per layer on its way back to the input: below 1 it vanishes.

    It is `10^(-slope)` of the least-squares line through `log10` of the norms against the layer's number.

    Args:
        norms: those of two layers or more, in the order of execution. Layers of one kind give the clearest
            figure: an output layer of another width or normalization bends the line a little.

    Returns:
        The factor; 0 where a norm is 0 (the signal is lost), NaN where one is not finite.

    Raises:
        ConfigError: if there are fewer than two norms.
    """
    values = np.asarray(norms, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ConfigError("norms: " + expectation("those of at least 2 layers", f"`{values.size}`"))
    if not np.isfinite(values).all():
        return math.nan
    if (values <= 0).any():
        return 0.0
    places = np.arange(len(values)) - (len(values) - 1) / 2
    slope = places @ np.log10(values) / (places @ places)
    return float(10.0**-slope)


@contextmanager
def _capturing(module: nn.Module, calls: list[_Call]) -> Iterator[None]:
    """Inside, every call of a layer of `module` is appended, in the order of execution."""

    def capture(name: str) -> Callable[[nn.Module, object, object], object]:
        def hook(layer: nn.Module, _: object, output: object) -> object:
            first = output[0] if isinstance(output, tuple) else output
            if not isinstance(first, Tensor):
                return output
            # A layer without own parameters on plain inputs: start the graph here, the signal is defined all the same.
            z = first if first.requires_grad else first.detach().requires_grad_()
            calls.append(_Call(name, layer, z))
            seen = z.clone()  # an activation that works in place must not change what was captured
            return (seen, *output[1:]) if isinstance(output, tuple) else seen

        return hook

    with ExitStack() as hooks:
        for name, layer in weighted_layers(module):
            hooks.callback(layer.register_forward_hook(capture(name)).remove)
        yield


def _signal_norm(call: _Call, signal: Tensor | None) -> float:
    """Sum over samples of the Euclidean norm; in float64, where squares of small numbers do not vanish."""
    if signal is None:
        return 0.0
    samples = signal.double().movedim(min(sample_axis(call.layer), signal.ndim - 1), 0)
    return float(torch.linalg.vector_norm(samples.flatten(1), dim=1).sum())


def _weight_norm(layer: nn.Module, gradients: Mapping[int, Tensor | None]) -> float:
    """Euclidean norm over all weights of the layer."""
    found = (gradients.get(id(layer.get_parameter(name))) for name in weight_names(layer))
    return math.hypot(*(float(torch.linalg.vector_norm(g.double())) for g in found if g is not None))
