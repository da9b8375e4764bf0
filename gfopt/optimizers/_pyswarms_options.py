"""Options of the swarms."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gfopt.errors import expectation
from gfopt.optimizers.base import Options
from gfopt.optimizers.space import Integer, Real, Space

Schedule = Literal["constant", "exp_decay", "lin_variation", "nonlin_mod"]
DECAY = 0.2  # `d1` of pyswarms' `exp_decay`: how far the start has to be above the end for a pull to remain one

COEFFICIENTS: Space = {
    "particles": Integer(16, 128, log=True),
    "inertia": Real(0.4, 0.9),
    "cognitive": Real(0.5, 2.5),
    "social": Real(0.5, 2.5),
}
# A topology's own option takes the place of a coefficient, so that no swarm has more to tune than another.
MOTION: Space = {**COEFFICIENTS, "velocity_clamp": Real(0.1, 3.0, log=True)}
NEIGHBOURS: Space = {name: MOTION[name] for name in ("particles", "inertia", "social", "velocity_clamp")}


class Coefficients(Options):
    """What every swarm has.

    Attributes:
        particles: size of the swarm.
        inertia: share of the velocity that is kept (`w`); at the start, if it has a schedule.
        cognitive: pull towards a particle's own best position (`c1`); at the start, if it has a schedule.
        social: pull towards the best position of its neighbourhood (`c2`); at the start, if it has a schedule.
        inertia_schedule: how `inertia` changes with the share `t` of the budget that is spent. From the start `a`
            to the end `b`: `lin_variation` is `b + (a - b) (1 - t)`, `nonlin_mod` `b + (a - b) (1 - t)^1.2`.
            `exp_decay` is `(a - b - 0.2) exp(1 / (1 + 7 t))`, which only falls: from 0.9 and 0.4 it makes 0.82 to 0.34.
        inertia_end: where its schedule ends; 0.4 is pyswarms'.
        cognitive_schedule: of `cognitive`, as that of `inertia`.
        cognitive_end: where its schedule ends; `None` is pyswarms': 0.8 of its start.
        social_schedule: of `social`, as that of `inertia`.
        social_end: where its schedule ends; `None` is pyswarms': its start, so that nothing changes.

    The defaults of `inertia`, `cognitive` and `social` are the constriction coefficients of Clerc and Kennedy 2002.
    pyswarms' fourth schedule, `random`, cannot be used from its own `optimize()` (KeyError) and is not offered.

    References: exp_decay: Li and Gao 2009, with its `d1 = 0.2` and `d2 = 7`; lin_variation: Shi and Eberhart 1999;
        nonlin_mod: Chatterjee and Siarry 2006, with `n = 1.2`.
    """

    particles: int = Field(32, ge=2)
    inertia: float = Field(0.729, ge=0, lt=1)
    cognitive: float = Field(1.494, ge=0)
    social: float = Field(1.494, ge=0)
    inertia_schedule: Schedule = "constant"
    inertia_end: float = Field(0.4, ge=0, lt=1)
    cognitive_schedule: Schedule = "constant"
    cognitive_end: float | None = Field(None, ge=0)
    social_schedule: Schedule = "constant"
    social_end: float | None = Field(None, ge=0)

    def ends(self) -> dict[str, float]:
        """Where the schedules end, by the names of the coefficients."""
        own = 0.8 * self.cognitive if self.cognitive_end is None else self.cognitive_end
        leader = self.social if self.social_end is None else self.social_end
        return {"inertia": self.inertia_end, "cognitive": own, "social": leader}

    @model_validator(mode="after")
    def _no_negative_pull(self) -> Coefficients:
        for name, end in self.ends().items():
            start = getattr(self, name)
            if getattr(self, f"{name}_schedule") == "exp_decay" and start < end + DECAY:
                fix = f"Lower `{name}_end`: below that the formula is negative."
                raise ValueError(f"{name}: " + expectation(f"at least its end + {DECAY}, {end + DECAY:g}", start, fix))
        return self


class SwarmOptions(Coefficients):
    """Options of the swarms in a continuous space.

    Attributes:
        velocity_clamp: highest speed of a gene in units of its scale; the first velocities are uniform in
            that range. `None` is pyswarms' own default: no limit, and first velocities uniform in `[0, 1)`.
        bounds_radius: half width of the box of admissible positions, in units of scale, around the mean of
            the start rows; `None`: no box beside the problem's own bounds.
        boundary: what happens to a gene that leaves the box: `nearest` puts it on the border, `reflective`
            mirrors it, `periodic` lets it come in on the other side, `intermediate` puts it half way between where
            it was and the border, `random` anywhere in the box.
        velocity_boundary: what happens to the velocity of a gene that leaves the box: `unmodified` keeps it,
            `invert` turns it round and halves it, `zero` stops it.
        project_neutral: keep the rows of weights in front of a normalization, whose length changes no output, at
            the length of the initialization: after every move positions are brought back to it, and velocities
            lose the part that only changes it. The best positions are copies of such positions. Choose a smaller
            `velocity_clamp`: no growth anneals the steps (see `gfopt.optimizers.neutral`). The box prevails.

    Where these differ from pyswarms, and what is not offered, is said in `gfopt.optimizers._pyswarms_walls`.
    """

    velocity_clamp: float | None = Field(1.0, gt=0)
    bounds_radius: float | None = Field(None, gt=0)
    boundary: Literal["nearest", "reflective", "periodic", "intermediate", "random"] = "nearest"
    velocity_boundary: Literal["unmodified", "invert", "zero"] = "unmodified"
    project_neutral: bool = False


class NearestOptions(Coefficients):
    """Options of a neighbourhood of the nearest.

    Attributes:
        neighbors: how many of the nearest particles, itself among them, a particle follows (`k`); `None` is a
            quarter of the swarm, at least 2.
        norm: 1 for the sum of absolute differences as the distance, 2 for the Euclidean one (`p`).
    """

    neighbors: int | None = Field(None, ge=1)
    norm: Literal[1, 2] = 2

    def ring(self) -> dict[str, Any]:
        """Arguments of pyswarms' ring: how many neighbours by which distance."""
        return {"k": self.neighbors or max(2, self.particles // 4), "p": self.norm}

    @model_validator(mode="after")
    def _enough_particles(self) -> NearestOptions:
        if self.neighbors is not None and self.neighbors > self.particles:
            limit = f"at most the number of particles, {self.particles}"
            raise ValueError("neighbors: " + expectation(limit, self.neighbors))
        return self


class LocalBestOptions(NearestOptions, SwarmOptions):
    """Options of `pyswarms-lbest`: those of a swarm and those of its neighbourhood."""


class VonNeumannOptions(SwarmOptions):
    """Options of `pyswarms-von-neumann`.

    Attributes:
        range: how many steps away on the lattice a neighbour may be (`r`).
        norm: 1 for the sum of absolute differences as the distance, 2 for the Euclidean one (`p`).
        lattice: dimensions of the lattice, 2 as in the literature; `None` is pyswarms': those of the search space,
            where from `2 D + 1` particles down everybody is everybody's neighbour.
    """

    range: int = Field(1, ge=1)
    norm: Literal[1, 2] = 2
    lattice: int | None = Field(2, ge=1)


class RandomOptions(SwarmOptions):
    """Options of `pyswarms-random`.

    Attributes:
        neighbors: how many others each particle names at random (`k`), at most all of them; it follows them, those
            who named it, and itself. `None` is a quarter of the swarm, at least 1.
        static: draw the neighbours once, not before every move.
    """

    neighbors: int | None = Field(None, ge=1)
    static: bool = False

    @model_validator(mode="after")
    def _enough_particles(self) -> RandomOptions:
        if self.neighbors is not None and self.neighbors >= self.particles:
            limit = f"at most the number of other particles, {self.particles - 1}"
            raise ValueError("neighbors: " + expectation(limit, self.neighbors))
        return self


class PyramidOptions(SwarmOptions):
    """Options of `pyswarms-pyramid`.

    Attributes:
        dimensions: of the random projection in which the swarm is triangulated, if the search space has more; the
            number of simplices grows exponentially with it.
        static: triangulate once, not before every move.
    """

    dimensions: int = Field(3, ge=1, le=5)
    static: bool = False


class BinaryOptions(NearestOptions):
    """Options of `pyswarms-binary`.

    Attributes:
        inertia: share of the velocity that is kept (`w`); at the start, if it has a schedule. A bit's velocity is what
            the swarm has learned about it, so all of it is kept.
        velocity_clamp: highest speed of a bit; its sigmoid is how likely a bit is 1 at least and at most. The first
            velocities are uniform in that range. `None` is pyswarms' own default: no limit, and first velocities
            uniform in `[0, 1)`.
        shared_draw: one random number a gene decides for all particles, as in pyswarms; otherwise each particle draws
            its own.

    The defaults of `inertia` and `velocity_clamp` are those of Kennedy and Eberhart 1997: no bit is fixed by more than
    99.75 %.
    """

    inertia: float = Field(1.0, ge=0, le=1)
    velocity_clamp: float | None = Field(6.0, gt=0)
    shared_draw: bool = True
