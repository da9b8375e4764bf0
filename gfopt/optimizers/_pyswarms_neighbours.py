"""Who is whose neighbour, as arrays `(P, K)` of indices that pyswarms' topologies choose the leaders from.

pyswarms' `Random` and `Pyramid` keep lists of different lengths in an array, which numpy refuses from 1.24 on
("inhomogeneous shape") unless everybody is everybody's neighbour. Here shorter lists repeat their first neighbour,
which changes no leader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

Indices = NDArray[np.intp]
# Points in degenerate positions, such as twins, are told apart by one in a million of a swarm of extent 1.
_JOGGLED = "QJ0.000001 Qbb Qc"


class Neighbourhood:
    """A topology of pyswarms that names the leaders, told the neighbours where it cannot find them by itself.

    Args:
        topology: pyswarms' own.
        find: from the positions `(P, D)` to the neighbours of each particle, `(P, K)` indices, or `None` where the
            topology may look by itself.
        static: look once, and keep to it.
        **arguments: of the topology's `compute_gbest`.

    Attributes:
        found: the neighbours of a static one, once they are known.
    """

    def __init__(
        self,
        topology: Any,
        find: Callable[[NDArray[Any]], Indices | None] = lambda position: None,
        *,
        static: bool = False,
        **arguments: Any,
    ) -> None:
        self._topology = topology
        self._find = find
        self._arguments = arguments
        self.static = static
        self.found: Indices | None = None

    def leaders(self, swarm: Any, before: Indices) -> tuple[Indices, Any]:
        """`(P,)` whom each particle follows, by index where pyswarms would copy its position, and the lowest cost.

        A leader of a star keeps leading until a lower cost is found, its own or another's: its best position is the
        one that pyswarms remembers.

        Args:
            swarm: pyswarms' swarm.
            before: `(P,)` the leaders until now.
        """
        found = self.found
        if found is None:
            found = self._find(swarm.position)
        if found is not None:
            # pyswarms does not look again for neighbours that a static topology has.
            self._topology.static = True
            self._topology.neighbor_idx = found
        if self.static:
            self.found = found
        seen = SimpleNamespace(
            position=swarm.position,
            n_particles=swarm.n_particles,
            dimensions=0,  # where its number would keep a pyramid from the neighbours that were found
            pbest_cost=swarm.pbest_cost,
            pbest_pos=np.arange(swarm.n_particles),
            best_cost=swarm.best_cost,
            best_pos=before,
        )
        leaders, cost = self._topology.compute_gbest(seen, **self._arguments)
        return np.array(np.broadcast_to(leaders, before.shape)), cost


def delannoy(dimensions: int, reach: int) -> int:
    """Points of a lattice at most `reach` steps away from one of them, itself among them.

    It is pyswarms' number, whose recursion takes exponentially long and ends at about 1000 dimensions.

    References: Delannoy numbers, `sum_k 2^k C(d, k) C(r, k)`.
    """
    return sum(2**k * comb(dimensions, k) * comb(reach, k) for k in range(min(dimensions, reach) + 1))


def random_graph(count: int, others: int) -> Indices:
    """`(count, K)` neighbours in a random connected graph, drawn from numpy's global generator.

    Each particle names `others` different ones and is a neighbour of these, of those who name it, and its own. If the
    graph falls apart, its parts are connected completely. The numbers are drawn as pyswarms draws them.

    References: Ni and Deng 2013, "A New Logistic Dynamic Particle Swarm Optimization Algorithm Based on Random
        Topology", The Scientific World Journal, 409167.
    """
    adjacent = np.eye(count, dtype=bool)
    everybody = np.arange(count)
    for particle in everybody:
        rest = np.delete(everybody, particle)
        adjacent[particle, np.random.choice(rest, others, replace=False)] = True  # noqa: NPY002
    adjacent = adjacent | adjacent.T
    _, part = connected_components(adjacent, directed=False)
    adjacent |= part[:, None] != part
    return _padded([np.flatnonzero(row) for row in adjacent])


def simplices(points: NDArray[np.float64]) -> Indices:
    """`(P, K)` neighbours on the edges of the Delaunay triangulation of `points` `(P, d)`, no point its own.

    On a line they are the next ones on either side. Points that are no more than a simplex has corners are all
    neighbours of all, themselves too, as in pyswarms.

    Args:
        points: of an extent about 1.

    References: Lane, Engelbrecht and Gain 2008, "Particle swarm optimization with spatially meaningful neighbours",
        IEEE Swarm Intelligence Symposium.
    """
    count, dim = points.shape
    if count <= dim + 1:
        return np.tile(np.arange(count), (count, 1))
    if dim == 1:
        order = np.argsort(points[:, 0], kind="stable")
        along = [[*order[max(at - 1, 0) : at], *order[at + 1 : at + 2]] for at in range(count)]
        return _padded([along[at] for at in np.argsort(order)])
    begins, neighbours = Delaunay(points, qhull_options=_JOGGLED).vertex_neighbor_vertices
    return _padded([neighbours[begins[at] : begins[at + 1]] for at in range(count)])


def _padded(lists: Sequence[Sequence[int] | NDArray[Any]]) -> Indices:
    """`(P, K)` from lists of up to `K` indices, none of them empty."""
    longest = max(map(len, lists))
    return np.array([[*some, *[some[0]] * (longest - len(some))] for some in lists], dtype=np.intp)
