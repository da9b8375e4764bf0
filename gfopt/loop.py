"""The only training loop: it counts cost, tracks the incumbent, logs, and stops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gfopt.errors import ConfigError, NotDifferentiableError, expectation
from gfopt.memory import peak_resident
from gfopt.optimizers.base import Optimizer, Options
from gfopt.problems.base import Problem
from gfopt.problems.requests import Answer, Request, answer
from gfopt.trace import Budget, Ledger, Record, Status, StopReason, Trace
from gfopt.types import Callback, Evaluation, Observation

LOG_POINTS = 60  # evenly spaced in log cost
FIRST_LOG = 1e-4  # share of the budget at the first of them
STALL_LIMIT = 100  # empty asks in a row that end a run
Progress = Callable[[float, Record], None]
Keeper = Callable[["Loop", bool], None]


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
        callbacks: shown every step, in this order; one that asks for the end is the last one's reason.
        keeper: called after each step with the loop, and whether it was the last, to keep its `state_dict`.
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
        callbacks: Sequence[Callback] = (),
        keeper: Keeper | None = None,
    ) -> None:
        check_gradient(problem, type(optimizer), optimizer.options)
        self.problem, self.optimizer, self.budget = problem, optimizer, budget
        self.seed, self.target, self.progress = seed, target, progress
        self.callbacks, self.keeper = tuple(callbacks), keeper
        self.ledger = Ledger()
        self.trace = Trace()
        self.start = start
        self.incumbent = start[0].clone()
        self.loss = math.inf
        self._candidate: Tensor | None = None
        self._candidate_loss = math.inf
        self._candidate_batch: int | None = None
        self._batch_loss = math.nan
        self._scores: dict[str, float] = {}
        self._next_log = 0
        self._minibatch = 0
        self._stalled = 0

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
        if not self.trace.records:
            for callback in self.callbacks:
                callback.on_train_begin(self.problem.dim)
            self._meet(self.incumbent)
            self._log()
        # A run that a callback has ended stays ended; any other may have been given a larger budget.
        reason = self.trace.stop_reason if self.trace.stop_reason is StopReason.CALLBACK else self._ended()
        while reason is None and self.trace.status is Status.OK:
            population, evaluation = yield from self._step(self._minibatch)
            self._stalled = 0 if len(population) else self._stalled + 1
            if self._hopeless(len(population)):
                self.trace.status = Status.DIVERGED
                self.trace.message = f"every loss of step {self.ledger.steps} was NaN or infinite"
            if logged := self._is_due():
                self._judge()
                self._log()
            reason = self._ended()
            last = reason is not None or self.trace.status is not Status.OK
            if last and not logged:
                self._judge()
                self._log()
            reason = self._told(population, evaluation, logged, reason)
            if not self.optimizer.hold_batch:
                self._minibatch += 1
            self.trace.stop_reason = reason if self.trace.status is Status.OK else None
            if self.keeper is not None:
                self.keeper(self, reason is not None or self.trace.status is not Status.OK)
        self.trace.stop_reason = reason if self.trace.status is Status.OK else None
        for callback in self.callbacks:
            callback.on_train_end()
        if not math.isfinite(self.loss) and self.trace.status is Status.OK:
            self.trace.status = Status.DIVERGED
            self.trace.message = "no finite loss was ever found"
        return Outcome(self.trace, self.incumbent.detach().cpu().numpy().copy())

    def _told(
        self, population: Tensor, evaluation: Evaluation, logged: bool, reason: StopReason | None
    ) -> StopReason | None:
        """Show the step to the callbacks; why the run ends, if it does."""
        for callback in self.callbacks:
            last = reason is not None or self.trace.status is not Status.OK
            wish = callback.on_generation_end(self._observation(population, evaluation, logged or last, last))
            if wish is not None and not last:
                reason = StopReason.CALLBACK
                self.trace.message = f"{type(callback).__name__}: {wish}"
                if not logged:
                    self._judge()
                    self._log()
        return reason

    def _observation(self, population: Tensor, evaluation: Evaluation, logged: bool, last: bool) -> Observation:
        return Observation(
            population,
            evaluation,
            self._minibatch,
            self.seed,
            self.incumbent,
            self.ledger,
            self.budget.progress(self.ledger),
            logged,
            last,
            loss=self.loss,
            batch_loss=self._batch_loss,
            scores=dict(self._scores),
        )

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on: nested dicts and lists of plain values and arrays."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "ledger": asdict(self.ledger),
            "records": [asdict(record) for record in self.trace.records],
            "incumbent": _array(self.incumbent),
            "loss": self.loss,
            "scores": dict(self._scores),
            "candidate": None if self._candidate is None else _array(self._candidate),
            "candidate_loss": self._candidate_loss,
            "candidate_batch": self._candidate_batch,
            "batch_loss": self._batch_loss,
            "minibatch": self._minibatch,
            "stalled": self._stalled,
            "status": self.trace.status.value,
            "stop_reason": None if self.trace.stop_reason is None else self.trace.stop_reason.value,
            "message": self.trace.message,
            "callbacks": [{"name": type(one).__name__, "state": one.state_dict()} for one in self.callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken, to the end of this loop's own budget."""
        like = self.incumbent
        self.optimizer.load_state_dict(state["optimizer"])
        self.ledger = Ledger(**state["ledger"])
        self.trace = Trace([Record(**record) for record in state["records"]], Status(state["status"]))
        self.trace.message = state["message"]
        self.trace.stop_reason = None if state["stop_reason"] is None else StopReason(state["stop_reason"])
        self.incumbent, self.loss = torch.from_numpy(np.array(state["incumbent"])).to(like), state["loss"]
        self._scores = dict(state["scores"])
        candidate = state["candidate"]
        self._candidate = None if candidate is None else torch.from_numpy(np.array(candidate)).to(like)
        self._candidate_loss, self._candidate_batch = state["candidate_loss"], state["candidate_batch"]
        self._batch_loss = state["batch_loss"]
        self._minibatch, self._stalled = state["minibatch"], state["stalled"]
        names = [type(callback).__name__ for callback in self.callbacks]
        if names != [known["name"] for known in state["callbacks"]]:
            got = f"`{', '.join(names) or 'none'}`"
            wanted = ", ".join(known["name"] for known in state["callbacks"]) or "none"
            raise ConfigError("callbacks: " + expectation(f"those that the run was started with ({wanted})", got))
        for callback, known in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(known["state"])
        self._pass_thresholds()

    def _step(self, step: int) -> Generator[Request, Answer | None, tuple[Tensor, Evaluation]]:
        """One ask, evaluate, tell; the rows that were evaluated, and their losses."""
        problem, optimizer = self.problem, self.optimizer
        before = time.perf_counter()
        optimizer.spent = min(1.0, self.budget.progress(self.ledger))
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
        self._pass_thresholds()
        if self.progress is not None:
            self.progress(self.budget.progress(self.ledger), record)

    def _pass_thresholds(self) -> None:
        """Look out for the next log point that is not reached yet."""
        spent = self.budget.progress(self.ledger)
        while self._next_log <= LOG_POINTS and self._threshold() <= spent:
            self._next_log += 1

    def _is_due(self) -> bool:
        return self.budget.progress(self.ledger) >= self._threshold()

    def _threshold(self) -> float:
        """Share of the budget at the next log point."""
        return float(FIRST_LOG ** (1 - self._next_log / LOG_POINTS))

    def _ended(self) -> StopReason | None:
        if self.target is not None and self.loss <= self.target:
            return StopReason.TARGET
        if self.budget.progress(self.ledger) >= 1:
            return StopReason.BUDGET
        if self.optimizer.stopped:
            return StopReason.SELF_STOPPED
        return StopReason.STALLED if self._stalled >= STALL_LIMIT else None

    def _hopeless(self, evaluated: int) -> bool:
        """Nothing finite in a whole generation, or in a gradient step: there is nothing to go on from.

        A single gradient-free candidate may fail; its optimizer goes on from what it has.
        """
        if not evaluated or math.isfinite(self._batch_loss):
            return False
        return evaluated > 1 or self.optimizer.wants_gradient


def _array(row: Tensor) -> np.ndarray:
    return row.detach().cpu().numpy().copy()


def advance(course: Course, found: Answer | None = None) -> Request | Outcome:
    """The course's next request after the answer to its last one, or its outcome."""
    try:
        return course.send(found)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def check_gradient(problem: Problem, algorithm: type[Optimizer], options: Options) -> None:
    """Refuse a gradient optimizer on a problem that has no gradient, before anything starts.

    Raises:
        NotDifferentiableError: naming the part without gradient.
    """
    if algorithm.uses_gradient(options) and not problem.differentiable:
        raise NotDifferentiableError(f"{algorithm.__name__} needs a gradient: {problem.why_no_gradient()}")


def check_budget(problem: Problem, algorithm: type[Optimizer], options: Options, budget: Budget) -> None:
    """Refuse a budget that the run would never use up.

    Raises:
        ConfigError: naming the unit that is never spent.
    """
    idle = set()
    if not algorithm.uses_gradient(options):
        idle.add("backward_samples")
    if not problem.cost.forward_flops:
        idle.add("flops")
    if set(budget.limits()) <= idle:
        name = algorithm.__name__
        got = f"`{', '.join(budget.limits())}`, of which it spends none here"
        raise ConfigError(
            "budget: " + expectation(f"a unit that {name} spends", got, "Use forward_equivalents or evaluations.")
        )


def _peak_memory(like: Tensor) -> int:
    """Bytes: the GPU's highest allocation, or the process's highest resident size."""
    return int(torch.cuda.max_memory_allocated(like.device)) if like.is_cuda else peak_resident()
