"""Options of the swarms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gfopt.errors import expectation
from gfopt.optimizers.base import Options


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
