"""Test functions whose optimum is known, for checking that an optimizer optimizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gfopt.errors import ConfigError, expectation


@dataclass(frozen=True)
class TestFunction:
    """A function `(..., D) -> (...)` whose minimum is known for every `D`.

    Attributes:
        name: its name in the registry.
        f: the function.
        bounds: lowest and highest coordinate of the usual search box.
        argmin: each coordinate of the point where it is lowest.
        minimum: the value there.
        source: where it comes from.
        least_dim: smallest `D` that it is defined for.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever its name says

    name: str
    f: Callable[[Tensor], Tensor]
    bounds: tuple[float, float]
    argmin: float
    minimum: float
    source: str
    least_dim: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """`(...)` values of points `(..., D)`.

        Raises:
            ConfigError: if `D` is too small.
        """
        self.check_dim(x.shape[-1])
        return self.f(x)

    def optimum(self, dim: int) -> Tensor:
        """`(D,)` float64 point where the function is lowest."""
        return torch.full((dim,), self.argmin, dtype=torch.float64)

    def check_dim(self, dim: int) -> None:
        """Refuse a number of coordinates that the function is not defined for.

        Raises:
            ConfigError: with the smallest one.
        """
        if dim < self.least_dim:
            raise ConfigError(f"function {self.name}: dim: " + expectation(f"at least {self.least_dim}", dim))


def _sphere(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def _rosenbrock(x: Tensor) -> Tensor:
    head, tail = x[..., :-1], x[..., 1:]
    return (100 * (tail - head.square()).square() + (1 - head).square()).sum(-1)


def _rastrigin(x: Tensor) -> Tensor:
    # 10 - 10 cos(2 pi x) = 20 sin^2(pi x), which keeps its digits near the optimum.
    return (x.square() + 20 * torch.sin(math.pi * x).square()).sum(-1)


def _ackley(x: Tensor) -> Tensor:
    # vector_norm has the subgradient 0 at 0, where the root of a mean of squares would give NaN.
    distance = torch.linalg.vector_norm(x, dim=-1) / math.sqrt(x.shape[-1])
    ripple = -2 * torch.sin(math.pi * x).square().mean(-1)  # mean of cos(2 pi x) - 1
    # 20 + e - 20 exp(-0.2 r) - exp(c), written so that it keeps its digits near the optimum.
    return -20 * torch.expm1(-0.2 * distance) - math.e * torch.expm1(ripple)


sphere = TestFunction(
    name="sphere",
    f=_sphere,
    bounds=(-5.12, 5.12),
    argmin=0.0,
    minimum=0.0,
    source="De Jong 1975, An analysis of the behavior of a class of genetic adaptive systems, F1",
)
rosenbrock = TestFunction(
    name="rosenbrock",
    f=_rosenbrock,
    bounds=(-2.048, 2.048),
    argmin=1.0,
    minimum=0.0,
    source="Rosenbrock 1960, The Computer Journal 3(3); box of De Jong 1975, F2; a sum for D > 2",
    least_dim=2,
)
rastrigin = TestFunction(
    name="rastrigin",
    f=_rastrigin,
    bounds=(-5.12, 5.12),
    argmin=0.0,
    minimum=0.0,
    source="Mühlenbein, Schomisch & Born 1991, Parallel Computing 17(6-7), F6",
)
ackley = TestFunction(
    name="ackley",
    f=_ackley,
    bounds=(-32.768, 32.768),
    argmin=0.0,
    minimum=0.0,
    source="Ackley 1987, A connectionist machine for genetic hillclimbing; for any D: Bäck 1996",
)
