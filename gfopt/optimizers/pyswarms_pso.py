"""Particle swarms by pyswarms' backend, which gives bit for bit the steps of its own `optimize()`.

Small swarms move by pyswarms' own operators. From `LARGE` genes on a compiled pass does the same to the same random
numbers, without their dozen temporaries of the swarm's size; pyswarms still decides who follows whom and what happens
at the border.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfopt.optimizers._pyswarms import backend, topology
from gfopt.optimizers._pyswarms_neighbours import Neighbourhood
from gfopt.optimizers._pyswarms_options import MOTION, NEIGHBOURS, LocalBestOptions, SwarmOptions
from gfopt.optimizers._pyswarms_swarm import Swarm, nearest_ring
from gfopt.optimizers._pyswarms_walls import Walls
from gfopt.optimizers.neutral import project, tangential
from gfopt.optimizers.space import Integer

# Genes `P D` from which compiled code pays for being loaded. The steps are the same on either side of it.
LARGE = 2**16


class ParticleSwarm(Swarm):
    """The swarms in a continuous space; a class below says who is whose neighbour.

    `v = w v + c1 r1 (own best - x) + c2 r2 (leader's best - x)`, `x = x + v`, with inertia `w`, the pulls `c1` and `c2`
    and two uniform random numbers for every gene. Positions have the dtype of the start.

    References: Kennedy and Eberhart 1995; Clerc and Kennedy 2002, IEEE Trans. Evol. Comput. 6(1).
    """

    options: SwarmOptions

    def _place(self, start: Tensor) -> NDArray[Any]:
        options = self.options
        position = start.cpu().numpy()
        if options.project_neutral:
            position = project(start, self.groups, self.scale).cpu().numpy()
        self._box = self._make_box(position)
        self._walls = None
        if self._box is not None:  # pyswarms refuses a start outside
            position = np.clip(position, *self._box)
            self._walls = Walls(*self._box, options.boundary, options.velocity_boundary)
        self._clamp = None
        if options.velocity_clamp is not None:
            fastest = options.velocity_clamp * self.scale.cpu().numpy().astype(np.float64)
            self._clamp = (-fastest, fastest)
        return position

    def _initialize(self, start: Tensor) -> None:
        super()._initialize(start)
        self._project()

    def _make_box(self, position: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """`(D,)` lowest and highest positions: the problem's bounds or the radius, whichever is tighter."""
        radius = self.options.bounds_radius
        if self.bounds is None and radius is None:
            return None
        low, high = np.full((2, position.shape[1]), [[-np.inf], [np.inf]], dtype=position.dtype)
        if self.bounds is not None:
            low, high = (bound.cpu().numpy().astype(position.dtype) for bound in self.bounds)
        if radius is not None:
            # The center is admissible, so that the tighter box is never empty.
            center, reach = np.clip(position.mean(axis=0), low, high), radius * self.scale.cpu().numpy()
            low, high = np.maximum(low, center - reach), np.minimum(high, center + reach)
        return low.astype(position.dtype), high.astype(position.dtype)

    def _make_swarm(self, position: NDArray[Any]) -> Any:
        return backend.create_swarm(
            n_particles=position.shape[0],
            dimensions=position.shape[1],
            bounds=self._box,
            init_pos=position,
            clamp=self._clamp,
            options=self._schedules.start,
        )

    def _move(self) -> None:
        swarm, walls = self._swarm, self._walls
        before = swarm.position.copy() if walls is not None and walls.looks_back else None
        if swarm.position.size >= LARGE:
            self._move_compiled()
        else:
            with self._streams.active():
                self._accelerate(self._clamp)
            swarm.position = backend.compute_position(swarm, None, None)
        if walls is not None:
            with self._streams.active():
                walls.bring_back(swarm.position, swarm.velocity, before)
        self._bring_back_the_lost()
        self._project()

    def _move_compiled(self) -> None:
        # numba takes as long to import as many a small run.
        from gfopt.optimizers import _pyswarms_kernel as kernel

        swarm, state = self._swarm, self._streams.state_dict()
        fastest = np.full(swarm.dimensions, np.inf) if self._clamp is None else self._clamp[1]
        twister = state["numpy"]
        twister["pos"] = kernel.move(
            swarm.position,
            swarm.velocity,
            swarm.pbest_pos,
            self._leaders,
            swarm.options["w"],
            (swarm.options["c1"], swarm.options["c2"]),
            fastest,
            twister["key"],
            twister["pos"],
        )
        self._streams.load_state_dict(state)

    def _bring_back_the_lost(self) -> None:
        """A particle that left the range of numbers starts again, at rest, from its personal best."""
        swarm = self._swarm
        lost = np.array([not np.isfinite(row).all() for row in swarm.position])
        if lost.any():
            swarm.position[lost] = swarm.pbest_pos[lost]
            swarm.velocity[lost] = 0

    def _project(self) -> None:
        """Neutral rows back at their length, and no velocity along it, if that is asked for."""
        if not self.options.project_neutral:
            return
        swarm = self._swarm
        position = project(torch.from_numpy(swarm.position), self.groups, self.scale)
        swarm.velocity = tangential(torch.from_numpy(swarm.velocity), position, self.groups).numpy()
        swarm.position = position.numpy()
        if self._box is not None:
            swarm.position = np.clip(swarm.position, *self._box)


class GlobalBest(ParticleSwarm):
    """Every particle is every other's neighbour."""

    options_class = SwarmOptions
    space = MOTION

    def _make_neighbourhood(self) -> Neighbourhood:
        return Neighbourhood(topology.Star())


class LocalBest(ParticleSwarm):
    """A particle's neighbours are the nearest ones at the time: pyswarms' ring, by distance in `D` dimensions.

    Small swarms look them up in pyswarms' k-d tree, large ones in a matrix of all distances; they are the same.
    """

    options_class = LocalBestOptions
    space = {**NEIGHBOURS, "neighbors": Integer(2, 16, log=True)}
    options: LocalBestOptions

    def _make_neighbourhood(self) -> Neighbourhood:
        return nearest_ring(self.options, LARGE)
