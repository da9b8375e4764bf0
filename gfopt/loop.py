"""The only training loop: it counts cost, tracks the incumbent, logs, and stops."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gfopt.errors import ConfigError, NotDifferentiableError, expectation
from gfopt.optimizers.base import Optimizer
from gfopt.problems.base import Problem
from gfopt.problems.requests import Answer, Request, answer
from gfopt.trace import Budget, Ledger, Record, Status, StopReason, Trace
from gfopt.types import Evaluation, Observation, Observer

LOG_POINTS = 60  # evenly spaced in log cost
FIRST_LOG = 1e-4  # share of the budget at the first of them
STALL_LIMIT = 100  # empty asks in a row that end a run
Progress = Callable[[float, Record], None]


@dataclass
class Outcome:
    """What the loop hands back: the logged points and the incumbent `(D,)`, on the CPU."""

    trace: Trace
    best: np.ndarray


Course: TypeAlias = Generator[Request, Answer | None, Outcome]


class Loop:
    """Trains one problem with one optimizer until the budget is used up.

    A loss on a minibatch ranks candidates inside a generation only. At log points the lowest-loss member of the last
    batch meets the incumbent on the problem's fixed probe rows, and the lower one stays. While the batch stays the
    same (a full batch), losses of different steps compare, and the lowest of them all is the one that meets it.

    Args:
        problem: what is minimized.
        optimizer: what minimizes it.
        start: `(P, D)` the rows that the optimizer started from; row 0 is the first incumbent.
        budget: when to stop; the step that crosses it is completed and charged.
        seed: the stream of the minibatches.
        target: stop once the incumbent's loss on the probe rows is as low.
        progress: called at each log point with the share of the budget that is spent.
        observer: shown every step.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: Optimizer,
        start: Tensor,
        budget: Budget,
        *,
        seed: int = 0,
        target: float | None = None,
        progress: Progress | None = None,
        observer: Observer | None = None,
    ) -> None:
        check_gradient(problem, optimizer)
        self.problem, self.optimizer, self.budget = problem, optimizer, budget
        self.seed, self.target, self.progress, self.observer = seed, target, progress, observer
        self.ledger = Ledger()
        self.trace = Trace()
        self.incumbent = start[0].clone()
        self.loss = math.inf
        self._candidate: Tensor | None = None
        self._candidate_loss = math.inf
        self._candidate_batch: int | None = None
        self._batch_loss = math.nan
        self._scores: dict[str, float] = {}
        self._next_log = 0

    def run(self) -> Outcome:
        """Train to the end; errors of the user's own network or loss pass through."""
        course = self.course()
        reached = advance(course)
        while isinstance(reached, Request):
            reached = advance(course, answer(self.problem, reached))
        return reached

    def course(self) -> Course:
        """The run as a coroutine: it hands out what is to be evaluated and is sent the answer, up to its outcome.

        Whoever drives it decides what else is evaluated at the same time; nothing else of the run depends on that.
        """
        self._meet(self.incumbent)
        self._log()
        step, stalled = 0, 0
        reason = self._ended(stalled)
        while reason is None and self.trace.status is Status.OK:
            population, evaluation = yield from self._step(step)
            stalled = 0 if len(population) else stalled + 1
            if self._hopeless(len(population)):
                self.trace.status = Status.DIVERGED
                self.trace.message = f"every loss of step {self.ledger.steps} was NaN or infinite"
            if logged := self._is_due():
                self._judge()
                self._log()
            reason = self._ended(stalled)
            last = reason is not None or self.trace.status is not Status.OK
            if last and not logged:
                self._judge()
                self._log()
            if self.observer is not None:
                now = self.incumbent, self.ledger, self.budget.progress(self.ledger), logged or last, last
                self.observer.observe(Observation(population, evaluation, step, self.seed, *now))
            if not self.optimizer.hold_batch:
                step += 1
        if self.trace.status is Status.OK:
            self.trace.stop_reason = reason
        if not math.isfinite(self.loss) and self.trace.status is Status.OK:
            self.trace.status = Status.DIVERGED
            self.trace.message = "no finite loss was ever found"
        return Outcome(self.trace, self.incumbent.detach().cpu().numpy().copy())

    def _step(self, step: int) -> Generator[Request, Answer | None, tuple[Tensor, Evaluation]]:
        """One ask, evaluate, tell; the rows that were evaluated, and their losses."""
        problem, optimizer = self.problem, self.optimizer
        before = time.perf_counter()
        gradient = optimizer.wants_gradient
        population = optimizer.ask(problem.batch(step))
        asking = time.perf_counter() - before
        if len(population) == 0:
            self._charge_time(asking, 0.0, 0.0)
            self.ledger.steps += 1
            return population, Evaluation(population.new_empty(0), None, 0, problem.batch(step))
        found = yield Request(population, step, self.seed, gradient)
        assert found is not None  # only to begin with, nothing is sent
        evaluation = found.evaluation
        before = time.perf_counter()
        optimizer.tell(population, evaluation)
        self._charge_time(asking, found.seconds, time.perf_counter() - before)
        self._charge(len(population), evaluation, gradient)
        self.ledger.nonfinite += found.nonfinite
        self._remember(population, evaluation)
        return population, evaluation

    def _charge(self, rows: int, evaluation: Evaluation, gradient: bool) -> None:
        cost, ledger = self.problem.cost, self.ledger
        samples = rows * evaluation.samples
        ledger.steps += 1
        ledger.evaluations += rows
        ledger.forward_samples += samples
        ledger.flops += samples * cost.forward_flops
        ledger.forward_equivalents += samples
        if gradient:
            ledger.backward_samples += samples
            ledger.flops += samples * cost.backward_flops
            ledger.forward_equivalents += samples * cost.backward_equivalents

    def _charge_time(self, ask: float, evaluate: float, tell: float) -> None:
        ledger = self.ledger
        ledger.ask_seconds += ask
        ledger.evaluate_seconds += evaluate
        ledger.tell_seconds += tell
        ledger.seconds = ledger.ask_seconds + ledger.evaluate_seconds + ledger.tell_seconds

    def _remember(self, population: Tensor, evaluation: Evaluation) -> None:
        """Keep the lowest-loss row of the current batch; rows of another batch do not compare with it."""
        lowest = int(evaluation.loss.argmin())
        self._batch_loss = float(evaluation.loss[lowest])
        if evaluation.batch != self._candidate_batch:
            self._candidate_batch, self._candidate, self._candidate_loss = evaluation.batch, None, math.inf
        if self._batch_loss < self._candidate_loss:
            self._candidate, self._candidate_loss = population[lowest].clone(), self._batch_loss

    def _judge(self) -> None:
        if self._candidate is not None:
            self._meet(self._candidate)
            self._candidate = None  # met once; a later one of the same batch must be lower still

    def _meet(self, challenger: Tensor) -> None:
        """The challenger replaces the incumbent if its loss on the probe rows is lower."""
        evaluation = self.problem.probe(challenger.reshape(1, -1))
        self.ledger.probe_samples += evaluation.samples
        loss = float(evaluation.loss[0])
        first = not self.trace.records
        if (math.isfinite(loss) and loss < self.loss) or first:
            self.incumbent, self.loss = challenger, loss if math.isfinite(loss) else math.inf
            self._scores = {
                f"{split}_{name}": value
                for split in self.problem.splits
                for name, value in self.problem.score(challenger, split).items()
            }

    def _log(self) -> None:
        self.ledger.peak_memory = _peak_memory(self.incumbent)
        record = Record(asdict(self.ledger), self.loss, self._batch_loss, dict(self._scores))
        self.trace.records.append(record)
        spent = self.budget.progress(self.ledger)
        while self._next_log <= LOG_POINTS and self._threshold() <= spent:
            self._next_log += 1
        if self.progress is not None:
            self.progress(spent, record)

    def _is_due(self) -> bool:
        return self.budget.progress(self.ledger) >= self._threshold()

    def _threshold(self) -> float:
        """Share of the budget at the next log point."""
        return float(FIRST_LOG ** (1 - self._next_log / LOG_POINTS))

    def _ended(self, stalled: int) -> StopReason | None:
        if self.target is not None and self.loss <= self.target:
            return StopReason.TARGET
        if self.budget.progress(self.ledger) >= 1:
            return StopReason.BUDGET
        if self.optimizer.stopped:
            return StopReason.SELF_STOPPED
        return StopReason.STALLED if stalled >= STALL_LIMIT else None

    def _hopeless(self, evaluated: int) -> bool:
        """Nothing finite in a whole generation, or in a gradient step: there is nothing to go on from.

        A single gradient-free candidate may fail; its optimizer goes on from what it has.
        """
        if not evaluated or math.isfinite(self._batch_loss):
            return False
        return evaluated > 1 or self.optimizer.wants_gradient


def advance(course: Course, found: Answer | None = None) -> Request | Outcome:
    """The course's next request after the answer to its last one, or its outcome."""
    try:
        return course.send(found)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def check_gradient(problem: Problem, optimizer: Optimizer | type[Optimizer]) -> None:
    """Refuse a gradient optimizer on a problem that has no gradient, before anything starts.

    Raises:
        NotDifferentiableError: naming the part without gradient.
    """
    if optimizer.needs_gradient and not problem.differentiable:
        name = optimizer.__name__ if isinstance(optimizer, type) else type(optimizer).__name__
        raise NotDifferentiableError(f"{name} needs a gradient: {problem.why_no_gradient()}")


def check_budget(problem: Problem, optimizer: Optimizer | type[Optimizer], budget: Budget) -> None:
    """Refuse a budget that the run would never use up.

    Raises:
        ConfigError: naming the unit that is never spent.
    """
    idle = set()
    if not optimizer.needs_gradient:
        idle.add("backward_samples")
    if not problem.cost.forward_flops:
        idle.add("flops")
    if set(budget.limits()) <= idle:
        name = optimizer.__name__ if isinstance(optimizer, type) else type(optimizer).__name__
        got = f"`{', '.join(budget.limits())}`, of which it spends none here"
        raise ConfigError(
            "budget: " + expectation(f"a unit that {name} spends", got, "Use forward_equivalents or evaluations.")
        )


def _peak_memory(like: Tensor) -> int:
    """Bytes: the GPU's highest allocation, or the process's highest resident size (0 on Windows)."""
    if like.is_cuda:
        return int(torch.cuda.max_memory_allocated(like.device))
    if sys.platform == "win32":
        return 0  # the system offers no such figure without a further package
    status = Path("/proc/self/status")
    if status.is_file():  # a worker's `getrusage` begins at the size of the process that started it
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
