"""Directions of the parameters that a normalization makes neutral: moving along them changes no output."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from torch import nn

from gfopt.nn.normalization import Neutral, Normalization, NormalizedLayer
from gfopt.types import Group

Counts = Callable[[Normalization], bool]


def with_neutral(groups: tuple[Group, ...], module: nn.Module, counts: Counts) -> tuple[Group, ...]:
    """`groups` that say which scaling of each parameter is neutral.

    Args:
        groups: of the parameters of `module`.
        module: the network.
        counts: whether a norm acts in training as its formula says; one with stored statistics does not.
    """
    neutral = {f"{name}.weight": layer for name, layer in _layers(module)}
    return tuple(
        dataclasses.replace(group, neutral=_neutral(neutral[group.name], counts)) if group.name in neutral else group
        for group in groups
    )


def redundant_genes(groups: tuple[Group, ...], module: nn.Module) -> int:
    """How many directions at any point of the parameters' space change no output, because of normalizations.

    Counted are weights with a neutral scaling: their sizes, and what else their norm takes away, as the means of the
    rows. Symmetries that are not continuous (units that swap places) have no direction.

    Args:
        groups: as `with_neutral` gives them.
        module: the network.
    """
    layers = {f"{name}.weight": layer for name, layer in _layers(module)}
    count = 0
    for group in groups:
        if group.neutral:
            layer = layers[group.name]
            norm = _norm(layer)
            units = group.shape[0]
            count += norm.redundant(math.prod(group.shape[1:]), units, norm.options)
    return count


def _layers(module: nn.Module) -> Iterator[tuple[str, NormalizedLayer]]:
    return ((name, layer) for name, layer in module.named_modules() if isinstance(layer, NormalizedLayer))


def _norm(layer: NormalizedLayer) -> Normalization:
    assert isinstance(layer.norm, Normalization)
    return layer.norm


def _neutral(layer: NormalizedLayer, counts: Counts) -> Neutral:
    norm = _norm(layer)
    return norm.neutral if counts(norm) else ""
