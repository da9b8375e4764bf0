"""A problem as a tuning sees it: the same training, validation data, and no test data at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gfopt.errors import ConfigError, expectation
from gfopt.problems import SubspaceProblem, SupervisedProblem
from gfopt.problems.base import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from gfopt.problems.requests import Request
    from gfopt.types import Evaluation

# What a task is judged by, the first one that is there; of two equal ones the lower validation loss is better.
_OF_TASK = ("accuracy", "rmse", "r2")
_HIGHER = ("accuracy", "r2")
_WORST = {"accuracy": 0.0, "r2": float("-inf")}


class ValidationView(Problem):
    """The problem, with the test split out of reach.

    Args:
        problem: what is trained.

    Raises:
        ConfigError: if it has data of which none is for validation.
    """

    def __init__(self, problem: Problem) -> None:
        check_validation(problem)
        self.problem = problem
        self.dim, self.scale, self.bounds = problem.dim, problem.scale, problem.bounds
        self.groups, self.differentiable, self.cost = problem.groups, problem.differentiable, problem.cost

    @property
    def splits(self) -> tuple[str, ...]:
        """`validation` alone, or nothing where there are no data."""
        return tuple(split for split in self.problem.splits if split == "validation")

    @property
    def judged_by(self) -> str:
        """As of the problem."""
        return self.problem.judged_by

    def score(self, parameters: Tensor, split: str = "validation") -> dict[str, float]:
        """Metrics of one `(D,)` vector on `train` or `validation`.

        Raises:
            ConfigError: for the test split.
        """
        if split == "test":
            raise ConfigError("split: " + expectation("validation data, which tuning chooses on", split))
        return self.problem.score(parameters, split)

    def initial(self, count: int, seed: int) -> Tensor:
        """As of the problem."""
        return self.problem.initial(count, seed)

    def evaluate(self, population: Tensor, step: int = 0, *, seed: int = 0, gradient: bool = False) -> Evaluation:
        """As of the problem."""
        return self.problem.evaluate(population, step, seed=seed, gradient=gradient)

    def evaluate_together(self, requests: Sequence[Request]) -> list[Evaluation]:
        """As of the problem."""
        return self.problem.evaluate_together(requests)

    def batch(self, step: int) -> int:
        """As of the problem."""
        return self.problem.batch(step)

    def ready(self, *, gradient: bool = False) -> None:
        """As of the problem."""
        self.problem.ready(gradient=gradient)

    def probe(self, population: Tensor) -> Evaluation:
        """As of the problem."""
        return self.problem.probe(population)

    def why_no_gradient(self) -> str:
        """As of the problem."""
        return self.problem.why_no_gradient()


def check_validation(problem: Problem) -> None:
    """Refuse data of which none is held out for validation.

    Raises:
        ConfigError: saying how to hold some out.
    """
    inner = problem
    while isinstance(inner, SubspaceProblem):
        inner = inner.problem
    if "validation" in problem.splits or not (problem.splits or isinstance(inner, SupervisedProblem)):
        return
    fix = "Give the data set some, as {name: digits, validation_fraction: 0.1}."
    raise ConfigError(expectation("validation data, which tuning chooses on", "`none`", fix))


def metric_of(problem: Problem, scores: Sequence[str]) -> str:
    """The name of what tuning goes by: the task's metric or the loss on validation data, the loss without data.

    Args:
        problem: what is trained.
        scores: names of its validation scores, as `accuracy`.
    """
    if "validation" not in problem.splits:
        return "loss"
    of_task = [name for name in _OF_TASK if name in scores] if problem.judged_by == "task" else []
    return f"validation_{of_task[0] if of_task else 'loss'}"


def higher_is_better(metric: str) -> bool:
    """Whether the metric is a score, and no loss or error."""
    return metric.removeprefix("validation_") in _HIGHER


def worst(metric: str) -> float:
    """What a diverged run counts as."""
    return _WORST.get(metric.removeprefix("validation_"), float("inf"))
