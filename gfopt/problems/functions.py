"""A plain function as a problem: a user's own objective, or a test function with a known optimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gfopt import registry
from gfopt.engine.device import resolve_device, resolve_dtype
from gfopt.errors import ConfigError, NotDifferentiableError, ShapeError, expectation
from gfopt.problems.base import Cost, Problem
from gfopt.problems.benchmark_functions import TestFunction, ackley, rastrigin, rosenbrock, sphere
from gfopt.problems.objective import Objective, ObjectiveFunction
from gfopt.rng import generator
from gfopt.types import Evaluation, Group

__all__ = ["FunctionProblem", "TestFunction", "ackley", "rastrigin", "rosenbrock", "sphere"]

Bound: TypeAlias = "float | Sequence[float] | np.ndarray | Tensor"


class FunctionProblem(Problem):
    """Minimize a function of `D` numbers.

    It has no data, so no batches and no held-out splits: a member's evaluation counts as one sample, and a
    forward-equivalent is an evaluation. A gradient counts as a backward sample, but as no forward-equivalent.

    Args:
        f: maps a tensor `(P, D)` to `(P,)` values, or a numpy array; `Objective` says how that is told apart.
            A `TestFunction` brings its bounds and optimum.
        dim: `D`.
        bounds: lowest and highest, each one number or `D` numbers. Members start uniformly between them and
            optimizers may use them; an evaluation outside is not refused. Without them members start from the
            standard normal distribution.
        vectorized: `False` if `f` takes one point `(D,)` and returns one number.
        name: used in messages; the function's own by default.
        differentiable: `True` insists on a gradient, `False` uses none, `None` finds out, by calling `f` on
            random rows once or twice.
        optimum: the lowest possible value, where it is known.
        dtype: `float32` or `float64`.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: if `dim` or `bounds` make no sense, or a gradient is insisted on and missing.
        ShapeError: if `f` returns another shape.
    """

    def __init__(
        self,
        f: ObjectiveFunction | TestFunction,
        dim: int,
        bounds: tuple[Bound, Bound] | None = None,
        vectorized: bool = True,
        *,
        name: str | None = None,
        differentiable: bool | None = None,
        optimum: float | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if not callable(f):
            raise ConfigError("f: " + expectation("a function", f))
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise ConfigError("dim: " + expectation("a whole number of at least 1", dim))
        if isinstance(f, TestFunction):
            f.check_dim(dim)
            bounds = f.bounds if bounds is None else bounds
            optimum = f.minimum if optimum is None else optimum
        self.name = _name(f) if name is None else name
        self.dim = dim
        self.optimum = optimum
        self.device, self.dtype = resolve_device(device), resolve_dtype(dtype)
        self._box = None if bounds is None else _box(bounds, dim)
        self.bounds = None if self._box is None else (self._tensor(self._box[0]), self._tensor(self._box[1]))
        # A uniform variable's standard deviation is its range over the root of 12.
        spread = np.ones(dim) if self._box is None else (self._box[1] - self._box[0]) / math.sqrt(12)
        self.scale = self._tensor(spread)
        self.groups = (Group("x", slice(0, dim), (dim,)),)
        self.cost = Cost(forward_flops=0.0, backward_flops=0.0, backward_equivalents=0.0)
        rows = self.initial(3 if dim == 2 else 2, 0)
        self._objective = Objective(f, self.name, vectorized=vectorized, differentiable=differentiable, rows=rows)
        self.differentiable = self._objective.differentiable

    @classmethod
    def named(cls, name: str, dim: int, **options: Any) -> Self:
        """The registered test function of that name as a problem, in its own bounds unless others are given.

        Args:
            name: `sphere`, `rosenbrock`, `rastrigin`, `ackley`, or one of another package.
            dim: `D`.
            **options: as the constructor's.

        Raises:
            ConfigError: for an unknown name, with the nearest known one.
        """
        return cls(registry.functions.get(name), dim, **options)

    def initial(self, count: int, seed: int) -> Tensor:
        """`(count, D)` points, uniform in the bounds, or standard normal without."""
        # Drawn row by row from one stream, so that fewer rows are the first ones of more.
        stream = generator("function", seed)
        if self._box is None:
            return self._tensor(stream.standard_normal((count, self.dim)))
        low, high = self._box
        return self._tensor(low + (high - low) * stream.random((count, self.dim)))

    def evaluate(self, population: Tensor, step: int = 0, *, seed: int = 0, gradient: bool = False) -> Evaluation:
        """The function's values at `(P, D)` points, and its gradients; the same at every step.

        Raises:
            ShapeError: if `population` is not `(P, D)`, or the function returns another shape than `(P,)`.
            NotDifferentiableError: if a gradient is asked of a function that has none.
        """
        del step, seed
        if population.ndim != 2 or population.shape[1] != self.dim:
            raise ShapeError(f"population: expected shape (P, {self.dim}), got {tuple(population.shape)}")
        rows = population.detach().to(self.device, self.dtype)
        if not gradient:
            return Evaluation(self._objective.values(rows), None, samples=1, batch=0)
        if not self.differentiable:
            raise NotDifferentiableError(self.why_no_gradient())
        values, gradients = self._objective.values_and_gradients(rows)
        return Evaluation(values, gradients, samples=1, batch=0)

    def score(self, parameters: Tensor, split: str = "test") -> dict[str, float]:
        """Nothing: a function has no held-out data."""
        del parameters, split
        return {}

    def why_no_gradient(self) -> str:
        """What to do about a missing gradient; empty if there is one."""
        if self.differentiable:
            return ""
        return f"the function {self.name} has none. Write it with torch operations, or train gradient-free"

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)


def _name(f: object) -> str:
    inner = getattr(f, "func", f)  # functools.partial
    name = getattr(inner, "__name__", None) or getattr(inner, "name", None) or type(inner).__name__
    return str(name).strip("<>")


def _box(bounds: tuple[Bound, Bound], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """`(D,)` lowest and highest values."""
    wanted = f"(low, high), each one number or {dim} numbers, with low < high"
    try:
        low, high = (np.array(np.broadcast_to(np.asarray(b, dtype=np.float64), (dim,))) for b in bounds)
    except (TypeError, ValueError) as error:
        raise ConfigError("bounds: " + expectation(wanted, bounds)) from error
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ConfigError("bounds: " + expectation(f"{wanted}, all finite", bounds))
    return low, high
