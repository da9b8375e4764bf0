"""How strong the signal is that backprop sends to each layer: the measured form of a vanishing gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from gfopt.errors import ConfigError, NetworkError, NotDifferentiableError, expectation
from gfopt.nn.normalization import NormalizedLinear
from gfopt.rng import torch_seeded

LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, _ConvNd, NormalizedLinear)


@dataclass(frozen=True)
class LayerGradient:
    """The back-propagated signal at one layer.

    Attributes:
        layer: its place in the order of execution, from 1 at the input.
        name: its name in the module; a layer that is used again appears again.
        norm: `sum_i ||dL/dz_i||_2` over samples `i`, `z_i` being all the layer's outputs for one sample. For
            a loss that is the mean of per-sample losses this is the mean over samples of each one's own
            gradient norm, so it does not depend on the batch size.
    """

    layer: int
    name: str
    norm: float


def gradient_flow(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> list[LayerGradient]:
    """The norm of the gradient with respect to the pre-activations `z` of each layer with weights.

    That is the back-propagated signal. The gradient of the weights would hide that it vanishes: a tanh
    network can lose it by a factor of 1e-5 over 20 layers while the weights' gradients stay alike.

    Layers are linear ones, convolutions and `NormalizedLinear`, whose `z` is the normalized one. The module
    is used in the mode that it is in, and left as it was: gradients, buffers such as BatchNorm's statistics,
    hooks and torch's random numbers included.

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
    captured: list[tuple[str, Tensor]] = []
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    cuda = [inputs.device] if inputs.is_cuda else []
    with torch.enable_grad(), torch_seeded(0), torch.random.fork_rng(cuda), _capturing(module, captured):
        outputs = functional_call(module, buffers, (inputs,))
        value = loss(outputs, targets)
        if not captured:
            kinds = "linear, convolution or NormalizedLinear"
            raise NetworkError("module: " + expectation(f"at least one {kinds} layer", "none"))
        if value.ndim != 0:
            raise ConfigError("loss: " + expectation("one number", f"`shape {tuple(value.shape)}`"))
        if not value.requires_grad:
            raise NotDifferentiableError("loss: " + expectation("one that carries a gradient", "none"))
        signals = torch.autograd.grad(value, [z for _, z in captured], allow_unused=True)
    return [
        LayerGradient(place, name, _norm(signal))
        for place, ((name, _), signal) in enumerate(zip(captured, signals, strict=True), start=1)
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
def _capturing(module: nn.Module, captured: list[tuple[str, Tensor]]) -> Iterator[None]:
    """Inside, every call of a layer of `module` appends its name and output, in the order of execution."""

    def capture(name: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(_: nn.Module, __: object, z: Tensor) -> Tensor:
            # Frozen layers on plain inputs: start the graph here, the signal is defined all the same.
            z = z if z.requires_grad else z.detach().requires_grad_()
            captured.append((name, z))
            return z.clone()  # an activation that works in place must not change what was captured

        return hook

    with ExitStack() as hooks:
        for name, layer in _layers(module):
            hooks.callback(layer.register_forward_hook(capture(name)).remove)
        yield


def _layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Outermost layers with weights, each once; what a layer is made of is not another layer."""
    inner: set[nn.Module] = set()
    for name, part in module.named_modules():
        if isinstance(part, LAYERS) and part not in inner:
            inner.update(part.modules())
            yield name, part


def _norm(signal: Tensor | None) -> float:
    """Sum over samples of the Euclidean norm; in float64, where squares of small numbers do not vanish."""
    if signal is None:
        return 0.0
    return float(torch.linalg.vector_norm(signal.double().flatten(1), dim=1).sum())
