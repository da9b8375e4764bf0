"""What a run asks of a problem at a step, and what it is answered: plain values, so that runs can ask together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfopt.errors import ShapeError
from gfopt.types import Evaluation

if TYPE_CHECKING:
    from gfopt.problems.base import Problem


@dataclass(frozen=True)
class Request:
    """What is to be evaluated: the arguments of `Problem.evaluate`.

    Attributes:
        population: `(P, D)`, at least one row.
        step: number of the minibatch.
        seed: of the minibatches' stream.
        gradient: whether gradients are asked for.
    """

    population: Tensor
    step: int = 0
    seed: int = 0
    gradient: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        evaluation: non-finite losses are `+inf` and their gradient rows 0.
        nonfinite: how many there were.
        seconds: of the evaluation.
    """

    evaluation: Evaluation
    nonfinite: int
    seconds: float


def answer(problem: Problem, request: Request) -> Answer:
    """Evaluate one request by itself."""
    before = time.perf_counter()
    evaluation = problem.evaluate(request.population, request.step, seed=request.seed, gradient=request.gradient)
    evaluation, nonfinite = sanitized(evaluation, len(request.population))
    synchronize(request.population)
    return Answer(evaluation, nonfinite, time.perf_counter() - before)


def in_parts(requests: Sequence[Request], most: int) -> Iterator[list[int]]:
    """The places of requests that are computed as one, with gradients and without apart.

    Args:
        requests: in any order.
        most: rows in a part, unless it is a single request.
    """
    for gradient in (False, True):
        part: list[int] = []
        rows = 0
        for place, request in enumerate(requests):
            if request.gradient is not gradient:
                continue
            rows += len(request.population)
            if part and rows > most:
                yield part
                part, rows = [], len(request.population)
            part.append(place)
        if part:
            yield part


def synchronize(population: Tensor) -> None:
    """Wait until what was started on the population's device is done, so that it is on the clock."""
    if population.is_cuda:
        torch.cuda.synchronize(population.device)


def sanitized(evaluation: Evaluation, rows: int) -> tuple[Evaluation, int]:
    """Non-finite losses as `+inf` with gradient rows of 0, and how many there were."""
    if evaluation.loss.shape != (rows,):
        raise ShapeError(f"loss: expected shape ({rows},), got {tuple(evaluation.loss.shape)}")
    good = torch.isfinite(evaluation.loss)
    gradient = evaluation.gradient
    if gradient is not None:
        good &= torch.isfinite(gradient).all(dim=1)
    failed = rows - int(good.sum())
    if not failed:
        return evaluation, 0
    loss = torch.where(good, evaluation.loss, torch.inf)
    if gradient is not None:
        gradient = torch.where(good[:, None], gradient, 0.0)
    return Evaluation(loss, gradient, evaluation.samples, evaluation.batch), failed
