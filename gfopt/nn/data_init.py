"""Data-dependent initialization of weight-normalized layers (Salimans & Kingma 2016, arXiv:1602.07868, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from gfopt.nn.normalization import NormalizedLayer


def wants_data(module: nn.Module) -> bool:
    """Whether any layer of `module` asks for it, by `norm: {kind: weight, data_init: true}`."""
    return any(True for _ in _layers(module))


@torch.no_grad()
def initialize_from_data(module: nn.Module, inputs: Tensor) -> None:
    """Set gain and shift of the layers that ask for it, so that their pre-activations on `inputs` are standardized.

    With `t` the pre-activation under gain 1 and shift 0, `g = 1 / std t` and `b = -mean t / std t`, each unit over
    all rows; one pass, each layer seeing what the layers ahead of it then give. A unit that is constant on the inputs
    keeps its gain.

    Args:
        module: the network, changed in place; parameters that do not exist (`gain: false`) are not set.
        inputs: `(B, ...)`.
    """
    with ExitStack() as hooks:
        for layer in _layers(module):
            hooks.callback(layer.register_forward_hook(_standardize).remove)
        module(inputs)


def _standardize(layer: nn.Module, _: object, z: Tensor) -> Tensor:
    """Set gain and shift of a layer by its output `z`, and return what it then would give."""
    assert isinstance(layer, NormalizedLayer)
    place = -1 - layer.product.positions
    channels = z.movedim(place, -1)
    if layer.shift is not None:
        channels = channels - layer.shift
    if layer.gain is not None:
        channels = channels / layer.gain
        spread = channels.flatten(0, -2).std(0, correction=0)
        layer.gain.copy_(torch.where(spread > 0, 1 / spread, 1.0))
        channels = channels * layer.gain
    if layer.shift is not None:
        layer.shift.copy_(-channels.flatten(0, -2).mean(0))
        channels = channels + layer.shift
    return channels.movedim(-1, place)


def _layers(module: nn.Module) -> Iterator[NormalizedLayer]:
    for layer in module.modules():
        if isinstance(layer, NormalizedLayer) and getattr(layer.norm.options, "data_init", False):
            yield layer
