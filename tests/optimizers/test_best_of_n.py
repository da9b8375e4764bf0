from __future__ import annotations

import torch

from gfopt import minimize
from gfopt.problems import FunctionProblem
from gfopt.testing.driving import drive, make, sphere, starts


def test_every_candidate_is_evaluated_once_and_then_it_ends() -> None:
    optimizer = make("best-of-n", size=9, candidates=9)
    trace = drive(optimizer, sphere, (0, 1))
    assert torch.equal(trace[0][0], starts(9, 6))
    assert trace[1][0].shape == (0, 6)
    assert optimizer.stopped


def test_a_run_costs_as_many_evaluations_as_candidates_and_keeps_the_best() -> None:
    problem = FunctionProblem.named("sphere", 4, dtype="float64")
    run = minimize(problem, "best-of-n", budget={"evaluations": 1000}, seed=3, candidates=20)
    assert run.ledger.evaluations == 20
    assert str(run.stop_reason) == "self_stopped"
    more = minimize(problem, "best-of-n", budget={"evaluations": 1000}, seed=3, candidates=40)
    assert more.best_loss <= run.best_loss
