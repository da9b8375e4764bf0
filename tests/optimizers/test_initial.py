from __future__ import annotations

import torch

from gfopt import minimize
from gfopt.problems import FunctionProblem


def test_a_run_costs_one_evaluation_and_ends_where_it_began() -> None:
    problem = FunctionProblem.named("sphere", 4, dtype="float64")
    start = torch.tensor([1.0, 2.0, 0.0, 0.5], dtype=torch.float64)
    run = minimize(problem, "initial", budget={"evaluations": 1000}, start=start)
    assert run.ledger.evaluations == 1
    assert str(run.stop_reason) == "self_stopped"
    assert torch.equal(run.best, start)
    assert run.best_loss == 5.25
