"""One run from Python: `minimize(problem, "deap-ga", budget=...)`."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from gfopt import optimizers, registry
from gfopt.checkpoint import Checkpoint, fingerprint
from gfopt.diagnostics.kinds import COLUMNS, DiagnosticsWarning, checked
from gfopt.diagnostics.recorder import Recorder
from gfopt.diagnostics.starts import start_rows
from gfopt.errors import ConfigError, ShapeError, expectation, located, suggestion
from gfopt.loop import Loop, Outcome, Progress, check_budget, check_gradient
from gfopt.problems.base import Problem
from gfopt.problems.subspace import SubspaceProblem
from gfopt.problems.supervised import SupervisedProblem
from gfopt.rng import derive, generator
from gfopt.trace import BUDGET_UNITS, Budget, Ledger, Status, StopReason
from gfopt.types import Callback, Evaluation

if TYPE_CHECKING:
    from gfopt.optimizers.base import Optimizer, Options

REHEARSED_GENES = 4096
WARM_START_SPREAD = 0.1  # of each gene's scale: how far the other members stand from a given start


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        best: `(D,)` the incumbent at the end.
        best_loss: its loss on the problem's probe rows.
        curve: one row a logged point, with the ledger, the loss and the held-out metrics.
        scores: the incumbent's held-out metrics, as `test_accuracy`.
        status: `ok` or `diverged`.
        stop_reason: why the loop ended; `None` if it diverged.
        ledger: what the run has spent.
        diagnostics: one row a measured number: `step`, `forward_equivalents`, `quantity`, `layer`, `name`, `value`;
            empty unless `minimize` was asked for some.
        seconds_shared: it was trained together with others (see `gfopt.minimize_many`): its seconds are a share of
            theirs, and compare with no other run's.
    """

    problem: Problem = field(repr=False)
    best: Tensor = field(repr=False)
    best_loss: float
    curve: pd.DataFrame = field(repr=False)
    scores: dict[str, float]
    status: Status
    stop_reason: StopReason | None
    ledger: Ledger
    message: str = ""
    diagnostics: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS), repr=False)
    seconds_shared: bool = False

    def module(self) -> nn.Module:
        """A network with the best parameters, in evaluation mode.

        Raises:
            ConfigError: if the problem has no network.
        """
        problem, vector = self.problem, self.best
        while isinstance(problem, SubspaceProblem):
            vector, problem = problem.expand(vector), problem.problem
        if not isinstance(problem, SupervisedProblem):
            raise ConfigError(expectation("a problem with a network", f"`a {type(problem).__name__}`"))
        return problem.module(vector)


def minimize(
    problem: Problem,
    optimizer: str,
    *,
    budget: Budget | Mapping[str, float],
    seed: int = 0,
    start: nn.Module | Tensor | Run | None = None,
    target: float | None = None,
    progress: Progress | None = None,
    diagnostics: Iterable[str] = (),
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Run:
    """Train `problem` with one optimizer and return the finished run.

    The same problem, optimizer, options, budget and seed give the same run, bit for bit on a CPU (of a budget in
    seconds, the same up to where the clock stopped it). Global random numbers, torch's thread count and the
    environment are left as they were.

    Args:
        problem: what is minimized.
        optimizer: a name of `gfopt.optimizers.names()`.
        budget: `Budget(evaluations=20_000)`, or the same as a mapping.
        seed: of the starts, the minibatches and the optimizer's own random numbers.
        start: where to start instead of at fresh initializations: a module, a `(D,)` or `(P, D)` tensor or a former
            run. One vector becomes member 0; the others stand around it, 0.1 of each gene's scale away.
        target: stop as soon as the incumbent's loss is as low.
        progress: called at each logged point with the share of the budget spent and the record.
        diagnostics: what to measure at the start and along the run, outside the clock and the ledger: names of
            `gfopt.diagnostics.kinds.KINDS`, as `["gradient-flow", "saturation"]`. The run stays the same, bit for bit.
        callbacks: shown every step, in this order, and may end the run: see `gfopt.callbacks`.
        checkpoint: a file that holds the run's state, written twice a minute and at the end. If it is there, the run
            goes on from it and is, bit for bit on a CPU, the one that was never interrupted; with a larger budget than
            before, a finished run goes on too. A damaged file, or one of another run, is refused.
        **options: the optimizer's options.

    Raises:
        ConfigError, NotDifferentiableError, StoreError: before anything starts.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError("seed: " + expectation("a whole number", seed))
    call = Call(problem, optimizer, budget, options, start=start, target=target, diagnostics=diagnostics)
    attempt = call.attempt(seed, progress, callbacks)
    if checkpoint is not None:
        keeper = Checkpoint(checkpoint, call.about(seed, attempt.loop.start))
        keeper.restore(attempt.loop)
        attempt.loop.keeper = keeper
    return attempt.finished(attempt.loop.run())


class Call:
    """The checked arguments of `minimize`, of which the run of each seed is made."""

    def __init__(
        self,
        problem: Problem,
        optimizer: str,
        budget: Budget | Mapping[str, float],
        options: Mapping[str, Any],
        *,
        start: nn.Module | Tensor | Run | None,
        target: float | None,
        diagnostics: Iterable[str],
    ) -> None:
        if not isinstance(problem, Problem):
            raise ConfigError(
                "problem: " + expectation("a Problem", problem, "Wrap a function in gfopt.FunctionProblem.")
            )
        self.problem, self.optimizer, self.start, self.target = problem, optimizer, start, target
        self.budget = budget if isinstance(budget, Budget) else _budget(budget)
        with located("diagnostics"):
            self.kinds = checked(diagnostics)
        self.options = optimizers.options_of(optimizer, dict(options))

    def about(self, seed: int, rows: Tensor) -> dict[str, Any]:
        """What tells the run of a seed from others, as plain values; `rows` `(P, D)` are those that it starts from."""
        return {
            "optimizer": self.optimizer,
            "options": self.options.model_dump(mode="json"),
            "seed": seed,
            "start": fingerprint(rows),
            "device": rows.device.type,
            "diagnostics": list(self.kinds),
        }

    def attempt(self, seed: int, progress: Progress | None, callbacks: Sequence[Callback] = ()) -> Attempt:
        """The run of a seed, not started."""
        streams = {purpose: derive(seed, "minimize", purpose) for purpose in ("init", "data", "optimizer")}
        recorder = Recorder(self.problem, self.kinds) if self.kinds else None
        watching: dict[str, Any] = {
            "progress": progress,
            "callbacks": [*callbacks, *([] if recorder is None else [recorder])],
        }
        goal: dict[str, Any] = {"start": self.start, "target": self.target}
        loop = make_loop(self.problem, self.optimizer, self.options, self.budget, streams, **goal, **watching)
        return Attempt(self, streams, loop, recorder)


@dataclass(frozen=True)
class Attempt:
    """The run of one seed, and the recorder that looks on."""

    call: Call
    streams: Mapping[str, int]
    loop: Loop
    recorder: Recorder | None

    def finished(self, outcome: Outcome) -> Run:
        """The run with what was measured along it; called by what the user calls."""
        run = finished(self.loop, outcome)
        if self.recorder is None:
            return run
        call = self.call
        size = registry.optimizers.get(call.optimizer).population_size(call.options)
        first = starting_rows(call.problem, size, self.streams["init"], call.start)[0]
        return replace(run, diagnostics=_diagnosed(call.problem, first, call.kinds, self.streams, self.recorder))


def rehearse(problem: Problem, algorithm: type[Optimizer], options: Options, rows: Tensor) -> None:
    """Let a copy of one of gfopt's own optimizers take a few steps on made-up losses.

    What is imported, loaded or compiled for the first step of a process then is on no run's clock.
    """
    key = algorithm, rows.dtype, rows.device
    if key in _REHEARSED or not algorithm.__module__.startswith("gfopt."):
        return
    genes = slice(0, min(rows.shape[1], REHEARSED_GENES))
    bounds = None if problem.bounds is None else (problem.bounds[0][genes], problem.bounds[1][genes])
    groups = [group for group in problem.groups if group.slice.stop <= genes.stop]
    start = rows[:, genes].clone()
    copy = algorithm(start, options, generator("rehearsal"), scale=problem.scale[genes], bounds=bounds, groups=groups)
    for _ in range(3):
        asked = copy.ask(0)
        gradient = torch.ones_like(asked) if copy.wants_gradient else None
        copy.tell(asked, Evaluation(torch.arange(len(asked), dtype=rows.dtype, device=rows.device), gradient, 1, 0))
    _REHEARSED.add(key)


_REHEARSED: set[tuple[object, ...]] = set()


def make_loop(
    problem: Problem,
    kind: str,
    options: Options,
    budget: Budget,
    streams: Mapping[str, int],
    *,
    start: nn.Module | Tensor | Run | None = None,
    target: float | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
) -> Loop:
    """One run from typed parts, not started; `streams` holds the seeds of `init`, `data` and `optimizer`."""
    algorithm = registry.optimizers.get(kind)
    algorithm.check_dim(options, problem.dim)
    check_gradient(problem, algorithm, options)
    check_budget(problem, algorithm, options, budget)
    rows = starting_rows(problem, algorithm.population_size(options), streams["init"], start)
    problem.ready(gradient=algorithm.uses_gradient(options))
    rehearse(problem, algorithm, options, rows)
    optimizer = algorithm(
        rows.clone(),
        options,
        generator(streams["optimizer"]),
        scale=problem.scale,
        bounds=problem.bounds,
        groups=problem.groups,
    )
    return Loop(
        problem, optimizer, rows, budget, seed=streams["data"], target=target, progress=progress, callbacks=callbacks
    )


def starting_rows(problem: Problem, count: int, seed: int, start: nn.Module | Tensor | Run | None = None) -> Tensor:
    """`(count, D)` rows to start from: fresh initializations, or around what was given."""
    if start is None:
        return problem.initial(count, seed)
    if isinstance(start, Run):
        given = start.best
    elif isinstance(start, nn.Module):
        if not isinstance(problem, SupervisedProblem):
            raise ConfigError("start: " + expectation("a (D,) tensor", f"`a module for a {type(problem).__name__}`"))
        with located("start"):
            given = problem.layout.flatten(start)
    else:
        try:
            given = torch.as_tensor(start)
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError("start: " + expectation("a module, a tensor or a Run", start)) from None
    given = given.detach().to(problem.scale)
    if not torch.isfinite(given).all():
        raise ConfigError(
            "start: " + expectation("finite numbers", f"`{int((~torch.isfinite(given)).sum())} that are not`")
        )
    if given.ndim == 2 and given.shape == (count, problem.dim):
        return given.clone()
    if given.shape != (problem.dim,):
        raise ShapeError(
            f"start: expected shape ({problem.dim},) or ({count}, {problem.dim}), got {tuple(given.shape)}"
        )
    noise = generator(seed, "warm start").standard_normal((count, problem.dim))
    noise[0] = 0.0
    return given + WARM_START_SPREAD * problem.scale * torch.as_tensor(noise).to(problem.scale)


def _diagnosed(
    problem: Problem, first: Tensor, kinds: tuple[str, ...], streams: Mapping[str, int], recorder: Recorder
) -> pd.DataFrame:
    """The measurements at the start and along the run; one warning for each kind that failed."""
    rows, failures = start_rows(problem, kinds, first, init=streams["init"], data=streams["data"])
    for kind, reason in {**recorder.failures, **failures}.items():
        warnings.warn(f"diagnostics: no {kind}, because of {reason}", DiagnosticsWarning, stacklevel=4)
    return pd.DataFrame([*rows, *recorder.rows], columns=COLUMNS)


def _budget(limits: Mapping[str, float]) -> Budget:
    if not isinstance(limits, Mapping):
        raise ConfigError("budget: " + expectation("a Budget or a mapping, as {'evaluations': 20000}", limits))
    for unit in limits:
        if unit not in BUDGET_UNITS:
            raise ConfigError("budget: " + expectation("a unit of the ledger", unit, suggestion(unit, BUDGET_UNITS)))
    return Budget(**limits)


def finished(loop: Loop, outcome: Outcome) -> Run:
    """What a loop and its outcome come to."""
    trace = outcome.trace
    last = trace.records[-1]
    return Run(
        problem=loop.problem,
        best=torch.as_tensor(outcome.best),
        best_loss=last.loss if math.isfinite(last.loss) else math.inf,
        curve=pd.DataFrame([record.row() for record in trace.records]),
        scores=dict(last.scores),
        status=trace.status,
        stop_reason=trace.stop_reason,
        ledger=loop.ledger,
        message=trace.message,
        seconds_shared=trace.seconds_shared,
    )
