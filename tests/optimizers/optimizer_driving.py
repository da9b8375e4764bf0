"""Small objectives, and a bare loop that treats optimizers as the real one does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfopt import optimizers
from gfopt.optimizers.base import Optimizer
from gfopt.types import Evaluation, Group

Objective = Callable[[Tensor, int], Tensor]
SCALE = 0.5


def sphere(rows: Tensor, batch: int = 0) -> Tensor:
    """Mean squared distance to 0.3; a batch shifts the optimum a little."""
    return (rows - 0.3 - 0.01 * batch).square().mean(dim=1)


def rugged(rows: Tensor, batch: int = 0) -> Tensor:
    """Many local minima (Rastrigin's function, scaled down)."""
    moved = rows - 0.3 - 0.01 * batch
    return (moved.square() + 0.1 * (1 - torch.cos(8 * moved))).mean(dim=1)


def broken(rows: Tensor, batch: int = 0) -> Tensor:
    """NaN wherever the first gene is positive, which is where the sphere is lowest."""
    return torch.where(rows[:, 0] > 0, torch.nan, sphere(rows, batch))


def hopeless(rows: Tensor, batch: int = 0) -> Tensor:
    """Infinite everywhere on batch 0, a sphere afterwards."""
    return torch.where(torch.tensor(batch == 0), torch.inf, sphere(rows, batch))


def evaluate(objective: Objective, rows: Tensor, batch: int, gradient: bool, worst: float = torch.inf) -> Evaluation:
    """What the loop hands on: NaN and inf are `worst`, and their gradient rows 0."""
    point = rows.detach().clone().requires_grad_()
    loss = objective(point, batch)
    slope = torch.autograd.grad(loss.sum(), point)[0] if gradient else None
    failed = ~torch.isfinite(loss.detach())
    if slope is not None:
        slope = torch.where(failed[:, None], 0.0, slope)
    return Evaluation(torch.where(failed, worst, loss.detach()), slope, samples=1, batch=batch)


def size_option(kind: str, size: int) -> dict[str, int]:
    """The option that makes `size` rows."""
    known = optimizers.optimizer_class(kind).options_class.model_fields
    return {name: size for name in ("population", "particles") if name in known}


def make(
    kind: str,
    *,
    dim: int = 6,
    size: int = 6,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    bounds: tuple[Tensor, Tensor] | None = None,
    start: Tensor | None = None,
    **options: Any,
) -> Optimizer:
    """The optimizer `kind` at `size` random starts, the same for every seed."""
    if start is None:
        start = starts(size, dim, dtype)
    groups = (Group("layer.weight", slice(0, dim), (dim, 1)),)
    return optimizers.build(
        kind,
        {**size_option(kind, size), **options},
        start,
        np.random.default_rng(seed),
        scale=torch.full((dim,), SCALE, dtype=dtype),
        bounds=bounds,
        groups=groups,
    )


def starts(size: int, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The first `size` of always the same rows."""
    return SCALE * torch.randn(4000, dim, generator=torch.Generator().manual_seed(7), dtype=dtype)[:size].clone()


def drive(
    optimizer: Optimizer, objective: Objective, batches: Sequence[int], worst: float = torch.inf
) -> list[tuple[Tensor, Tensor]]:
    """Ask, evaluate, tell for each batch; rows and losses of each step."""
    trace = []
    for batch in batches:
        rows = optimizer.ask(batch)
        if len(rows):
            evaluation = evaluate(objective, rows, batch, optimizer.wants_gradient, worst)
            optimizer.tell(rows, evaluation)
            trace.append((rows.clone(), evaluation.loss))
        else:
            trace.append((rows.clone(), rows.new_empty(0)))
    return trace


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether the rows of two traces are equal bit for bit."""
    return len(one) == len(other) and all(torch.equal(a, b) for (a, _), (b, _) in zip(one, other, strict=True))


def fingerprint(kind: str) -> str:
    """A digest of a short run on changing batches."""
    digest = hashlib.sha256()
    for rows, _ in drive(make(kind), rugged, (0, 0, 1, 2, 2, 3)):
        digest.update(rows.numpy().tobytes())
    return digest.hexdigest()
