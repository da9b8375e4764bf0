"""A problem seen through a few directions: dimension limits genetic algorithms and particle swarms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from gfopt.errors import ConfigError, ShapeError, expectation
from gfopt.problems.base import Problem
from gfopt.problems.projection import DenseProjection, HashedProjection, Projection, unit_scale
from gfopt.rng import generator
from gfopt.types import Evaluation, Group

DENSE_ENTRIES = 2**24  # 64 MiB in float32; beyond, one number a parameter

ProjectionKind: TypeAlias = Literal["auto", "dense", "hashed"]


class SubspaceProblem(Problem):
    """Train `d` numbers `z` that move all `D` parameters of another problem along `d` fixed directions.

    `theta = origin + scale * (A z)`, where the columns of `A` `(D, d)` are random and of length 1. A gene of
    `z` has the standard deviation `sqrt(D / d)`: then `A z` has variance 1 in every parameter on average, and
    a parameter moves as far as its own initialization would. Gradients follow the chain rule,
    `A^T (scale * g)`.

    Up to `D d = 2**24` entries `A` is dense and normal, as in the paper. Beyond, its memory is bounded: every
    parameter follows one of the directions only, with a random sign (`HashedProjection`). What the projection
    costs is not charged.

    Bounds of the other problem are not carried over: a box of parameters is no box of `z`.

    Args:
        problem: the problem to see through the subspace.
        dim: `d`, at most its `D`.
        seed: of the directions and of the origin, `problem.initial(1, seed)`. Both belong to the subspace:
            members and repeats share them.
        spread: standard deviation of the members' starts, relative to `scale`. With 1/2 the parameters of a
            member vary 12 % more than those of the network's own initialization.
        origin: `(D,)` parameters for `z = 0` instead, for example of a trained network.
        projection: `dense`, `hashed`, or `auto` for the choice above.

    References:
        Li, Farkhoor, Liu & Yosinski 2018, arXiv:1804.08838, eq. 2: measuring the intrinsic dimension.

    Raises:
        ConfigError: if `dim` is larger than the problem's own, or an option makes no sense.
        ShapeError: if `origin` is not `(D,)`.
    """

    def __init__(
        self,
        problem: Problem,
        dim: int,
        seed: int = 0,
        *,
        spread: float = 0.5,
        origin: Tensor | None = None,
        projection: ProjectionKind = "auto",
    ) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= problem.dim:
            raise ConfigError("dim: " + expectation(f"a whole number between 1 and {problem.dim}", dim))
        if not 0 <= spread < math.inf:
            raise ConfigError("spread: " + expectation("a number of at least 0", spread))
        self.problem = problem
        self.dim = dim
        self.seed = seed
        self.spread = spread
        self.origin = problem.initial(1, seed)[0] if origin is None else origin.detach().to(problem.scale)
        if self.origin.shape != (problem.dim,):
            raise ShapeError(f"origin: expected shape ({problem.dim},), got {tuple(self.origin.shape)}")
        self._projection = _projection(projection, problem, dim, seed)
        self.scale = torch.full_like(problem.scale[:dim], unit_scale(problem.dim, dim))
        self.bounds = None
        self.groups = (Group("z", slice(0, dim), (dim,)),)
        self.differentiable = problem.differentiable
        self.cost = problem.cost

    @property
    def splits(self) -> tuple[str, ...]:
        """The other problem's held-out splits."""
        return self.problem.splits

    @property
    def judged_by(self) -> str:
        """What the other problem is judged by."""
        return self.problem.judged_by

    def expand(self, z: Tensor) -> Tensor:
        """`(..., D)` parameters of the other problem at `(..., d)` points of the subspace.

        Raises:
            ShapeError: if the last dimension is not `d`.
        """
        if z.ndim == 0 or z.shape[-1] != self.dim:
            raise ShapeError(f"z: expected shape (..., {self.dim}), got {tuple(z.shape)}")
        return self.origin + self.problem.scale * self._projection.forward(z.to(self.origin))

    def initial(self, count: int, seed: int) -> Tensor:
        """`(count, d)`: the origin itself as member 0, the others normal around it."""
        # Drawn row by row from one stream, so that fewer rows are the first ones of more.
        z = torch.from_numpy(generator("subspace", seed).standard_normal((count, self.dim))).to(self.scale)
        z[:1] = 0.0
        return self.spread * self.scale * z

    def evaluate(self, population: Tensor, step: int = 0, *, seed: int = 0, gradient: bool = False) -> Evaluation:
        """The other problem's losses at `(P, d)` points, and their gradients with respect to `z`.

        Raises:
            ShapeError: if `population` is not `(P, d)`.
            NotDifferentiableError: if a gradient is asked and the other problem has none.
        """
        evaluation = self.problem.evaluate(self._members(population), step, seed=seed, gradient=gradient)
        if evaluation.gradient is None:
            return evaluation
        pulled_back = self._projection.transposed(self.problem.scale * evaluation.gradient)
        return replace(evaluation, gradient=pulled_back)

    def probe(self, population: Tensor) -> Evaluation:
        """The other problem's reported losses at `(P, d)` points.

        Raises:
            ShapeError: if `population` is not `(P, d)`.
        """
        return self.problem.probe(self._members(population))

    def ready(self, *, gradient: bool = False) -> None:  # noqa: D102 - as in the contract
        self.problem.ready(gradient=gradient)

    def batch(self, step: int) -> int:
        """As of the other problem."""
        return self.problem.batch(step)

    def score(self, parameters: Tensor, split: str = "test") -> dict[str, float]:
        """The other problem's metrics at one `(d,)` point."""
        return self.problem.score(self.expand(parameters), split)

    def why_no_gradient(self) -> str:
        """As of the other problem."""
        return self.problem.why_no_gradient()

    def _members(self, population: Tensor) -> Tensor:
        if population.ndim != 2:
            raise ShapeError(f"population: expected shape (P, {self.dim}), got {tuple(population.shape)}")
        return self.expand(population)


def _projection(kind: ProjectionKind, problem: Problem, dim: int, seed: int) -> Projection:
    if kind not in get_args(ProjectionKind):
        raise ConfigError("projection: " + expectation(f"one of {', '.join(get_args(ProjectionKind))}", kind))
    dense = problem.dim * dim <= DENSE_ENTRIES if kind == "auto" else kind == "dense"
    made = DenseProjection if dense else HashedProjection
    return made(problem.dim, dim, seed, problem.scale)
