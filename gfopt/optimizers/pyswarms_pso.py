"""Particle swarms by pyswarms' backend, which gives bit for bit the steps of its own `optimize()`.

Small swarms move by pyswarms' own operators. From `LARGE` genes on a compiled pass does the same to the same random
numbers, without their dozen temporaries of the swarm's size; pyswarms still decides who follows whom and what happens
at the border.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfopt.optimizers._nearest import nearest
from gfopt.optimizers._pyswarms import backend, handlers, quiet, topology
from gfopt.optimizers._pyswarms_options import LocalBestOptions, SwarmOptions
from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.neutral import project, tangential
from gfopt.rng import GlobalStreams
from gfopt.types import Evaluation

# Stands for +inf: a swarm whose costs are all infinite has no best position and pyswarms fails.
_WORST = float(np.finfo(np.float64).max)
# Genes `P D` from which compiled code pays for being loaded. The steps are the same on either side of it.
LARGE = 2**16


class ParticleSwarm(Optimizer):
    """What the swarms have in common; a class below says who is whose neighbour.

    One `tell` is one iteration of pyswarms' `optimize()`, which keeps a history of every position and velocity; this
    keeps none. Positions have the dtype of the start; velocities and random numbers are float64, as in pyswarms.
    Costs of another batch do not compare, so on a new batch the personal bests are asked again beside the positions:
    `2 P` rows, all of them charged.

    References: Kennedy and Eberhart 1995; Clerc and Kennedy 2002, IEEE Trans. Evol. Comput. 6(1).
    """

    topology_class: ClassVar[Any]
    options: SwarmOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of particles."""
        assert isinstance(options, SwarmOptions)
        return options.particles

    def neighbourhood(self) -> dict[str, Any]:
        """Arguments of the topology's `compute_gbest`."""
        return {}

    def _initialize(self, start: Tensor) -> None:
        options = self.options
        self._like = start.new_empty((0, start.shape[1]))
        self._asked: int | None = None
        self._batch: int | None = None
        position = start.cpu().numpy()
        if options.project_neutral:
            position = project(start, self.groups, self.scale).cpu().numpy()
        self._box = self._make_box(position)
        if self._box is not None:  # pyswarms refuses a start outside
            position = np.clip(position, *self._box)
        self._clamp = None
        if options.velocity_clamp is not None:
            fastest = options.velocity_clamp * self.scale.cpu().numpy().astype(np.float64)
            self._clamp = (-fastest, fastest)
        self._streams = GlobalStreams(int(self.generator.integers(2**63)))
        with quiet():
            self._topology = self.topology_class()
            self._velocity_handler = handlers.VelocityHandler(strategy="unmodified")
            self._boundary_handler = handlers.BoundaryHandler(strategy=options.boundary)
            with self._streams.active():
                # As pyswarms' constructors do: they make their swarm twice and keep the second.
                self._swarm = [self._make_swarm(position) for _ in range(2)][1]
        # The arrays change in place: the swarm's and its bests are one object as pyswarms makes them.
        self._swarm.pbest_pos = position.copy()
        self._swarm.pbest_cost = np.full(len(position), np.inf)
        self._leaders = np.zeros(len(position), dtype=np.intp)
        self._move = self._move_compiled if position.size >= LARGE else self._move_by_pyswarms
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
            options={"c1": self.options.cognitive, "c2": self.options.social, "w": self.options.inertia},
        )

    def ask(self, batch: int) -> Tensor:
        """The `P` positions; on a new batch the `P` personal bests behind them."""
        swarm, self._asked = self._swarm, batch
        stale = self._batch is not None and batch != self._batch
        rows = [swarm.position, swarm.pbest_pos] if stale else [swarm.position]
        staged = staging(len(rows) * swarm.n_particles, self._like)
        np.concatenate(rows, out=staged.numpy())
        return deliver(staged, self._like)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Update the personal and neighbourhood bests, and move."""
        del population
        swarm = self._swarm
        cost = np.minimum(evaluation.loss.detach().cpu().numpy().astype(np.float64), _WORST)
        current, again = cost[: swarm.n_particles], cost[swarm.n_particles :]
        if len(again):
            swarm.pbest_cost, swarm.best_cost = again, np.inf
        self._batch = self._asked
        better = np.flatnonzero(current < swarm.pbest_cost)
        swarm.pbest_pos[better] = swarm.position[better]
        swarm.pbest_cost[better] = current[better]
        self._follow()
        # Coefficients outside the region of stability let a swarm explode: that is data, not a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            self._move()
        self._bring_back_the_lost()
        self._project()

    def _follow(self) -> None:
        """Let pyswarms' topology name the leaders, by their index where it would copy their positions.

        A leader of a star keeps leading until a lower cost is found, its own or another's: its best position is the
        one that pyswarms remembers.
        """
        swarm = self._swarm
        seen = SimpleNamespace(
            position=swarm.position,
            n_particles=swarm.n_particles,
            pbest_cost=swarm.pbest_cost,
            pbest_pos=np.arange(swarm.n_particles),
            best_cost=swarm.best_cost,
            best_pos=self._leaders,
        )
        leaders, swarm.best_cost = self._topology.compute_gbest(seen, **self.neighbourhood())
        self._leaders = np.array(np.broadcast_to(leaders, self._leaders.shape))

    def _move_by_pyswarms(self) -> None:
        swarm = self._swarm
        swarm.best_pos = swarm.pbest_pos[self._leaders]
        with self._streams.active():
            swarm.velocity = self._topology.compute_velocity(swarm, self._clamp, self._velocity_handler, self._box)
            swarm.position = self._topology.compute_position(swarm, self._box, self._boundary_handler)

    def _move_compiled(self) -> None:
        # numba takes as long to import as many a small run.
        from gfopt.optimizers import _pyswarms_kernel as kernel

        swarm, options, state = self._swarm, self.options, self._streams.state_dict()
        fastest = np.full(swarm.dimensions, np.inf) if self._clamp is None else self._clamp[1]
        twister = state["numpy"]
        twister["pos"] = 2 * kernel.move(
            swarm.position,
            swarm.velocity,
            swarm.pbest_pos,
            self._leaders,
            options.inertia,
            (options.cognitive, options.social),
            fastest,
            twister["key"],
            twister["pos"] // 2,
        )
        self._streams.load_state_dict(state)
        if self._box is not None:
            step = max(1, LARGE // swarm.dimensions)
            for rows in (swarm.position[at : at + step] for at in range(0, swarm.n_particles, step)):
                rows[...] = self._boundary_handler(rows, self._box)

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

    def state_dict(self) -> dict[str, Any]:
        """The swarm, its random numbers and the batch its costs belong to."""
        swarm = self._swarm
        arrays = {name: np.array(getattr(swarm, name)) for name in _ARRAYS}
        return {
            **arrays,
            "leaders": np.array(self._leaders),
            "best_cost": float(swarm.best_cost),
            "batch": self._batch,
            "streams": self._streams.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name in _ARRAYS:
            setattr(self._swarm, name, np.array(state[name]))
        self._leaders = np.array(state["leaders"])
        # numpy's number, not Python's: pyswarms' arithmetic is on the former.
        self._swarm.best_cost = np.float64(state["best_cost"])
        self._batch = state["batch"]
        self._streams.load_state_dict(state["streams"])


_ARRAYS = ("position", "velocity", "pbest_pos", "pbest_cost")


class GlobalBest(ParticleSwarm):
    """Every particle is every other's neighbour."""

    options_class = SwarmOptions
    topology_class = topology.Star


class LocalBest(ParticleSwarm):
    """A particle's neighbours are the nearest ones at the time: pyswarms' ring, by distance in `D` dimensions.

    Small swarms look them up in pyswarms' k-d tree, large ones in a matrix of all distances; they are the same.
    """

    options_class = LocalBestOptions
    topology_class = topology.Ring
    options: LocalBestOptions

    def neighbourhood(self) -> dict[str, Any]:
        """How many neighbours by which distance."""
        options = self.options
        return {"k": options.neighbors or max(2, options.particles // 4), "p": options.norm}

    def _follow(self) -> None:
        position, asked = self._swarm.position, self.neighbourhood()
        with np.errstate(over="ignore"):
            exploded = not np.isfinite(np.square(position, dtype=np.float64).sum())
        if position.size >= LARGE or exploded:  # pyswarms fails where a distance is infinite
            # Neighbours that a static ring has are not looked for again.
            self._topology.static = True
            found = nearest(position, asked["k"], asked["p"])
            self._topology.neighbor_idx = found[:, 0] if asked["k"] == 1 else found
        super()._follow()
