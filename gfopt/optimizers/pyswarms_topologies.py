"""pyswarms' other topologies: on a lattice, at random, and on the edges of simplices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gfopt.optimizers._nearest import nearest
from gfopt.optimizers._pyswarms import topology
from gfopt.optimizers._pyswarms_neighbours import Indices, Neighbourhood, delannoy, random_graph, simplices
from gfopt.optimizers._pyswarms_options import (
    NEIGHBOURS,
    PyramidOptions,
    RandomOptions,
    VonNeumannOptions,
)
from gfopt.optimizers.pyswarms_pso import ParticleSwarm
from gfopt.optimizers.space import Choice, Integer


class VonNeumann(ParticleSwarm):
    """A particle's neighbours are the nearest ones at the start, as many as a von Neumann neighbourhood has.

    pyswarms places no particle on a lattice: its topology is the ring of `pyswarms-lbest`, looked up once, where `k` is
    the number of points of a lattice within `range` steps, itself among them: `2 d + 1` for one step in `d` dimensions,
    the Delannoy number `D(d, range)` in general. It takes the dimensions of the search space for `d`, and fails with
    an IndexError where that is more than there are particles, as with any network, and beyond about 1000 dimensions
    in its recursion. Here `d` is the option `lattice`, 2 by default: the five neighbours of the literature; and there
    are at most as many neighbours as particles. The neighbours need not be mutual.

    References: Kennedy and Mendes 2002, "Population structure and particle swarm performance", CEC.
    """

    options_class = VonNeumannOptions
    space = {**NEIGHBOURS, "range": Integer(1, 3)}
    options: VonNeumannOptions

    def _make_neighbourhood(self) -> Neighbourhood:
        options = self.options
        # From as many steps as there are particles on, everybody is a neighbour in any number of dimensions.
        lattice = options.lattice or self._like.shape[1]
        count = min(delannoy(lattice, min(options.range, options.particles)), options.particles)
        return Neighbourhood(
            topology.Ring(), lambda position: nearest(position, count, options.norm), static=True, k=count, p=2
        )


class RandomNeighbours(ParticleSwarm):
    """A particle's neighbours are some that it draws at random, those who drew it, and itself; the graph is connected.

    They are drawn before every move, or once. pyswarms' own `Random` fails on numpy from 1.24 on ("inhomogeneous
    shape") unless everybody draws all others; the neighbours here are those that it draws from the same random numbers.

    References: Ni and Deng 2013, The Scientific World Journal, 409167.
    """

    options_class = RandomOptions
    space = {**NEIGHBOURS, "neighbors": Integer(1, 12, log=True)}
    options: RandomOptions

    def _make_neighbourhood(self) -> Neighbourhood:
        options = self.options
        others = options.neighbors or max(1, options.particles // 4)

        def find(position: NDArray[Any]) -> Indices:
            with self._streams.active():
                return random_graph(len(position), others)

        return Neighbourhood(topology.Random(), find, static=options.static, k=others)


class Pyramid(ParticleSwarm):
    """A particle's neighbours share an edge with it in a triangulation of the swarm, in a random projection.

    The triangulation is Delaunay's; a particle is not its own neighbour. pyswarms' own `Pyramid` fails on numpy from
    1.24 on ("inhomogeneous shape") unless everybody is everybody's neighbour. That is what it makes of all swarms of at
    most `D` particles, hence of any that trains a network, and a triangulation in tens of dimensions takes minutes. So
    where `D` is more than `dimensions`, the swarm is triangulated in as many random directions, drawn once; near there
    need not be near in the search space. In `dimensions` or fewer it is triangulated where it is. Distances are in
    units of scale.

    References: Lane, Engelbrecht and Gain 2008, IEEE Swarm Intelligence Symposium.
    """

    options_class = PyramidOptions
    space = {**NEIGHBOURS, "dimensions": Integer(1, 5), "static": Choice((False, True))}
    options: PyramidOptions

    def _initialize(self, start: Tensor) -> None:
        super()._initialize(start)
        self._aim(int(self.generator.integers(2**63)))

    def _aim(self, seed: int) -> None:
        """Set `_directions`, `(D, d)` over scale: of the projection, or all there are."""
        self._seed, dim = seed, self._like.shape[1]
        if dim <= self.options.dimensions:
            directions = np.eye(dim)
        else:
            directions = np.random.default_rng(seed).standard_normal((dim, self.options.dimensions))
        self._directions = directions / self.scale.cpu().numpy().astype(np.float64)[:, None]

    def _make_neighbourhood(self) -> Neighbourhood:
        def find(position: NDArray[Any]) -> Indices:
            # As far as they are apart: sizes that are out of proportion fail in the triangulation. Not a product of
            # matrices, whose rounding depends on the number of threads.
            largest = max(np.abs(position).max(), np.finfo(position.dtype).tiny)
            points = np.einsum("pd,dk->pk", (position / largest).astype(np.float64), self._directions)
            points -= points[0]  # equal ones become exactly 0, which a mean may miss
            return simplices(points / max(np.abs(points).max(), np.finfo(np.float64).tiny))

        return Neighbourhood(topology.Pyramid(), find, static=self.options.static)

    def state_dict(self) -> dict[str, Any]:
        """That of the swarm, and the seed of its projection."""
        return {**super().state_dict(), "projection": self._seed}

    def load_state_dict(self, state: Any) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        self._aim(int(state["projection"]))
