"""Scalings of a normalized layer's weights, which change no output: taken out of the genome.

A row of weights in front of a normalization acts by its direction alone (Ioffe & Szegedy 2015, section 3.3; Salimans &
Kingma 2016, section 2), so its length is a direction of the search space along which the loss is constant. Nothing
selects against length there: mutations add up to a random walk outwards, `|w_t|^2 ~ |w_0|^2 + t sigma^2 D`, and the
angle by which a mutation of the same size turns the row shrinks as the row grows. That makes the step of the search
depend on how long it has run, and differently in layers with and without a normalization.

It also anneals the step, which a search with large ones lives on. At a constant length the strength stays what it was
chosen to be: choose a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gfopt.types import Group


def project(population: Tensor, groups: Sequence[Group], scale: Tensor) -> Tensor:
    """`(P, D)` with every neutral row, or matrix, at the length that the initialization gives it.

    That length is `sqrt(sum scale^2)` over the row's genes (0.58 for torch's own initialization). Mutation strengths
    and velocities are in units of `scale`, so relative to the row they are then what the option says, in every layer
    and at any time. The network's function is the same up to rounding and the normalization's eps.

    Args:
        population: `(P, D)`; not modified.
        groups: name, slice, shape and neutral scaling of every parameter.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.

    Returns:
        A new tensor, or `population` itself if no group has a neutral scaling. A row of zeros has no direction and
        stays. So does, bit for bit, one that has its length already: projecting twice is projecting once.
    """
    neutral = [group for group in groups if group.neutral]
    if not neutral:
        return population
    projected = population.clone()
    exact = scale.to(population.device, torch.float64).unsqueeze(0)
    for group in neutral:
        rows = _rows(projected, group)
        length, wanted = _length(rows), _length(_rows(exact, group))
        # What rounding makes of a length that has been set already.
        slack = 4 * math.sqrt(rows.shape[-1]) * torch.finfo(rows.dtype).eps
        keep = (length == 0) | ~length.isfinite() | ((length - wanted).abs() <= slack * wanted)
        rows *= torch.where(keep, 1.0, wanted / length)
    return projected


def tangential(velocity: Tensor, position: Tensor, groups: Sequence[Group]) -> Tensor:
    """`(P, D)` velocities without the part that only changes the length of a neutral row, or matrix, of `position`.

    That part is `(v . w) w / |w|^2`; what is left moves the row along its sphere.

    Args:
        velocity: `(P, D)`; not modified.
        position: `(P, D)`.
        groups: name, slice, shape and neutral scaling of every parameter.

    Returns:
        A new tensor, or `velocity` itself if no group has a neutral scaling.
    """
    neutral = [group for group in groups if group.neutral]
    if not neutral:
        return velocity
    kept = velocity.clone()
    for group in neutral:
        rows, moved = _rows(position, group), _rows(kept, group)
        length = _length(rows)
        direction = torch.where(length > 0, rows / length, 0.0)
        moved -= (moved * direction).sum(-1, keepdim=True) * direction
    return kept


def _rows(population: Tensor, group: Group) -> Tensor:
    """`(P, rows, n)` view of what is scaled together: a group's rows, or the whole of it as one."""
    count = group.shape[0] if group.neutral == "rows" and group.shape else 1
    part = population[:, group.slice]
    return part.view(len(part), count, part.shape[1] // count)


def _length(rows: Tensor) -> Tensor:
    """`(..., 1)` Euclidean lengths in float64: squares of float32 may overflow."""
    length: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=torch.float64)
    return length
