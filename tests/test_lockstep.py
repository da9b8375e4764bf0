"""Many runs in lock step: each is the run that it is by itself, whatever becomes of the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gfopt
from gfopt.errors import ConfigError
from gfopt.lockstep import run_together
from gfopt.loop import Loop
from gfopt.optimizers.base import Optimizer, Options
from gfopt.problems.base import Cost, Problem
from gfopt.trace import Budget, Status, StopReason
from gfopt.types import Evaluation, Group

CLOCKS = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
SEEDS = [3, 0, 8]


@pytest.fixture(scope="module")
def iris():
    def problem(batch_size=None, dtype="float32", **options):
        network = {"kind": "mlp", "hidden": [5], **options}
        return gfopt.SupervisedProblem(network, "iris", batch_size=batch_size, dtype=dtype, device="cpu")

    return problem


def alike(run, other):
    """The same run, bit for bit, but for the clocks."""
    assert torch.equal(run.best, other.best)
    numbers = run.curve.drop(columns=CLOCKS), other.curve.drop(columns=CLOCKS)
    assert numbers[0].equals(numbers[1])
    assert (run.status, run.stop_reason, run.scores) == (other.status, other.stop_reason, other.scores)


# ------------------------------------------------------------------------------ equal to separate runs


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [("deap-ga", {"population": 9}), ("pyswarms-gbest", {"particles": 7}), ("random-search", {})],
)
def test_gradient_free_runs_are_those_of_minimize_bit_for_bit(optimizer, options, batch_size, iris):
    problem, budget = iris(batch_size), {"evaluations": 200}
    together = gfopt.minimize_many(problem, optimizer, budget=budget, seeds=SEEDS, **options)
    for seed, run in zip(SEEDS, together, strict=True):
        alike(run, gfopt.minimize(problem, optimizer, budget=budget, seed=seed, **options))
    assert not torch.equal(together[0].best, together[1].best)


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("dtype", "steps"), [("float32", 15), ("float64", 150)])
def test_backprop_is_the_same_to_a_millionth(optimizer, dtype, steps, batch_size, iris):
    """In float32 over few steps: rounding differs, and training amplifies it like any other."""
    problem, budget = iris(batch_size, dtype, norm="batch"), {"steps": steps}
    together = gfopt.minimize_many(problem, optimizer, budget=budget, seeds=SEEDS)
    for seed, run in zip(SEEDS, together, strict=True):
        other = gfopt.minimize(problem, optimizer, budget=budget, seed=seed)
        assert (run.best - other.best).norm() <= 1e-6 * other.best.norm()
        assert run.curve["loss"].to_numpy() == pytest.approx(other.curve["loss"].to_numpy(), rel=1e-6)
        ledger = [c for c in run.curve.columns if c.endswith(("samples", "evaluations", "equivalents", "steps"))]
        assert run.curve[ledger].equals(other.curve[ledger])


@pytest.mark.parametrize("batch_size", [None, 32])
def test_what_a_run_gets_does_not_depend_on_its_company(batch_size, iris):
    """Else a study that was interrupted would have other results than one that was not."""
    problem = iris(batch_size, norm="batch")
    for optimizer in ("adam", "random-search"):
        many = gfopt.minimize_many(problem, optimizer, budget={"steps": 30}, seeds=range(5))
        alike(many[2], gfopt.minimize_many(problem, optimizer, budget={"steps": 30}, seeds=[2])[0])
        alike(many[4], gfopt.minimize_many(problem, optimizer, budget={"steps": 30}, seeds=[1, 4])[1])


def test_start_target_progress_and_diagnostics_are_those_of_minimize(iris):
    problem, heard = iris(), []
    first = gfopt.minimize(problem, "adam", budget={"steps": 40})
    given = {"start": first, "target": 0.9 * first.best_loss, "diagnostics": ["updates"]}
    options = {"budget": {"evaluations": 2000}, "population": 10, **given}
    runs = gfopt.minimize_many(
        problem, "deap-ga", seeds=[0, 1], progress=lambda seed, share, record: heard.append((seed, share)), **options
    )
    for seed, run in enumerate(runs):
        alone = gfopt.minimize(problem, "deap-ga", seed=seed, **options)
        alike(run, alone)
        assert len(run.diagnostics) > 0
        assert run.diagnostics.equals(alone.diagnostics)
        assert next(share for who, share in heard if who == seed) == 0.0
        assert sum(who == seed for who, _ in heard) == len(run.curve)
    assert {run.stop_reason for run in runs} == {StopReason.TARGET}
    assert runs[0].ledger.steps != runs[1].ledger.steps


def test_seconds_of_such_runs_are_marked(iris):
    together = gfopt.minimize_many(iris(), "adam", budget={"steps": 3}, seeds=[0])
    assert together[0].seconds_shared
    assert not gfopt.minimize(iris(), "adam", budget={"steps": 3}).seconds_shared


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seeds": []}, "seeds: expected at least one, all different, got \\[\\]"),
        ({"seeds": [1, 2, 1]}, "seeds: expected at least one, all different"),
        ({"seeds": [1, True]}, "seeds: expected whole numbers, got True"),
        ({"seeds": 5}, "seeds: expected several whole numbers, as range\\(10\\), got 5"),
        ({"budget": {"seconds": 1}}, "budget: expected units that each run spends by itself, got `seconds`"),
        ({"budget": Budget(steps=4, seconds=1)}, "lock step share. Use forward_equivalents or evaluations"),
    ],
)
def test_wrong_arguments_are_refused_in_words(wrong, message):
    problem = gfopt.FunctionProblem.named("sphere", 2)
    with pytest.raises(ConfigError, match=message):
        gfopt.minimize_many(problem, "random-search", **{"seeds": [0], "budget": {"steps": 4}, **wrong})


def test_an_error_of_the_users_own_names_the_seed():
    def fails(x):
        if len(x) > 3:  # a generation
            raise RuntimeError("unplugged")
        return x.sum(dim=1)

    problem = gfopt.FunctionProblem(fails, 2, differentiable=False, vectorized=True)
    with pytest.raises(RuntimeError, match="unplugged") as caught:
        gfopt.minimize_many(problem, "deap-ga", budget={"steps": 4}, seeds=[7, 9], population=10)
    assert "In the run of seed 7." in caught.value.__notes__


# ------------------------------------------------------------------------------ whatever becomes of the others


class Scripted(Optimizer):
    """Asks for given rows, one generation after the other."""

    def __init__(self, script, *, gradient=False, fails_at=None):
        super().__init__(torch.zeros(1, 1), Options(), np.random.default_rng(0), scale=torch.ones(1))
        self.script, self.place, self.fails_at = script, 0, fails_at
        self.wants_gradient = gradient

    def ask(self, batch):
        rows = self.script[min(self.place, len(self.script) - 1)]
        self.place += 1
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 1)

    def tell(self, population, evaluation):
        if self.place == self.fails_at:
            raise ZeroDivisionError("in tell")

    def state_dict(self):
        return {}

    def load_state_dict(self, state): ...


class Absolute(Problem):
    """`f(x) = |x|`, NaN at -1, an error at -2; remembers how many requests came together."""

    dim, scale, bounds, differentiable = 1, torch.ones(1), None, True
    groups = (Group("x", slice(0, 1), (1,)),)
    cost = Cost(forward_flops=1.0, backward_flops=1.0, backward_equivalents=1.0)

    def __init__(self, most=100, wrong=0):
        self.asked, self.seen, self.most, self.wrong = [], [], most, wrong

    def initial(self, count, seed):
        return torch.full((count, 1), 100.0, dtype=torch.float64)

    def evaluate(self, population, step=0, *, seed=0, gradient=False):
        self.seen.append((step, seed))
        if (population == -2).any():
            raise RuntimeError("two below zero")
        loss = torch.where(population[:, 0] == -1, torch.nan, population[:, 0].abs())
        return Evaluation(loss, torch.ones_like(population) if gradient else None, 1, 0)

    def evaluate_together(self, requests):
        self.asked.append(len(requests))
        if len(requests) > self.most:
            raise MemoryError("too many")
        return super().evaluate_together(requests)[self.wrong :]

    def score(self, parameters, split="test"):
        return {}


def loop_of(problem, script, budget=None, *, target=None, seed=0, **options):
    optimizer = Scripted(script, **options)
    return Loop(
        problem, optimizer, problem.initial(1, 0), budget or Budget(steps=len(script)), seed=seed, target=target
    )


def ended(*loops):
    return dict(run_together(loops))


def same(outcome, other):
    """Equal outcomes, but for the clocks."""
    assert outcome.best.tolist() == other.best.tolist()
    assert (outcome.trace.status, outcome.trace.stop_reason) == (other.trace.status, other.trace.stop_reason)
    rows = [
        [{**r.row(), **dict.fromkeys((*CLOCKS, "batch_loss"), 0)} for r in o.trace.records] for o in (outcome, other)
    ]
    assert rows[0] == rows[1]


LONG = [[9.0], [8.0, 7.0], [6.0], [5.0, 4.0, 3.0], [2.0]]


def test_runs_that_have_ended_leave_and_the_others_go_on():
    problem = Absolute()
    short, goal = loop_of(problem, [[5.0]] * 2), loop_of(problem, LONG, target=7.0)
    found = list(run_together([loop_of(problem, LONG), short, goal]))
    assert [place for place, _ in found] == [1, 2, 0] or [place for place, _ in found] == [2, 1, 0]
    outcomes = dict(found)
    assert problem.asked == [3, 3, 1, 1, 1]
    assert outcomes[1].trace.stop_reason is StopReason.BUDGET
    assert outcomes[2].trace.stop_reason is StopReason.TARGET
    assert goal.ledger.steps == 2
    same(outcomes[0], loop_of(Absolute(), LONG).run())


def test_each_run_has_its_own_minibatches():
    problem = Absolute()
    held = loop_of(problem, LONG, seed=4)
    held.optimizer.hold_batch = True
    ended(loop_of(problem, LONG, seed=3), held)
    steps = [(step, seed) for step, seed in problem.seen if seed]
    assert steps == [pair for step in range(5) for pair in ((step, 3), (0, 4))]


def test_a_diverged_run_leaves_the_others_alone():
    problem = Absolute()
    found = ended(loop_of(problem, LONG), loop_of(problem, [[9.0], [-1.0, -1.0], [3.0]]))
    assert found[1].trace.status is Status.DIVERGED
    assert "NaN or infinite" in found[1].trace.message
    same(found[0], loop_of(Absolute(), LONG).run())


def test_an_error_is_the_runs_whose_rows_raise_it():
    problem = Absolute()
    found = ended(loop_of(problem, LONG), loop_of(problem, [[9.0], [3.0, -2.0], [1.0]]), loop_of(problem, LONG))
    assert str(found[1]) == "two below zero"
    assert problem.asked == [3, 3, 2, 2, 2]  # those that are left go on together
    for place in (0, 2):
        same(found[place], loop_of(Absolute(), LONG).run())


def test_an_error_of_one_optimizer_ends_one_run():
    problem = Absolute()
    found = ended(loop_of(problem, LONG, fails_at=2), loop_of(problem, LONG))
    assert isinstance(found[0], ZeroDivisionError)
    same(found[1], loop_of(Absolute(), LONG).run())


@pytest.mark.parametrize(("options", "why"), [({"most": 1}, "MemoryError: too many"), ({"wrong": 1}, "got 1")])
def test_what_fails_only_together_is_done_one_after_the_other_and_said(options, why):
    problem = Absolute(**options)
    with pytest.warns(RuntimeWarning, match=f"one after the other, because together they fail: .*{why}") as said:
        found = ended(loop_of(problem, LONG), loop_of(problem, LONG[:3]))
    assert len(said) == 1
    assert problem.asked == [2]  # not tried again
    same(found[0], loop_of(Absolute(), LONG).run())
    same(found[1], loop_of(Absolute(), LONG[:3]).run())


def test_an_empty_ask_keeps_nobody_waiting():
    problem = Absolute()
    found = ended(loop_of(problem, [[4.0], [], [], [1.0]]), loop_of(problem, LONG))
    assert found[0].best.tolist() == [1.0]
    assert problem.asked == [2, 2, 1, 1, 1]


def test_seconds_are_divided_by_rows(monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("gfopt.loop.time.perf_counter", lambda: float(next(now)))
    problem = Absolute()
    loops = [loop_of(problem, [[5.0]] * 4), loop_of(problem, [[5.0, 4.0, 3.0]] * 4)]
    found = ended(*loops)
    assert [loop.ledger.evaluate_seconds for loop in loops] == [4 * 0.25, 4 * 0.75]
    assert [loop.ledger.ask_seconds for loop in loops] == [4.0, 4.0]
    assert all(outcome.trace.seconds_shared for outcome in found.values())


def test_gradients_have_a_clock_of_their_own():
    """Or the run without one would pay for it."""
    problem = Absolute()
    ended(loop_of(problem, LONG), loop_of(problem, LONG, gradient=True), loop_of(problem, LONG))
    assert problem.asked == [2, 1] * 5


def test_runs_of_several_problems_are_refused():
    with pytest.raises(ConfigError, match="expected runs of one problem"):
        ended(loop_of(Absolute(), LONG), loop_of(Absolute(), LONG))
    assert list(run_together([])) == []


def test_runs_are_handed_over_as_they_end():
    problem = Absolute()
    course = run_together([loop_of(problem, LONG), loop_of(problem, [[5.0]])])
    assert next(course)[0] == 1
    assert problem.asked == [2]
    assert math.isfinite(next(course)[1].trace.records[-1].loss)
