"""What all swarms by pyswarms' backend have in common, whatever their positions are made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gfopt.optimizers._nearest import nearest
from gfopt.optimizers._pyswarms import handlers, quiet, topology
from gfopt.optimizers._pyswarms_neighbours import Neighbourhood
from gfopt.optimizers._pyswarms_options import Coefficients, NearestOptions
from gfopt.optimizers._pyswarms_schedules import Schedules
from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.rng import GlobalStreams
from gfopt.types import Evaluation

# Stands for +inf: a swarm whose costs are all infinite has no best position and pyswarms fails.
_WORST = float(np.finfo(np.float64).max)
_ARRAYS = ("position", "velocity", "pbest_pos", "pbest_cost")


class Swarm(Optimizer):
    """One `tell` is one iteration of pyswarms' `optimize()`, which keeps every position and velocity; this keeps none.

    Velocities and random numbers are float64, as in pyswarms. Costs of another batch do not compare, so on a new batch
    the personal bests are asked again beside the positions: `2 P` rows, all of them charged.
    """

    device: ClassVar[Literal["any", "cpu"]] = "cpu"
    options: Coefficients

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of particles."""
        assert isinstance(options, Coefficients)
        return options.particles

    @abstractmethod
    def _place(self, start: Tensor) -> NDArray[Any]:
        """`(P, D)` first positions."""

    @abstractmethod
    def _make_swarm(self, position: NDArray[Any]) -> Any:
        """Make the swarm of pyswarms at these positions; draws velocities from numpy's global generator."""

    @abstractmethod
    def _make_neighbourhood(self) -> Neighbourhood:
        """Who follows whom; called inside `quiet()`."""

    @abstractmethod
    def _move(self) -> None:
        """The swarm's new velocities and positions."""

    def _initialize(self, start: Tensor) -> None:
        self._like = start.new_empty((0, start.shape[1]))
        self._asked: int | None = None
        self._batch: int | None = None
        self._streams = GlobalStreams(int(self.generator.integers(2**63)))
        with quiet():
            position = self._place(start)
            self._neighbourhood = self._make_neighbourhood()
            self._velocity_handler = handlers.VelocityHandler(strategy="unmodified")
            self._schedules = Schedules(self.options)
            with self._streams.active():
                # As pyswarms' constructors do: they make their swarm twice and keep the second.
                self._swarm = [self._make_swarm(position) for _ in range(2)][1]
            # For velocities alone; every topology has the same.
            self._operators = topology.Star()
        # The arrays change in place: the swarm's and its bests are one object as pyswarms makes them.
        self._swarm.pbest_pos = position.copy()
        self._swarm.pbest_cost = np.full(len(position), np.inf)
        self._leaders = np.zeros(len(position), dtype=np.intp)

    def _write(self, positions: NDArray[Any], out: NDArray[Any]) -> None:
        """The rows of the network that positions `(P, D)` stand for, into `out`."""
        out[...] = positions

    def ask(self, batch: int) -> Tensor:
        """The `P` positions; on a new batch the `P` personal bests behind them."""
        swarm, self._asked = self._swarm, batch
        stale = self._batch is not None and batch != self._batch
        places = [swarm.position, swarm.pbest_pos] if stale else [swarm.position]
        staged = staging(len(places) * swarm.n_particles, self._like)
        for part, positions in zip(np.split(staged.numpy(), len(places)), places, strict=True):
            self._write(positions, part)
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
        self._leaders, swarm.best_cost = self._neighbourhood.leaders(swarm, self._leaders)
        swarm.options = self._schedules.at(self.spent)
        # Coefficients outside the region of stability let a swarm explode: that is data, not a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            self._move()

    def _accelerate(self, clamp: tuple[Any, Any] | None) -> None:
        """New velocities by pyswarms' operator; draws from numpy's global generator."""
        swarm = self._swarm
        swarm.best_pos = swarm.pbest_pos[self._leaders]
        swarm.velocity = self._operators.compute_velocity(swarm, clamp, self._velocity_handler)

    def state_dict(self) -> dict[str, Any]:
        """The swarm, its random numbers and the batch its costs belong to."""
        swarm, found = self._swarm, self._neighbourhood.found
        arrays = {name: np.array(getattr(swarm, name)) for name in _ARRAYS}
        return {
            **arrays,
            "leaders": np.array(self._leaders),
            "best_cost": float(swarm.best_cost),
            "batch": self._batch,
            "streams": self._streams.state_dict(),
            **({} if found is None else {"neighbours": np.array(found)}),
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
        found = state.get("neighbours")
        self._neighbourhood.found = None if found is None else np.array(found)


def nearest_ring(options: NearestOptions, large: int) -> Neighbourhood:
    """The nearest at the time, by pyswarms' k-d tree; from `large` genes `P D` on by a matrix of all distances."""
    asked = options.ring()

    def find(position: NDArray[Any]) -> NDArray[np.intp] | None:
        with np.errstate(over="ignore"):
            exploded = not np.isfinite(np.square(position, dtype=np.float64).sum())
        if position.size < large and not exploded:  # pyswarms fails where a distance is infinite
            return None
        found = nearest(position, asked["k"], asked["p"])
        return found[:, 0] if asked["k"] == 1 else found

    return Neighbourhood(topology.Ring(), find, **asked)
