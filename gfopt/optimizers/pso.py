"""Particle swarm whose state stays on the device of the start; the step draws its numbers as it moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gfopt.draws import Draws
from gfopt.draws.generator import kernels
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Integer, Real
from gfopt.threads import in_threads
from gfopt.types import Evaluation


class SwarmOptions(Options):
    """Options of `pso`.

    Attributes:
        particles: size of the swarm.
        topology: whose best position pulls a particle: `global`, that of the whole swarm; `ring`, that of its
            neighbours by number, itself among them.
        neighbors: of a ring, how many on either side.
        inertia: share of the velocity that is kept (`w`).
        cognitive: pull towards a particle's own best position (`c1`).
        social: pull towards the best position of its neighbourhood (`c2`).
        velocity_clamp: highest speed of a gene in units of its scale; the first velocities are uniform in that range.

    The defaults of `inertia`, `cognitive` and `social` are the constriction coefficients of Clerc and Kennedy 2002.
    """

    particles: int = Field(32, ge=1)
    topology: Literal["global", "ring"] = "global"
    neighbors: int = Field(4, ge=1)
    inertia: float = Field(0.729, ge=0, lt=1)
    cognitive: float = Field(1.494, ge=0)
    social: float = Field(1.494, ge=0)
    velocity_clamp: float = Field(1.0, gt=0)


class ParticleSwarm(Optimizer):
    """Global-best or ring particle swarm, with two random numbers for each gene of each particle.

    Costs of another batch do not compare, so on a new batch the personal bests are asked again beside the positions:
    `2 P` rows, all of them charged. A position outside the problem's bounds is put on them, its velocity is kept.

    References: Kennedy and Eberhart 1995; Shi and Eberhart 1998 (inertia); Clerc and Kennedy 2002, IEEE Trans. Evol.
        Comput. 6(1); Kennedy and Mendes 2002 (ring).
    """

    options_class = SwarmOptions
    options: SwarmOptions
    space = {
        "particles": Integer(8, 128, log=True),
        "inertia": Real(0.4, 0.95),
        "cognitive": Real(0.5, 2.5),
        "social": Real(0.5, 2.5),
        "velocity_clamp": Real(0.1, 4.0, log=True),
    }

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of particles."""
        assert isinstance(options, SwarmOptions)
        return options.particles

    def _initialize(self, start: Tensor) -> None:
        self._draws = Draws(int(self.generator.integers(2**63)), start.device)
        self._fastest = self.options.velocity_clamp * self.scale.to(start)
        self._position = (start if self.bounds is None else start.clamp_(*self.bounds)).contiguous()
        self._velocity = self._draws.uniform_(torch.empty_like(self._position))
        self._velocity.mul_(2).sub_(1).mul_(self._fastest)
        self._best = self._position.clone()
        self._best_loss = start.new_full((len(start),), torch.inf)
        self._batch: int | None = None
        self._asked: int | None = None

    def ask(self, batch: int) -> Tensor:
        """The `P` positions; on a new batch the `P` personal bests behind them."""
        self._asked = batch
        if self._batch is None or batch == self._batch:
            return self._position.clone()
        return torch.cat([self._position, self._best])

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Update the personal bests, and move."""
        del population
        count, loss = len(self._best_loss), evaluation.loss.detach().to(self._best_loss)
        if len(loss) > count:
            self._best_loss = loss[count:].clone()
        self._batch = self._asked
        improved = (loss[:count] < self._best_loss).nonzero().squeeze(1)
        self._best_loss[improved] = loss[improved]
        self._best[improved] = self._position[improved]
        self._move()

    def _leaders(self) -> Tensor:
        """`(P,)` the particle with the lowest personal best in each one's neighbourhood."""
        count, device = len(self._best_loss), self._best_loss.device
        if self.options.topology == "global":
            return self._best_loss.argmin().repeat(count)
        reach = torch.arange(-self.options.neighbors, self.options.neighbors + 1, device=device)
        around = (torch.arange(count, device=device)[:, None] + reach) % count
        return around.gather(1, self._best_loss[around].argmin(dim=1, keepdim=True)).squeeze(1)

    def _move(self) -> None:
        options, position, leaders = self.options, self._position, self._leaders()
        weights = options.inertia, options.cognitive, options.social
        if self._draws.counted and position.dtype == torch.float32:
            self._move_compiled(leaders, weights)
        else:
            numbers = self._draws.uniform_(position.new_empty(len(position), 2, position.shape[1]))
            move(position, self._velocity, self._best, self._best[leaders], self._fastest, numbers, weights)
        if self.bounds is not None:
            position.clamp_(*self.bounds)

    def _move_compiled(self, leaders: Tensor, weights: tuple[float, float, float]) -> None:
        """`move` in one pass that makes its random numbers as it goes; threads share the particles."""
        compiled = kernels()
        count, dim = self._position.shape
        tiles = -(-dim // compiled.WORDS)
        first, seed = self._draws.reserve(2 * tiles * count), np.uint64(self._draws.seed)
        tensors = self._position, self._velocity, self._best, leaders, self._fastest
        arguments = *(tensor.numpy() for tensor in tensors), *(np.float32(weight) for weight in weights)
        in_threads(count, dim, lambda begin, end: compiled.move_swarm(seed, first, begin, end, *arguments))

    def state_dict(self) -> dict[str, Any]:
        """The swarm, its random numbers and the batch its losses belong to."""
        tensors = {name: getattr(self, f"_{name}").cpu().numpy().copy() for name in _TENSORS}
        return {**tensors, "batch": self._batch, "draws": self._draws.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name in _TENSORS:
            setattr(self, f"_{name}", torch.from_numpy(np.array(state[name])).to(self._position))
        self._batch = state["batch"]
        self._draws.load_state_dict(state["draws"])


_TENSORS = ("position", "velocity", "best", "best_loss")


def move(
    position: Tensor,
    velocity: Tensor,
    best: Tensor,
    leader: Tensor,
    fastest: Tensor,
    numbers: Tensor,
    weights: tuple[float, float, float],
) -> None:
    """One step of a swarm, in place: `v = w v + c1 r1 (own best - x) + c2 r2 (leader's best - x)`, `x = x + v`.

    Args:
        position: `(P, D)`, changed.
        velocity: `(P, D)`, changed.
        best: `(P, D)` personal best positions.
        leader: `(P, D)` or `(D,)` best positions of the neighbourhoods.
        fastest: `(D,)` highest speeds.
        numbers: `(P, 2, D)` uniform in `[0, 1)`: `r1` and `r2` of each particle.
        weights: inertia, cognitive and social (`w`, `c1`, `c2`).

    References: Clerc and Kennedy 2002, eq. 3 with the coefficients' usual names.
    """
    inertia, cognitive, social = weights
    pull = cognitive * (numbers[:, 0] * (best - position))
    push = social * (numbers[:, 1] * (leader - position))
    velocity.mul_(inertia).add_(pull).add_(push).clamp_(-fastest, fastest)
    position.add_(velocity)
