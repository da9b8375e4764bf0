"""What happens at the border of the box: pyswarms' boundary handlers, and repairs of those that do not work.

Not offered of pyswarms 1.3.0 as they are:

- boundary `random` replaces the whole particle, all offenders by one and the same point (its pull request 520). Here
  each gene that left gets a place of its own, the others stay.
- boundary `shrink` takes minutes for one step of 50 x 10 000 genes, where the others take milliseconds.
- velocities `invert` and `zero` look at the positions before the move, which are inside: they never act (and `zero`
  forgets the clamp). Here they act on the genes that leave, when they leave, as in Helwig 2010.
- velocity `adjust`, the difference of two positions after their repair, lets swarms not converge (its issue 398).

References: Helwig 2010, "Particle Swarms for Constrained Optimization", PhD thesis, Erlangen-Nuernberg.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfopt.optimizers._pyswarms import handlers

# What is left of the velocity of a gene that leaves the box; pyswarms' own factor is that of `invert`.
FACTORS = {"unmodified": 1.0, "invert": -0.5, "zero": 0.0}
GENES = 2**16  # taken at once: the handlers make several temporaries of that many


class Walls:
    """The box of admissible positions, and how a swarm is brought back into it. To be made inside `quiet()`.

    Args:
        low, high: `(D,)` lowest and highest positions.
        boundary: the strategy for positions.
        velocity_boundary: the strategy for velocities.
    """

    def __init__(self, low: NDArray[Any], high: NDArray[Any], boundary: str, velocity_boundary: str) -> None:
        self.low, self.high = low, high
        self.looks_back = boundary == "intermediate"
        self._boundary = boundary
        self._handler = handlers.BoundaryHandler(strategy="nearest" if boundary == "random" else boundary)
        self._factor = FACTORS[velocity_boundary]
        self._fixed = np.flatnonzero(low == high)

    def bring_back(self, position: NDArray[Any], velocity: NDArray[Any], before: NDArray[Any] | None) -> None:
        """Repair positions `(P, D)` and velocities `(P, D)`, in place; draws from numpy's global generator if `random`.

        Args:
            position: after the move.
            velocity: that moved them.
            before: positions before the move; needed if `looks_back`.
        """
        step = max(1, GENES // position.shape[1])
        for at in range(0, len(position), step):
            part = slice(at, at + step)
            self._repair(position[part], velocity[part], None if before is None else before[part])

    def _repair(self, rows: NDArray[Any], speeds: NDArray[Any], before: NDArray[Any] | None) -> None:
        if self._factor != 1 or self._boundary == "random":
            left = (rows < self.low) | (rows > self.high)
            speeds[left] *= self._factor
            if self._boundary == "random":
                genes = np.nonzero(left)[1]
                low, high = self.low[genes], self.high[genes]
                rows[left] = np.minimum(low + np.random.random_sample(len(genes)) * (high - low), high)  # noqa: NPY002
        # Where there is no room, a reflection would go on for ever and a period be no number.
        rows[:, self._fixed] = self.low[self._fixed]
        self._handler.memory = before
        rows[...] = self._handler(rows, (self.low, self.high))
