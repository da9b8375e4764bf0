"""Many runs of one problem in lock step: what they ask for at a step is evaluated as one computation."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from gfopt.errors import ConfigError, ShapeError, expectation
from gfopt.loop import Course, Loop, Outcome, advance
from gfopt.problems.base import Problem
from gfopt.problems.requests import Answer, Request, answer, sanitized, synchronize
from gfopt.run import Call, Run
from gfopt.trace import Budget, Record
from gfopt.types import Evaluation


def minimize_many(
    problem: Problem,
    optimizer: str,
    *,
    budget: Budget | Mapping[str, float],
    seeds: Iterable[int],
    start: nn.Module | Tensor | Run | None = None,
    target: float | None = None,
    progress: Callable[[int, float, Record], None] | None = None,
    diagnostics: Iterable[str] = (),
    **options: Any,
) -> list[Run]:
    """Train `problem` once for each seed, all runs in lock step: what they evaluate at a step is one computation.

    Faster than one `minimize` after the other where a run alone is too small to keep the processor busy, as backprop
    on a small network. The runs are those that `minimize` gives for each seed: up to rounding where gradients are
    followed or single rows evaluated, else bit for bit. Only their seconds are shared (`Run.seconds_shared`).

    Args:
        problem: what is minimized.
        optimizer: a name of `gfopt.optimizers.names()`.
        budget: of each run, as in `minimize`, but not in seconds: shared ones would end a run elsewhere.
        seeds: one for each run, all different.
        start: where each run starts, as in `minimize`.
        target: where each run stops, as in `minimize`.
        diagnostics: what is measured along each run, as in `minimize`.
        progress: called at each logged point of a run with its seed, the share of its budget and the record.
        **options: the optimizer's options.

    Returns:
        The runs, in the order of their seeds.

    Raises:
        ConfigError, NotDifferentiableError: before anything starts.
        Exception: of the user's own network or loss: of the first seed that failed, once all others have ended.
    """
    numbers = _seeds(seeds)
    call = Call(problem, optimizer, budget, options, start=start, target=target, diagnostics=diagnostics)
    if call.budget.seconds is not None:
        got, fix = "`seconds`, which runs in lock step share", "Use forward_equivalents or evaluations."
        raise ConfigError("budget: " + expectation("units that each run spends by itself", got, fix))
    attempts = [call.attempt(seed, None if progress is None else partial(progress, seed)) for seed in numbers]
    ended = dict(run_together([attempt.loop for attempt in attempts]))
    runs = []
    for place, attempt in enumerate(attempts):
        outcome = ended[place]
        if isinstance(outcome, Exception):
            outcome.add_note(f"In the run of seed {numbers[place]}.")
            raise outcome
        runs.append(attempt.finished(outcome))
    return runs


def run_together(loops: Sequence[Loop]) -> Iterator[tuple[int, Outcome | Exception]]:
    """Train all to their ends; each one's number with its outcome, or its error, as soon as it has ended.

    Every run keeps its own optimizer, minibatches, ledger, incumbent, target and stop, and has the result that it has
    by itself (see `Problem.evaluate_together`). One that has ended, diverged or failed leaves the others to go on. The
    seconds of a joint evaluation are divided over the runs by the rows that they asked for, and each run's trace is
    marked with `seconds_shared`.

    A joint evaluation that raises is repeated run by run, which shows whose error it is: that run ends with it. Where
    none of them fails by itself, together they were too much (as for the memory): a `RuntimeWarning` says so, and they
    are evaluated one after the other from there on.

    Args:
        loops: of one problem, not started.

    Raises:
        ConfigError: if they train different problems.
    """
    if len({id(loop.problem) for loop in loops}) > 1:
        raise ConfigError("loops: " + expectation("runs of one problem", "`several problems`"))
    for loop in loops:
        loop.trace.seconds_shared = True
    evaluator = _Evaluator(loops[0].problem) if loops else None
    courses = {place: loop.course() for place, loop in enumerate(loops)}
    answers: dict[int, Answer | Exception | None] = dict.fromkeys(courses)
    while answers and evaluator is not None:
        requests: dict[int, Request] = {}
        for place, found in answers.items():
            reached = _reached(courses[place], found)
            if isinstance(reached, Request):
                requests[place] = reached
            else:
                courses.pop(place).close()
                yield place, reached
        answers = dict(evaluator.answers(requests))


def _reached(course: Course, found: Answer | Exception | None) -> Request | Outcome | Exception:
    """Where a run gets with the answer to its last request; an error is its end."""
    if isinstance(found, Exception):
        return found
    try:
        return advance(course, found)
    except Exception as error:  # noqa: BLE001 - of this run's optimizer, observer or score: the others go on
        return error


class _Evaluator:
    """Answers the requests of one step of many runs.

    Attributes:
        joint: whether they are evaluated together; not any more once that was too much.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.joint = True

    def answers(self, requests: dict[int, Request]) -> Iterator[tuple[int, Answer | Exception]]:
        """The answers, each with its run's number; gradients cost more, so they have a clock of their own."""
        for gradient in (False, True):
            alike = {place: request for place, request in requests.items() if request.gradient is gradient}
            if alike:
                found = self._joint(list(alike.values())) if self.joint else self._single(list(alike.values()))
                yield from zip(alike, found, strict=True)

    def _joint(self, requests: list[Request]) -> Sequence[Answer | Exception]:
        before = time.perf_counter()
        try:
            checked = self._checked(requests)
        except Exception as error:  # noqa: BLE001 - whatever a user's network or loss raises: whose it is, is asked now
            found = self._single(requests)
            if not any(isinstance(one, Exception) for one in found):
                self.joint = False
                why = f"together they fail: {type(error).__name__}: {error}"
                warnings.warn(f"runs are evaluated one after the other, because {why}", RuntimeWarning, stacklevel=2)
            return found
        synchronize(requests[0].population)
        seconds = time.perf_counter() - before
        rows = sum(len(request.population) for request in requests)
        shares = [seconds * len(request.population) / rows for request in requests]
        return [Answer(*one, share) for one, share in zip(checked, shares, strict=True)]

    def _checked(self, requests: list[Request]) -> list[tuple[Evaluation, int]]:
        """The joint evaluations, and how many rows of each were not finite."""
        found = self.problem.evaluate_together(requests)
        if len(found) != len(requests):
            wanted = f"{len(requests)} evaluations, one a request"
            raise ShapeError("evaluate_together: " + expectation(wanted, len(found)))
        return [sanitized(one, len(request.population)) for one, request in zip(found, requests, strict=True)]

    def _single(self, requests: list[Request]) -> list[Answer | Exception]:
        found: list[Answer | Exception] = []
        for request in requests:
            try:
                found.append(answer(self.problem, request))
            except Exception as error:  # noqa: BLE001 - whatever a user's network or loss raises is this run's end
                found.append(error)
        return found


def _seeds(seeds: Iterable[int]) -> list[int]:
    try:
        numbers = list(seeds)
    except TypeError:
        raise ConfigError("seeds: " + expectation("several whole numbers, as range(10)", seeds)) from None
    for seed in numbers:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ConfigError("seeds: " + expectation("whole numbers", seed))
    if not numbers or len(set(numbers)) < len(numbers):
        raise ConfigError("seeds: " + expectation("at least one, all different", numbers))
    return numbers
