"""Binary particle swarm by pyswarms' backend, for networks whose weights are signs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gfopt.optimizers._pyswarms import backend
from gfopt.optimizers._pyswarms_neighbours import Neighbourhood
from gfopt.optimizers._pyswarms_options import COEFFICIENTS, BinaryOptions
from gfopt.optimizers._pyswarms_swarm import Swarm, nearest_ring
from gfopt.optimizers.pyswarms_pso import LARGE
from gfopt.optimizers.space import Integer, Real


class BinarySwarm(Swarm):
    """Swarm of bits `b`, each of them 1 as likely as the sigmoid of its velocity: a row is `(2 b - 1)` times the scale.

    So every weight is plus or minus its standard deviation under the network's own initialization, and the first rows
    are the signs of the start. Velocities are those of `pyswarms-lbest`, on bits. As in pyswarms' `BinaryPSO`, whose
    `optimize()` this equals bit for bit, one random number a gene decides for all particles; Kennedy and Eberhart draw
    one for each (`shared_draw: false`). With bounds a row is as near to its signs as they admit.

    References: Kennedy and Eberhart 1997, "A discrete binary version of the particle swarm algorithm", IEEE SMC.
    """

    options_class = BinaryOptions
    continuous: ClassVar[bool] = False
    space = {
        **{name: COEFFICIENTS[name] for name in ("particles", "cognitive", "social")},
        "velocity_clamp": Real(3.0, 8.0),
        "neighbors": Integer(2, 16, log=True),
    }
    options: BinaryOptions

    def _place(self, start: Tensor) -> NDArray[np.int8]:
        values: NDArray[Any] = self.scale.to(start).cpu().numpy()
        self._values = np.stack([-values, values])
        if self.bounds is not None:
            self._values = np.clip(self._values, *(bound.to(start).cpu().numpy() for bound in self.bounds))
        return (start.cpu().numpy() > 0).astype(np.int8)

    def _make_swarm(self, position: NDArray[Any]) -> Any:
        count, dim = position.shape
        return backend.create_swarm(
            n_particles=count,
            dimensions=dim,
            discrete=True,
            binary=True,
            init_pos=position,
            clamp=self._clamp(),
            options=self._schedules.start,
        )

    def _clamp(self) -> tuple[float, float] | None:
        limit = self.options.velocity_clamp
        return None if limit is None else (-limit, limit)

    def _make_neighbourhood(self) -> Neighbourhood:
        return nearest_ring(self.options, LARGE)

    def _write(self, positions: NDArray[Any], out: NDArray[Any]) -> None:
        np.copyto(out, np.where(positions, self._values[1], self._values[0]))

    def _move(self) -> None:
        swarm = self._swarm
        with self._streams.active(), np.errstate(under="ignore"):
            self._accelerate(self._clamp())
            size = swarm.dimensions if self.options.shared_draw else swarm.velocity.shape
            likely = 1 / (1 + np.exp(-swarm.velocity))
            swarm.position = (np.random.random_sample(size) < likely).astype(np.int8)  # noqa: NPY002
