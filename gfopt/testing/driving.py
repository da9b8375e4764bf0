"""Small objectives, and a bare loop that treats optimizers as the real one does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gfopt import optimizers
from gfopt.errors import ConfigError
from gfopt.optimizers.base import Optimizer
from gfopt.types import Evaluation, Group

Objective = Callable[[Tensor, int], Tensor]
SCALE = 0.5
SIZES = ("population", "particles", "candidates")  # the options that say how many rows a method keeps
_LARGEST = 64  # where the search for an admissible size ends


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


def flat(rows: Tensor, batch: int = 0) -> Tensor:
    """The same for every row; of each batch another value."""
    return 0 * rows.sum(dim=1) + batch


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
    """The option that makes `size` rows; none for a method of a single point."""
    known = optimizers.optimizer_class(kind).options_class.model_fields
    return {name: size for name in SIZES if name in known}


def smallest(kind: str, at_least: int = 1, **options: Any) -> int:
    """The smallest admissible size of at least so many; some methods want pairs, or four for a difference.

    Raises:
        ConfigError: if no size up to 64 is admissible, with what is wrong with the largest.
    """
    for size in range(at_least, _LARGEST):
        try:
            optimizers.options_of(kind, {**size_option(kind, size), **options})
        except ConfigError:
            continue
        return size
    optimizers.options_of(kind, {**size_option(kind, _LARGEST), **options})
    return _LARGEST


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
    known = optimizers.options_of(kind, {**size_option(kind, size), **options})
    if start is None:
        start = starts(max(size, optimizers.optimizer_class(kind).population_size(known)), dim, dtype)
    groups = (Group("layer.weight", slice(0, dim), (dim, 1)),)
    return optimizers.build(
        kind,
        known,
        start,
        np.random.default_rng(seed),
        scale=torch.full((dim,), SCALE, dtype=dtype),
        bounds=bounds,
        groups=groups,
    )


def starts(size: int, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The first `size` of always the same rows."""
    rows = 4000 if dim <= 1000 else size  # the same numbers for any smaller `size`, where that costs little
    return SCALE * torch.randn(rows, dim, generator=torch.Generator().manual_seed(7), dtype=dtype)[:size].clone()


class Step(NamedTuple):
    """What one step asked for, and what it was told."""

    rows: Tensor
    loss: Tensor


class Steps(list[Step]):
    """The steps of a drive in their order.

    Attributes:
        batch: of the last step; `None` before the first.
    """

    batch: int | None = None


def drive(
    optimizer: Optimizer,
    objective: Objective,
    batches: Sequence[int],
    worst: float = torch.inf,
    *,
    spent: Sequence[float] | None = None,
    held: int | None = None,
    told: Callable[[Tensor], Tensor] | None = None,
) -> Steps:
    """Ask, evaluate, tell for each batch; rows and losses of each step.

    Args:
        optimizer: what is driven.
        objective: `(Q, D)` rows and a batch to `(Q,)` losses.
        batches: of each step; one that the optimizer holds stays in place of the next.
        worst: what it is told of a row that failed.
        spent: share of the budget before each step; `None` leaves what the optimizer has.
        held: batch of the step before the first, for an optimizer that holds it.
        told: what becomes of the losses on their way to the optimizer.
    """
    trace = Steps()
    trace.batch = held
    for step, batch in enumerate(batches):
        if spent is not None:
            optimizer.spent = spent[step]
        if not optimizer.hold_batch or trace.batch is None:
            trace.batch = batch
        gradient, rows = optimizer.wants_gradient, optimizer.ask(trace.batch)
        loss = rows.new_empty(0)
        if len(rows):
            evaluation = evaluate(objective, rows, trace.batch, gradient, worst)
            loss, kept = evaluation.loss.clone(), rows.clone()
            if told is not None:
                evaluation = replace(evaluation, loss=told(loss))
            optimizer.tell(rows, evaluation)
            rows = kept  # its own: an optimizer may write over what it is told
        trace.append(Step(rows, loss))
    return trace


def same(one: Sequence[tuple[Tensor, Tensor]], other: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Whether the rows of two traces are equal bit for bit."""
    return len(one) == len(other) and all(torch.equal(a, b) for (a, _), (b, _) in zip(one, other, strict=True))


def digest(trace: Sequence[tuple[Tensor, Tensor]]) -> str:
    """A digest of the rows of a trace."""
    found = hashlib.sha256()
    for rows, _ in trace:
        found.update(rows.numpy().tobytes())
    return found.hexdigest()


# Two steps on each of the first batches, then one; the budget is spent with the last.
BATCHES = (0, 0, 1, 1, 2, 3)
SPENT = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def walk(optimizer: Optimizer, first: int = 0, last: int = len(BATCHES), held: int | None = None) -> Steps:
    """Steps `first` to before `last` of a short run on changing batches, which spends its budget."""
    return drive(optimizer, rugged, BATCHES[first:last], spent=SPENT[first:last], held=held)


def fingerprint(kind: str, options: Mapping[str, Any] | None = None) -> str:
    """A digest of the rows of a short run, the same in every process."""
    given = dict(options or {})
    return digest(walk(make(kind, size=smallest(kind, 6, **given), **given)))
