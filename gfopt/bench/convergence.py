"""What every optimizer reaches from its name alone on functions with a known optimum, and what it is held to."""

from __future__ import annotations

from typing import Any

from gfopt import optimizers
from gfopt.problems import FunctionProblem
from gfopt.run import minimize
from gfopt.trace import Budget

DIM = 10
EVALUATIONS = 20_000
GRADIENT_STEPS = 3_000
# Losses to reach in 10 dimensions; guessing as often reaches about 4, 100 and 55.
GOALS = {"sphere": 1e-2, "rosenbrock": 10.0, "rastrigin": 30.0}
# Where an optimizer does not: the loss that it is held to instead, and why.
EXCEPTIONS: dict[tuple[str, str], tuple[float, str]] = {}


def goal(kind: str, function: str) -> float:
    """The loss that the optimizer `kind` is held to."""
    return EXCEPTIONS[kind, function][0] if (kind, function) in EXCEPTIONS else GOALS[function]


def reached(kind: str, function: str, seed: int = 0, **options: Any) -> float:
    """The loss that an optimizer reaches within the budget that all have; 0 is the optimum of every function.

    Args:
        kind: a name of `gfopt.optimizers.names()`.
        function: a name of `GOALS`.
        seed: of the start and of the optimizer's random numbers.
        **options: the optimizer's, if not its defaults.
    """
    needs_gradient = optimizers.optimizer_class(kind).needs_gradient
    budget = Budget(evaluations=GRADIENT_STEPS if needs_gradient else EVALUATIONS)
    problem = FunctionProblem.named(function, DIM, dtype="float64")
    return minimize(problem, kind, budget=budget, seed=seed, **options).best_loss
