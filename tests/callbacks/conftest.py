"""Steps made by hand, and a small run with everything that callbacks look at."""

from __future__ import annotations

import pytest
import torch

import gfopt
from gfopt.run import make_loop
from gfopt.trace import Ledger
from gfopt.types import Evaluation, Observation


@pytest.fixture
def step():
    """A step of a run as callbacks are shown it: `step(cost, loss)`."""

    def made(cost, loss=1.0, *, logged=True, last=False, seconds=0.0, spent=0.5, batch_loss=float("nan"), **scores):
        ledger = Ledger(steps=cost, evaluations=10 * cost, forward_equivalents=100.0 * cost, seconds=seconds)
        rows = torch.zeros(1, 2)
        evaluation = Evaluation(torch.zeros(1), None, 1, 0)
        told = {"loss": loss, "batch_loss": batch_loss, "scores": scores}
        return Observation(rows, evaluation, cost, 0, rows[0], ledger, spent, logged, last, **told)

    return made


@pytest.fixture(scope="session")
def flowers():
    """Iris with rows to validate on, in minibatches."""
    return gfopt.SupervisedProblem({"kind": "mlp", "hidden": [4]}, "iris", batch_size=32, device="cpu")


@pytest.fixture
def train(flowers):
    """A run of 640 evaluations of `flowers` with the given callbacks."""

    def run(*callbacks, evaluations=640, **options):
        budget = {"evaluations": evaluations}
        return gfopt.minimize(flowers, "ga", population=16, budget=budget, callbacks=callbacks, **options)

    return run


@pytest.fixture
def broken_off(flowers):
    """`broken_off(make)`: runs with the callback of `make()` to step 30, then anew from the state of step 20."""

    def run(make, evaluations=640):
        options = gfopt.optimizers.options_of("ga", {"population": 16})
        streams = {"init": 1, "data": 2, "optimizer": 3}

        def loop(callback):
            return make_loop(
                flowers, "ga", options, gfopt.Budget(evaluations=evaluations), streams, callbacks=[callback]
            )

        kept = {}

        def keep(at, last):
            if at.ledger.steps == 20:
                kept.update(at.state_dict())
            if at.ledger.steps == 30:
                raise InterruptedError

        first = loop(make())
        first.keeper = keep
        with pytest.raises(InterruptedError):
            first.run()
        second = loop(make())
        second.load_state_dict(kept)
        resumed = second.run()
        return resumed, loop(make()).run

    return run
