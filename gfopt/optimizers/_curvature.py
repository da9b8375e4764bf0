"""What limited-memory BFGS knows of each row's curvature: its last steps and the changes of the gradient along them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALLEST_COSINE = 1e-6  # between a step and the change of the gradient; below, rounding or negative curvature speaks


class Curvature:
    """Up to `memory` pairs `(s, y)` of each row, and products with the inverse Hessian that they stand for.

    Args:
        like: `(P, D)`, for size, dtype and device.
        memory: `m`.
    """

    _parts = ("steps", "changes", "inverse", "scaling", "count")

    def __init__(self, like: Tensor, memory: int) -> None:
        rows = len(like)
        self._steps = like.new_zeros(memory, *like.shape)  # s
        self._changes = like.new_zeros(memory, *like.shape)  # y
        self._inverse = like.new_zeros(memory, rows)  # rho = 1 / y's
        self._scaling = like.new_ones(rows)  # gamma = s'y / y'y of the last pair (eq. 7.20)
        self._count = torch.zeros(rows, dtype=torch.long, device=like.device)  # pairs since the last `forget`

    def add(self, rows: Tensor, step: Tensor, change: Tensor) -> None:
        """Keep the pairs `(s, y)` of `(N,)` rows in place of their oldest, except those without positive curvature.

        Args:
            rows: `(N,)`.
            step: `(N, D)`, `s`.
            change: `(N, D)` of the gradient, `y`.
        """
        product = (step * change).sum(dim=1)
        square = change.square().sum(dim=1)
        good = product > SMALLEST_COSINE * (step.square().sum(dim=1) * square).sqrt()
        rows, step, change = rows[good], step[good], change[good]
        slot = self._count[rows] % len(self._steps)
        self._steps[slot, rows], self._changes[slot, rows] = step, change
        self._inverse[slot, rows] = 1 / product[good]
        self._scaling[rows] = product[good] / square[good]
        self._count[rows] += 1

    def forget(self, rows: Tensor) -> None:
        """Drop all pairs of `(N,)` rows."""
        self._count[rows] = 0
        self._scaling[rows] = 1.0

    def empty(self, rows: Tensor) -> Tensor:
        """`(N,)` which of the rows have no pair."""
        return self._count[rows] == 0

    def times(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """`(N, D)` inverse Hessian times gradient: the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4).

        Args:
            rows: `(N,)`.
            gradient: `(N, D)` of these rows.
        """
        product, memory, count = gradient.clone(), len(self._steps), self._count[rows]
        pairs = min(memory, int(count.max())) if len(rows) else 0
        alphas = []
        for age in range(1, pairs + 1):  # from the youngest pair to the oldest
            slot, inverse = self._pair(rows, count, age)
            alphas.append(inverse * (self._steps[slot, rows] * product).sum(dim=1))
            product -= alphas[-1][:, None] * self._changes[slot, rows]
        product *= self._scaling[rows, None]
        for age in range(pairs, 0, -1):
            slot, inverse = self._pair(rows, count, age)
            beta = inverse * (self._changes[slot, rows] * product).sum(dim=1)
            product += (alphas[age - 1] - beta)[:, None] * self._steps[slot, rows]
        return product

    def _pair(self, rows: Tensor, count: Tensor, age: int) -> tuple[Tensor, Tensor]:
        """`(N,)` where the `age`-th youngest pairs are, and their `1 / y's`; 0, without effect, where there is none."""
        slot = (count - age) % len(self._steps)
        return slot, torch.where(count >= age, self._inverse[slot, rows], 0.0)

    def state_dict(self) -> dict[str, Any]:
        """All pairs."""
        return {name: getattr(self, f"_{name}").cpu().numpy().copy() for name in self._parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name in self._parts:
            value = torch.from_numpy(np.array(state[name])).to(getattr(self, f"_{name}"))
            setattr(self, f"_{name}", value)
