"""One run from Python: `minimize(problem, "deap-ga", budget=...)`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from gfopt import optimizers, registry
from gfopt.diagnostics.kinds import COLUMNS, DiagnosticsWarning, checked
from gfopt.diagnostics.recorder import Recorder
from gfopt.diagnostics.starts import start_rows
from gfopt.errors import ConfigError, ShapeError, expectation, located, suggestion
from gfopt.loop import Loop, Progress, check_budget, check_gradient
from gfopt.problems.base import Problem
from gfopt.problems.subspace import SubspaceProblem
from gfopt.problems.supervised import SupervisedProblem
from gfopt.rng import derive, generator
from gfopt.trace import BUDGET_UNITS, Budget, Ledger, Status, StopReason, Trace
from gfopt.types import Observer

if TYPE_CHECKING:
    from gfopt.optimizers.base import Options

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
        **options: the optimizer's options.

    Raises:
        ConfigError, NotDifferentiableError: before anything starts.
    """
    if not isinstance(problem, Problem):
        raise ConfigError("problem: " + expectation("a Problem", problem, "Wrap a function in gfopt.FunctionProblem."))
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError("seed: " + expectation("a whole number", seed))
    limits = budget if isinstance(budget, Budget) else _budget(budget)
    with located("diagnostics"):
        kinds = checked(diagnostics)
    typed = optimizers.options_of(optimizer, options)
    streams = {purpose: derive(seed, "minimize", purpose) for purpose in ("init", "data", "optimizer")}
    recorder = Recorder(problem, kinds) if kinds else None
    run = train(
        problem, optimizer, typed, limits, streams, start=start, target=target, progress=progress, observer=recorder
    )
    if recorder is None:
        return run
    size = registry.optimizers.get(optimizer).population_size(typed)
    first = starting_rows(problem, size, streams["init"], start)[0]
    return replace(run, diagnostics=_diagnosed(problem, first, kinds, streams, recorder))


def train(
    problem: Problem,
    kind: str,
    options: Options,
    budget: Budget,
    streams: Mapping[str, int],
    *,
    start: nn.Module | Tensor | Run | None = None,
    target: float | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Run:
    """One run from typed parts; `streams` holds the seeds of `init`, `data` and `optimizer`."""
    algorithm = registry.optimizers.get(kind)
    check_gradient(problem, algorithm)
    check_budget(problem, algorithm, budget)
    rows = starting_rows(problem, algorithm.population_size(options), streams["init"], start)
    optimizer = algorithm(
        rows.clone(),
        options,
        generator(streams["optimizer"]),
        scale=problem.scale,
        bounds=problem.bounds,
        groups=problem.groups,
    )
    loop = Loop(
        problem, optimizer, rows, budget, seed=streams["data"], target=target, progress=progress, observer=observer
    )
    outcome = loop.run()
    return _finished(problem, outcome.trace, torch.as_tensor(outcome.best), loop.ledger)


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
        warnings.warn(f"diagnostics: no {kind}, because of {reason}", DiagnosticsWarning, stacklevel=3)
    return pd.DataFrame([*rows, *recorder.rows], columns=COLUMNS)


def _budget(limits: Mapping[str, float]) -> Budget:
    if not isinstance(limits, Mapping):
        raise ConfigError("budget: " + expectation("a Budget or a mapping, as {'evaluations': 20000}", limits))
    for unit in limits:
        if unit not in BUDGET_UNITS:
            raise ConfigError("budget: " + expectation("a unit of the ledger", unit, suggestion(unit, BUDGET_UNITS)))
    return Budget(**limits)


def _finished(problem: Problem, trace: Trace, best: Tensor, ledger: Ledger) -> Run:
    last = trace.records[-1]
    return Run(
        problem=problem,
        best=best,
        best_loss=last.loss if math.isfinite(last.loss) else math.inf,
        curve=pd.DataFrame([record.row() for record in trace.records]),
        scores=dict(last.scores),
        status=trace.status,
        stop_reason=trace.stop_reason,
        ledger=ledger,
        message=trace.message,
    )
