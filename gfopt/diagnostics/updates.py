"""How large a step was: against the weights, and as the angle that a scale-invariant layer feels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfopt.diagnostics.passes import split

if TYPE_CHECKING:
    from gfopt.types import Group


@dataclass(frozen=True)
class GroupUpdate:
    """What a step did to one parameter.

    Attributes:
        layer: place of the parameter's module among those that have parameters, in declared order from 1.
        name: the parameter's name.
        update_ratio: `||w' - w|| / ||w||`; NaN for a `w` of zeros, which has no size to compare with.
        effective_angle: mean over rows of the angle between old and new row, radians in [0, pi]: all that a layer
            feels which divides each row by its size (batch, weight and cosine normalization). A row is what comes
            in at a unit. NaN for parameters of one axis, such as gains and shifts; rows of zeros are left out.
    """

    layer: int
    name: str
    update_ratio: float
    effective_angle: float


def update_sizes(before: Tensor, after: Tensor, groups: Sequence[Group]) -> list[GroupUpdate]:
    """The size of the step from one parameter vector to another, for every parameter.

    Args:
        before: `(D,)`, as a step's start, a parent or a particle's last position.
        after: `(D,)`.
        groups: the vectors' layout.

    Raises:
        ShapeError: if a vector does not have that layout.
    """
    old, new = split(before, groups, "before"), split(after, groups, "after")
    places = layer_places(groups)
    return [
        GroupUpdate(places[g.name], g.name, _ratio(w, v), _angle(w.reshape(g.shape), v.reshape(g.shape)))
        for g, w, v in zip(groups, old, new, strict=True)
    ]


def layer_places(groups: Sequence[Group]) -> dict[str, int]:
    """Parameter name to its module's place among the modules with parameters, in declared order from 1."""
    modules: dict[str, int] = {}
    return {g.name: modules.setdefault(module_of(g.name), len(modules) + 1) for g in groups}


def module_of(parameter: str) -> str:
    """The module's name in a parameter's, `layers.0` of `layers.0.weight`; without a dot the parameter's own."""
    module, _, own = parameter.rpartition(".")
    return module or own


def angle_between(first: Tensor, second: Tensor) -> Tensor:
    """`(...)` radians in [0, pi] between the `(..., n)` vectors, exact for small angles too; NaN at a zero vector.

    References:
        Kahan 2006, "How futile are mindless assessments of roundoff in floating-point computation?", section 12:
        `2 atan2(|u - v|, |u + v|)` of the unit vectors, where the arc cosine of a float32 would lose 1e-4 rad.
    """
    u, v = (x.double() / torch.linalg.vector_norm(x.double(), dim=-1, keepdim=True) for x in (first, second))
    half = torch.atan2(torch.linalg.vector_norm(u - v, dim=-1), torch.linalg.vector_norm(u + v, dim=-1))
    return 2 * half


def _ratio(old: Tensor, new: Tensor) -> float:
    size = float(torch.linalg.vector_norm(old.double()))
    return float(torch.linalg.vector_norm(new.double() - old.double())) / size if size else math.nan


def _angle(old: Tensor, new: Tensor) -> float:
    if old.ndim < 2:
        return math.nan
    return float(torch.nanmean(angle_between(old.flatten(1), new.flatten(1))))
