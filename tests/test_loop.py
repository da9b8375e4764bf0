"""The loop: what it charges, what it logs, which member it keeps, and why it stops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gfopt
from gfopt.errors import ConfigError, NotDifferentiableError
from gfopt.loop import Loop
from gfopt.optimizers.base import Optimizer, Options
from gfopt.problems.base import Cost, Problem
from gfopt.trace import Budget, Status, StopReason
from gfopt.types import Callback, Evaluation, Group


class Scripted(Optimizer):
    """Asks for given rows, one after the other, and remembers what it was told."""

    def __init__(self, script, *, gradient=False):
        super().__init__(torch.zeros(1, 1), Options(), np.random.default_rng(0), scale=torch.ones(1))
        self.script, self.place, self.told, self.batches = script, 0, [], []
        self.wants_gradient = gradient

    def ask(self, batch):
        self.batches.append(batch)
        rows = self.script[min(self.place, len(self.script) - 1)]
        self.place += 1
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 1)

    def tell(self, population, evaluation):
        self.told.append(evaluation)

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Noisy(Problem):
    """`f(x) = |x|`; a minibatch adds its own offset, and lies about negative rows."""

    dim, scale, bounds, differentiable = 1, torch.ones(1), None, True
    groups = (Group("x", slice(0, 1), (1,)),)
    cost = Cost(forward_flops=10.0, backward_flops=15.0, backward_equivalents=1.5)

    def __init__(self, minibatch=True):
        self.minibatch = minibatch
        self.probed = []

    def initial(self, count, seed):
        return torch.full((count, 1), 100.0, dtype=torch.float64)

    def batch(self, step):
        return step if self.minibatch else 0

    def evaluate(self, population, step=0, *, seed=0, gradient=False):
        loss = population[:, 0].abs() + (torch.where(population[:, 0] < 0, -50.0, 0.0) if self.minibatch else 0)
        return Evaluation(loss, torch.ones_like(population) if gradient else None, 7, self.batch(step))

    def probe(self, population):
        self.probed.append(float(population[0, 0]))
        return Evaluation(population[:, 0].abs(), None, 3, 0)

    def score(self, parameters, split="test"):
        return {"accuracy": -float(parameters.abs())}

    @property
    def splits(self):
        return ("test",)


def run(script, problem=None, budget=None, **options):
    gradient = options.pop("gradient", False)
    problem = problem or Noisy()
    optimizer = Scripted(script, gradient=gradient)
    loop = Loop(problem, optimizer, problem.initial(1, 0), budget or Budget(steps=len(script)), **options)
    return loop, loop.run(), optimizer


def test_the_start_is_logged_first_and_costs_nothing():
    _, outcome, _ = run([[5.0]])
    first = outcome.trace.records[0]
    assert first.loss == 100.0
    assert first.ledger["evaluations"] == first.ledger["seconds"] == 0
    assert math.isnan(first.batch_loss)


def test_the_ledger_charges_rows_times_samples_and_the_measured_backward_pass():
    loop, _, _ = run([[5.0, 6.0], [5.0, 6.0, 7.0]])
    assert (loop.ledger.evaluations, loop.ledger.forward_samples, loop.ledger.backward_samples) == (5, 35, 0)
    assert (loop.ledger.flops, loop.ledger.forward_equivalents) == (350.0, 35.0)
    loop, _, _ = run([[5.0], [5.0]], gradient=True)
    assert (loop.ledger.evaluations, loop.ledger.forward_samples, loop.ledger.backward_samples) == (2, 14, 14)
    assert (loop.ledger.flops, loop.ledger.forward_equivalents) == (14 * 25.0, 14 * 2.5)


def test_probing_is_counted_apart_from_the_budget():
    loop, outcome, _ = run([[5.0], [4.0]], budget=Budget(forward_samples=14))
    assert loop.ledger.forward_samples == 14
    assert loop.ledger.probe_samples == 3 * 3  # the start and two challengers
    assert outcome.trace.stop_reason is StopReason.BUDGET


def test_the_step_that_crosses_the_budget_is_completed_and_charged():
    loop, outcome, _ = run([[5.0, 6.0, 7.0]], budget=Budget(evaluations=4))
    assert loop.ledger.evaluations == 6
    assert outcome.trace.records[-1].ledger["evaluations"] == 6


def test_of_several_limits_the_first_reached_ends_the_run():
    loop, _, _ = run([[5.0]], budget=Budget(evaluations=1000, steps=3))
    assert loop.ledger.steps == 3


def test_a_lie_of_a_minibatch_does_not_become_the_incumbent():
    """-20 looks best on its batch (20 - 50), but is worse than 5 on the probe rows."""
    loop, outcome, _ = run([[5.0], [-20.0, 8.0]])
    assert loop.loss == 5.0
    assert outcome.best.tolist() == [5.0]
    assert outcome.trace.records[-1].batch_loss == -30.0


def test_on_a_full_batch_the_lowest_of_all_steps_is_kept_even_between_log_points():
    problem = Noisy(minibatch=False)
    script = [[50.0]] * 40 + [[3.0]] + [[40.0]] * 400
    _, outcome, _ = run(script, problem)
    assert outcome.best.tolist() == [3.0]
    assert len(outcome.trace.records) < 70


def test_losses_of_different_minibatches_are_not_compared():
    """The best of an old batch is dropped when the batch changes: only the last batch meets the incumbent."""
    problem = Noisy()
    run([[50.0], [9.0], [30.0]], problem, Budget(steps=3))
    assert 30.0 in problem.probed


def test_log_points_are_evenly_spaced_in_log_cost():
    _, outcome, _ = run([[5.0]] * 5000)
    steps = np.array([r.ledger["steps"] for r in outcome.trace.records[1:]])
    assert 40 <= len(steps) <= 61
    gaps = np.diff(np.log(steps[steps > 50]))
    assert gaps.max() < 0.2
    assert steps[-1] == 5000


def test_the_loss_never_rises_and_scores_belong_to_the_incumbent():
    values = np.random.default_rng(0).uniform(0, 90, 200)
    _, outcome, _ = run([[float(v)] for v in values])
    losses = [r.loss for r in outcome.trace.records]
    assert losses == sorted(losses, reverse=True)
    assert all(r.scores["test_accuracy"] == -r.loss for r in outcome.trace.records)


def test_nonfinite_rows_never_win_and_are_counted():
    loop, outcome, optimizer = run([[math.nan, 7.0, math.inf], [6.0, math.nan, 9.0]])
    assert outcome.trace.status is Status.OK
    assert loop.ledger.nonfinite == 3
    assert optimizer.told[0].loss.tolist() == [math.inf, 7.0, math.inf]
    assert outcome.best.tolist() == [6.0]


class Watcher(Callback):
    def __init__(self):
        self.seen, self.spent = [], []

    def on_generation_end(self, seen):
        self.seen.append(seen)
        self.spent.append((seen.ledger.steps, seen.spent))


def watched(script, **options):
    watcher = Watcher()
    loop, outcome, _ = run(script, callbacks=[watcher], **options)
    return watcher, loop, outcome


def test_a_callback_sees_every_step_and_knows_which_are_logged_and_which_is_last():
    watcher, _, outcome = watched([[float(v)] for v in range(300, 0, -1)])
    assert watcher.spent == [(n, n / 300) for n in range(1, 301)]
    logged = [r.ledger["steps"] for r in outcome.trace.records[1:]]
    assert [n for n, seen in enumerate(watcher.seen, start=1) if seen.logged] == logged
    assert [seen.last for seen in watcher.seen] == [False] * 299 + [True]
    assert [seen.minibatch for seen in watcher.seen] == list(range(300))
    assert [float(seen.population) for seen in watcher.seen[:2]] == [300.0, 299.0]
    assert float(watcher.seen[-1].evaluation.loss) == float(watcher.seen[-1].incumbent) == 1.0


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ([[5.0], [math.nan, math.nan]], {"budget": Budget(steps=1000)}),
        ([[5.0], []], {"budget": Budget(evaluations=1000)}),
        ([[5.0], [3.0], [1.0]], {"budget": Budget(steps=1000), "target": 3.0}),
    ],
    ids=["diverged", "stalled", "target"],
)
def test_the_last_step_is_known_however_a_run_ends(script, options):
    watcher, loop, outcome = watched(script, **options)
    assert [seen.last for seen in watcher.seen] == [False] * (loop.ledger.steps - 1) + [True]
    assert watcher.seen[-1].logged
    assert outcome.trace.records[-1].ledger["steps"] == loop.ledger.steps


def test_what_a_callback_does_is_on_no_clock(monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("gfopt.loop.time.perf_counter", lambda: float(next(now)))

    class Slow(Watcher):
        def on_generation_end(self, seen):
            super().on_generation_end(seen)
            for _ in range(1000):
                next(now)

    plain, _, _ = run([[5.0]] * 5)
    slow, _, _ = run([[5.0]] * 5, callbacks=[Slow()])
    assert slow.ledger.seconds == plain.ledger.seconds == 15.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("step", [0, 3])
def test_a_generation_without_a_finite_loss_ends_diverged_and_keeps_the_incumbent(bad, step):
    script = [[8.0, 9.0]] * step + [[bad, bad]] * 5
    loop, outcome, _ = run(script)
    assert outcome.trace.status is Status.DIVERGED
    assert outcome.trace.stop_reason is None
    assert loop.ledger.steps == step + 1
    assert math.isfinite(outcome.trace.records[-1].loss)
    assert "NaN or infinite" in outcome.trace.message


def test_a_gradient_of_a_failed_row_is_zero():
    class Exploding(Noisy):
        def evaluate(self, population, step=0, *, seed=0, gradient=False):
            slope = torch.tensor([[math.nan], [2.0]], dtype=torch.float64)
            return Evaluation(population[:, 0], slope, 1, step)

    _, _, optimizer = run([[4.0, 5.0]], Exploding(), gradient=True)
    assert optimizer.told[0].gradient.tolist() == [[0.0], [2.0]]
    assert optimizer.told[0].loss.tolist() == [math.inf, 5.0]


def test_a_single_gradient_free_candidate_may_fail():
    _, outcome, _ = run([[math.nan], [4.0]])
    assert outcome.trace.status is Status.OK
    assert outcome.best.tolist() == [4.0]


def test_a_problem_without_any_finite_loss_is_diverged():
    class Hopeless(Noisy):
        def probe(self, population):
            return Evaluation(torch.full((1,), math.nan), None, 1, 0)

    _, outcome, _ = run([[math.nan]], Hopeless(), Budget(steps=3))
    assert outcome.trace.status is Status.DIVERGED
    assert outcome.trace.records[-1].loss == math.inf


def test_it_stops_at_the_target():
    loop, outcome, _ = run([[50.0], [20.0], [1.0], [0.5]], target=20.0)
    assert outcome.trace.stop_reason is StopReason.TARGET
    assert loop.ledger.steps == 2


def test_it_stops_when_the_optimizer_has_nothing_more_to_ask():
    loop, outcome, _ = run([[50.0], []], budget=Budget(evaluations=1000))
    assert outcome.trace.stop_reason is StopReason.STALLED
    assert loop.ledger.evaluations == 1


def test_it_stops_when_the_optimizer_says_so():
    problem, optimizer = Noisy(), Scripted([[5.0]])
    optimizer.stopped = True
    outcome = Loop(problem, optimizer, problem.initial(1, 0), Budget(steps=9)).run()
    assert outcome.trace.stop_reason is StopReason.SELF_STOPPED


def test_the_batch_is_held_while_the_optimizer_holds_it():
    problem, optimizer = Noisy(), Scripted([[5.0]] * 6)
    optimizer.hold_batch = True
    Loop(problem, optimizer, problem.initial(1, 0), Budget(steps=4)).run()
    assert optimizer.batches == [0, 0, 0, 0]
    _, _, other = run([[5.0]] * 4)
    assert other.batches == [0, 1, 2, 3]


def test_a_loss_of_another_shape_is_named():
    class Wrong(Noisy):
        def evaluate(self, population, step=0, *, seed=0, gradient=False):
            return Evaluation(torch.zeros(5), None, 1, 0)

    with pytest.raises(gfopt.GfoptError, match=r"expected shape \(2,\), got \(5,\)"):
        run([[1.0, 2.0]], Wrong())


def test_gradients_are_refused_before_anything_starts():
    problem = gfopt.FunctionProblem(lambda x: x.abs().round().sum(-1), 2, differentiable=False)
    with pytest.raises(NotDifferentiableError, match="Adam needs a gradient"):
        gfopt.minimize(problem, "adam", budget={"evaluations": 10})


@pytest.mark.parametrize("limits", [{"backward_samples": 10}, {"flops": 10}, {"flops": 5, "backward_samples": 10}])
def test_a_budget_that_would_never_be_spent_is_refused(limits):
    problem = gfopt.FunctionProblem.named("sphere", 3)
    with pytest.raises(ConfigError, match="a unit that RandomSearch spends"):
        gfopt.minimize(problem, "random-search", budget=limits)


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"evaluations": 0},
        {"evaluations": -5},
        {"seconds": math.inf},
        {"steps": "ten"},
        {"evaluatoins": 5},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(limits):
    problem = gfopt.FunctionProblem.named("sphere", 3)
    with pytest.raises(ConfigError, match="budget"):
        gfopt.minimize(problem, "random-search", budget=limits)
