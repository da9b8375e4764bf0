"""Particle swarms by pyswarms' backend, which gives bit for bit the steps of its own `optimize()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import expectation
from gfopt.optimizers._pyswarms import backend, handlers, quiet, topology
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.neutral import project, tangential
from gfopt.rng import GlobalStreams
from gfopt.types import Evaluation

# Stands for +inf: a swarm whose costs are all infinite has no best position and pyswarms fails.
_WORST = float(np.finfo(np.float64).max)


class SwarmOptions(Options):
    """Options of both swarms.

    Attributes:
        particles: size of the swarm.
        inertia: share of the velocity that is kept (`w`).
        cognitive: pull towards a particle's own best position (`c1`).
        social: pull towards the best position of its neighbourhood (`c2`).
        velocity_clamp: highest speed of a gene in units of its scale; the first velocities are uniform in
            that range. `None` is pyswarms' own default: no limit, and first velocities uniform in `[0, 1)`.
        bounds_radius: half width of the box of admissible positions, in units of scale, around the mean of
            the start rows; `None`: no box beside the problem's own bounds.
        boundary: what happens to a gene that leaves the box: `nearest` puts it on the border, `reflective`
            mirrors it, `periodic` lets it come in on the other side.
        project_neutral: keep the rows of weights in front of a normalization, whose length changes no output, at
            the length of the initialization: after every move positions are brought back to it, and velocities
            lose the part that only changes it. The best positions are copies of such positions. Choose a smaller
            `velocity_clamp`: no growth anneals the steps (see `gfopt.optimizers.neutral`). The box prevails.

    The defaults of `inertia`, `cognitive` and `social` are the constriction coefficients of Clerc and
    Kennedy 2002.
    """

    particles: int = Field(32, ge=2)
    inertia: float = Field(0.729, ge=0, lt=1)
    cognitive: float = Field(1.494, ge=0)
    social: float = Field(1.494, ge=0)
    velocity_clamp: float | None = Field(1.0, gt=0)
    bounds_radius: float | None = Field(None, gt=0)
    boundary: Literal["nearest", "reflective", "periodic"] = "nearest"
    project_neutral: bool = False


class ParticleSwarm(Optimizer):
    """What the swarms have in common; a class below says who is whose neighbour.

    One `tell` is one iteration of pyswarms' `optimize()`. Costs of another batch do not compare, so on a new
    batch the personal bests are asked again beside the positions: `2 P` rows, all of them charged.

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
        self._like = start.new_empty(0)
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
        self._swarm.pbest_cost = np.full(len(position), np.inf)
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
        rows = np.concatenate([swarm.position, swarm.pbest_pos]) if stale else swarm.position.copy()
        return torch.from_numpy(rows).to(self._like)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Update the personal and neighbourhood bests, and move."""
        del population
        swarm = self._swarm
        cost = np.minimum(evaluation.loss.detach().cpu().numpy().astype(np.float64), _WORST)
        swarm.current_cost, again = cost[: swarm.n_particles], cost[swarm.n_particles :]
        if len(again):
            swarm.pbest_cost, swarm.best_cost = again, np.inf
        self._batch = self._asked
        swarm.pbest_pos, swarm.pbest_cost = backend.compute_pbest(swarm)
        swarm.best_pos, swarm.best_cost = self._topology.compute_gbest(swarm, **self.neighbourhood())
        # Coefficients outside the region of stability let a swarm explode: that is data, not a warning.
        with self._streams.active(), np.errstate(over="ignore", invalid="ignore"):
            swarm.velocity = self._topology.compute_velocity(swarm, self._clamp, self._velocity_handler, self._box)
            swarm.position = self._topology.compute_position(swarm, self._box, self._boundary_handler)
        self._bring_back_the_lost()
        self._project()

    def _bring_back_the_lost(self) -> None:
        """A particle that left the range of numbers starts again, at rest, from its personal best."""
        swarm = self._swarm
        lost = ~np.isfinite(swarm.position).all(axis=1)
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
            "best_cost": float(swarm.best_cost),
            "batch": self._batch,
            "streams": self._streams.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name in _ARRAYS:
            setattr(self._swarm, name, np.array(state[name]))
        # numpy's number, not Python's: pyswarms' arithmetic is on the former.
        self._swarm.best_cost = np.float64(state["best_cost"])
        self._batch = state["batch"]
        self._streams.load_state_dict(state["streams"])


_ARRAYS = ("position", "velocity", "pbest_pos", "pbest_cost", "best_pos")


class GlobalBest(ParticleSwarm):
    """Every particle is every other's neighbour."""

    options_class = SwarmOptions
    topology_class = topology.Star


class LocalBestOptions(SwarmOptions):
    """Options of `pyswarms-lbest`.

    Attributes:
        neighbors: how many of the nearest particles, itself among them, a particle follows (`k`); `None` is a
            quarter of the swarm, at least 2.
        norm: 1 for the sum of absolute differences as the distance, 2 for the Euclidean one (`p`).
    """

    neighbors: int | None = Field(None, ge=1)
    norm: Literal[1, 2] = 2

    @model_validator(mode="after")
    def _enough_particles(self) -> LocalBestOptions:
        if self.neighbors is not None and self.neighbors > self.particles:
            limit = f"at most the number of particles, {self.particles}"
            raise ValueError("neighbors: " + expectation(limit, self.neighbors))
        return self


class LocalBest(ParticleSwarm):
    """A particle's neighbours are the nearest ones at the time: pyswarms' ring, a k-d tree in `D` dimensions.

    Building and asking that tree is most of its own cost.
    """

    options_class = LocalBestOptions
    topology_class = topology.Ring
    options: LocalBestOptions

    def neighbourhood(self) -> dict[str, Any]:
        """How many neighbours by which distance."""
        options = self.options
        return {"k": options.neighbors or max(2, options.particles // 4), "p": options.norm}
