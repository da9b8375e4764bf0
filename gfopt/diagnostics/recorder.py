"""Measurements along a run: at a few points, evenly spaced in log cost, and at its end.

What they cost is on no clock and in no ledger. At a point, in passes over the batch that the optimizer had:

- `gradient-flow`, `gradient-cosine`: one with its gradient each, as a step of backprop of one member;
- `internal-covariate-shift`: one with its gradient for each layer, and two over at most 256 rows;
- `saturation`: one over at most 256 rows;
- `updates`: none;
- `population`: distances between two generations in at most 4096 genes, and the earlier generation again if the batch
  is another, since losses of two batches do not compare.

`search-blindness` takes 64 evaluations a layer, so it is measured at the end alone (and at the start, see `starts`).
Beyond that, two generations are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from gfopt.diagnostics.generations import (
    GenerationChange,
    diversity,
    improving_share,
    nearest_parents,
    selection_intensity,
    step_size,
)
from gfopt.diagnostics.quantities import as_rows
from gfopt.diagnostics.subject import Row, Subject, attempt
from gfopt.problems import Problem
from gfopt.rng import generator
from gfopt.types import Callback, Observation

POINTS = 12
SOONEST = 1e-4  # share of the budget
GENES = 4096  # that tell which parent is nearest
STEPS = ("updates", "internal-covariate-shift", "population", "gradient-cosine")  # of a generation and the one before
Look = Callable[[], list[Row]]


@dataclass(frozen=True)
class _Generation:
    """What was evaluated at a step, and who is alive.

    Attributes:
        rows: `(Q, D)` what the optimizer asked for, without what it asked for again behind the first `P` rows.
        losses: `(Q,)`.
        alive: `(P, D)` those rows, and the best of the generation before in the places that were not evaluated: what
            survives unchanged keeps its loss.
        alive_losses: `(P,)`.
        batch: identity of the rows of data.
        minibatch: number of the batch.
        has_gradient: whether each row is a run of gradient steps of its own.
    """

    rows: Tensor
    losses: Tensor
    alive: Tensor
    alive_losses: Tensor
    batch: int
    minibatch: int
    has_gradient: bool

    def state_dict(self) -> dict[str, Any]:
        """The same as plain values and arrays."""
        tensors = {name: getattr(self, name).cpu().numpy().copy() for name in _TENSORS}
        return {**tensors, "batch": self.batch, "minibatch": self.minibatch, "has_gradient": self.has_gradient}

    @classmethod
    def of(cls, state: Mapping[str, Any], like: Tensor) -> Self:
        """What `state_dict` described, on the device of `like`."""
        tensors = {name: torch.from_numpy(np.array(state[name])).to(like.device) for name in _TENSORS}
        return cls(**{**state, **tensors})


_TENSORS = ("rows", "losses", "alive", "alive_losses")


class Recorder(Callback):
    """Looks on while a run trains and collects what the diagnostics of a study ask for.

    A measurement that fails is not tried again; the run goes on.

    Args:
        problem: what is trained.
        kinds: names of `kinds.KINDS`.

    Attributes:
        rows: what was measured: `step`, `forward_equivalents`, `quantity`, `layer`, `name`, `value`.
        failures: kinds whose measurement failed, with the reason.
    """

    def __init__(self, problem: Problem, kinds: Collection[str]) -> None:
        self.rows: list[Row] = []
        self.failures: dict[str, str] = {}
        self._problem, self._kinds = problem, frozenset(kinds)
        self._subject = Subject(problem)
        self._keeps = not self._kinds.isdisjoint(STEPS)
        self._before: _Generation | None = None
        self._size = 0  # rows of the first generation
        self._first, self._point = 0.0, 1
        count = min(GENES, problem.dim)
        genes = generator("diagnosed genes", problem.dim).choice(problem.dim, count, replace=False)
        self._genes = torch.as_tensor(np.sort(genes), device=problem.scale.device)

    def on_generation_end(self, seen: Observation) -> None:
        """Measure, if the step is a point to measure at; it never asks for an end."""
        if not self._first:
            self._first, self._size = min(max(seen.spent, SOONEST), 0.5), len(seen.population)
        point = self._is_point(seen)
        if not (point or self._keeps):
            return
        now = self._generation(seen)
        if point:
            for kind, look in self._looks(seen, now).items():
                self._measure(kind, look, seen)
        if now is not None:
            self._before = now

    def state_dict(self) -> dict[str, Any]:
        """What was measured, and the generation that the next one is compared with."""
        before = self._before
        return {
            "rows": [dict(row) for row in self.rows],
            "failures": dict(self.failures),
            "first": self._first,
            "point": self._point,
            "size": self._size,
            "before": None if before is None else before.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.rows = [dict(row) for row in state["rows"]]
        self.failures = dict(state["failures"])
        self._first, self._point, self._size = state["first"], state["point"], state["size"]
        before = state["before"]
        self._before = None if before is None else _Generation.of(before, self._problem.scale)

    def _is_point(self, seen: Observation) -> bool:
        """Whether this logged point is the first one behind the next of the recorder's own."""
        due = seen.last
        while seen.logged and self._point <= POINTS and seen.spent >= self._first ** (1 - self._point / POINTS):
            self._point += 1
            due = True
        return due

    def _generation(self, seen: Observation) -> _Generation | None:
        """The rows of a step with those that live on; `None` if nothing was evaluated, or nothing is finite."""
        size, before, told = self._size, self._before, seen.evaluation
        rows, losses = seen.population[:size].clone(), told.loss[:size].clone()
        if not losses.isfinite().any():
            return None
        alive, alive_losses = rows, losses
        if before is not None and before.batch == told.batch and len(rows) < size:
            lowest = before.alive_losses.argsort(stable=True)[: size - len(rows)]
            alive = torch.cat([rows, before.alive[lowest]])
            alive_losses = torch.cat([losses, before.alive_losses[lowest]])
        return _Generation(rows, losses, alive, alive_losses, told.batch, seen.minibatch, told.gradient is not None)

    def _measure(self, kind: str, look: Look, seen: Observation) -> None:
        if kind not in self._kinds or kind in self.failures:
            return
        found, failure = attempt(look, seen.incumbent)
        place = {"step": seen.ledger.steps, "forward_equivalents": seen.ledger.forward_equivalents}
        self.rows += [{**place, **row} for row in found]
        if failure:
            self.failures[kind] = failure

    def _looks(self, seen: Observation, now: _Generation | None) -> dict[str, Look]:
        """What there is to measure, by kind."""
        subject, before, batch = self._subject, self._before, (seen.minibatch, seen.seed)
        looks: dict[str, Look] = {}
        if seen.last:
            looks["search-blindness"] = lambda: subject.search_blindness(seen.incumbent, *batch)
        if now is not None:
            at = now.rows[int(now.losses.argmin())]
            looks["gradient-flow"] = lambda: subject.gradient_flow(at, *batch)
            looks["saturation"] = lambda: subject.saturation(at, *batch)
            if before is not None:
                looks["updates"] = lambda: self._updates(before, now)
                looks["internal-covariate-shift"] = lambda: self._covariate_shift(before, now, seen.seed)
                looks["gradient-cosine"] = lambda: self._cosine(before, now, seen.seed)
                looks["population"] = lambda: self._population(before, now, seen.seed)
        return looks

    def _updates(self, before: _Generation, now: _Generation) -> list[Row]:
        step = self._step(before, now)
        return [] if step is None else self._subject.updates(*step)

    def _covariate_shift(self, before: _Generation, now: _Generation, seed: int) -> list[Row]:
        step = self._step(before, now)
        return [] if step is None else self._subject.internal_covariate_shift(*step, before.minibatch, seed)

    def _cosine(self, before: _Generation, now: _Generation, seed: int) -> list[Row]:
        """Of backprop's step, or of the way of a population's mean, on the batch that led to it."""
        step = self._step(before, now) if now.has_gradient else (before.alive.mean(0), now.alive.mean(0))
        return [] if step is None else self._subject.gradient_cosine(*step, before.minibatch, seed)

    def _step(self, before: _Generation, now: _Generation) -> tuple[Tensor, Tensor] | None:
        """A step's start and end `(D,)`: of backprop the row's own, of a population the best new row and its parent."""
        if now.has_gradient:
            row = int(now.losses.argmin())
            return (before.rows[row], now.rows[row]) if row < len(before.rows) else None
        parents = before.alive[self._parents(before, now)]
        moved = (now.rows != parents).any(1)
        if not moved.any():
            return None
        best = int(torch.where(moved, now.losses, torch.inf).argmin())
        return parents[best], now.rows[best]

    def _parents(self, before: _Generation, now: _Generation) -> Tensor:
        """`(Q,)` index of the member of `before` from which each new row comes."""
        genes = self._genes
        return nearest_parents(before.alive[:, genes], now.rows[:, genes], self._problem.scale[genes])

    def _population(self, before: _Generation, now: _Generation, seed: int) -> list[Row]:
        if now.has_gradient:
            return []
        parents, genes = self._parents(before, now), self._genes
        scale, compared = self._problem.scale[genes], before.alive_losses
        if before.batch != now.batch:
            compared = self._problem.evaluate(before.alive, now.minibatch, seed=seed).loss
        change = GenerationChange(
            diversity=diversity(now.alive[:, genes], scale),
            step_size=step_size(before.alive[parents][:, genes], now.rows[:, genes], scale),
            improving_share=improving_share(now.losses, compared[parents]),
            selection_intensity=selection_intensity(before.alive_losses, parents),  # by the losses that it went by
            parents_represented=len(torch.unique(parents)) / len(before.alive),
        )
        return as_rows([change])
