"""`minimize`: one run from Python, what it starts from and what it hands back."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import gfopt
from gfopt.errors import ConfigError, NetworkError, ShapeError
from gfopt.run import starting_rows
from gfopt.trace import BUDGET_UNITS, LEDGER_UNITS, Status, StopReason

MEASURED = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
SPEC = {"kind": "mlp", "hidden": [4], "norm": "batch"}
GA = {"optimizer": "deap-ga", "population": 8}


@pytest.fixture(scope="module")
def iris():
    return gfopt.SupervisedProblem(SPEC, "iris", batch_size=32, device="cpu")


@pytest.fixture(scope="module")
def sphere():
    return gfopt.FunctionProblem.named("sphere", 3)


def minimize(problem, optimizer="deap-ga", **more):
    if optimizer == "deap-ga":
        more.setdefault("population", 8)
    return gfopt.minimize(problem, optimizer, budget=more.pop("budget", {"evaluations": 80}), **more)


@pytest.fixture(scope="module")
def run(iris):
    return minimize(iris)


def test_what_a_run_holds(run, iris):
    assert run.status is Status.OK
    assert run.stop_reason is StopReason.BUDGET
    assert run.best.shape == (iris.dim,)
    assert run.best_loss == run.curve["loss"].iloc[-1] == float(iris.probe(run.best[None]).loss)
    assert run.scores == {
        f"{split}_{name}": value for split in iris.splits for name, value in iris.score(run.best, split).items()
    }
    assert set(LEDGER_UNITS) <= set(run.curve.columns)
    assert {"loss", "batch_loss", "test_accuracy"} <= set(run.curve.columns)
    last = run.curve.iloc[-1]
    assert all(last[unit] == getattr(run.ledger, unit) for unit in BUDGET_UNITS)
    assert run.curve["evaluations"].is_monotonic_increasing
    assert run.curve["loss"].is_monotonic_decreasing
    assert "best" not in repr(run).replace("best_loss", "")  # no wall of numbers


def test_the_module_is_the_network_that_was_scored(run, iris):
    module = run.module()
    assert not module.training
    x, y = iris.dataset.split("test")
    predicted = module(torch.tensor(np.array(x), dtype=torch.float32)).argmax(1).numpy()
    assert (predicted == y).mean() == run.scores["test_accuracy"]
    module.layers[0].weight.data.zero_()
    assert (run.module().layers[0].weight != 0).any()  # each call makes its own


def test_the_same_seed_gives_the_same_run_and_another_another(run, iris):
    again, other = minimize(iris), minimize(iris, seed=1)
    pd.testing.assert_frame_equal(
        run.curve.drop(columns=MEASURED), again.curve.drop(columns=MEASURED), check_exact=True
    )
    assert torch.equal(run.best, again.best)
    assert not torch.equal(run.best, other.best)


def test_optimizers_start_alike(iris):
    """Backprop starts where the first member of a population does."""
    rows = starting_rows(iris, 8, 5)
    assert torch.equal(starting_rows(iris, 1, 5), rows[:1])
    assert minimize(iris).curve["loss"].iloc[0] == minimize(iris, "adam").curve["loss"].iloc[0]


@pytest.mark.parametrize("optimizer", ["deap-ga", "adam", "pyswarms-gbest"])
def test_starting_from_a_vector_a_module_and_a_run(optimizer, iris, run):
    def first(start):
        return minimize(iris, optimizer, start=start, budget={"steps": 1}).curve["loss"].iloc[0]

    module = run.module()
    before = [value.clone() for value in module.state_dict().values()]
    given = run.best.clone()
    assert first(run) == first(run.best) == first(run.best.numpy()) == first(module) == run.best_loss
    assert torch.equal(run.best, given)
    assert all(torch.equal(a, b) for a, b in zip(before, module.state_dict().values(), strict=True))


def test_the_other_members_stand_around_the_start(iris, run):
    rows = starting_rows(iris, 200, 0, run)
    assert torch.equal(rows[0], run.best)
    away = (rows[1:] - rows[0]) / iris.scale
    assert away.std() == pytest.approx(0.1, rel=0.05)
    assert away.mean() == pytest.approx(0.0, abs=0.01)
    assert torch.equal(rows, starting_rows(iris, 200, 0, run))
    given = torch.randn(8, iris.dim)
    taken = starting_rows(iris, 8, 0, given)
    assert torch.equal(taken, given)
    assert taken.data_ptr() != given.data_ptr()


def test_going_on_from_a_run_never_loses(iris, run):
    further = minimize(iris, "adam", start=run, budget={"evaluations": 60})
    assert further.curve["loss"].iloc[0] == run.best_loss
    assert further.best_loss < run.best_loss


def test_it_stops_at_the_target(sphere):
    found = minimize(sphere, target=1.0, budget={"evaluations": 5000})
    assert found.stop_reason is StopReason.TARGET
    assert found.best_loss <= 1.0
    assert found.ledger.evaluations < 5000


@pytest.mark.parametrize("unit", [u for u in BUDGET_UNITS if u not in ("seconds", "backward_samples")])
def test_a_budget_in_any_unit_ends_the_run(unit, iris):
    limit = {"flops": 2e5, "forward_equivalents": 3000, "forward_samples": 3000}.get(unit, 24)
    ended = minimize(iris, budget=gfopt.Budget(**{unit: limit}))
    assert ended.stop_reason is StopReason.BUDGET
    spent = ended.curve[unit]
    assert spent.iloc[-1] >= limit > spent[ended.curve["steps"] < ended.ledger.steps].max()


def test_progress_is_told_at_each_logged_point(sphere):
    heard = []
    ended = minimize(sphere, progress=lambda spent, record: heard.append((spent, record.loss)))
    assert [loss for _, loss in heard] == ended.curve["loss"].tolist()
    shares = [spent for spent, _ in heard]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] >= 1


def test_a_subspace_has_the_network_behind_it(iris):
    problem = gfopt.SubspaceProblem(iris, 5)
    ended = minimize(problem)
    assert ended.best.shape == (5,)
    x = torch.randn(6, 4)
    assert torch.equal(ended.module()(x), iris.module(problem.expand(ended.best))(x))


def test_errors_of_the_users_own_loss_pass_through():
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if len(calls) > 20:
            raise KeyError("no such sensor")
        return outputs.square().sum(1)

    problem = gfopt.SupervisedProblem(nn.Linear(4, 3), "iris", loss=loss, device="cpu")
    with pytest.raises(KeyError, match="no such sensor"):
        minimize(problem)


def test_nan_everywhere_is_a_diverged_run(iris):
    problem = gfopt.FunctionProblem(lambda x: x.sum(-1) * math.nan, 2)
    ended = minimize(problem)
    assert ended.status is Status.DIVERGED
    assert ended.stop_reason is None
    assert ended.best_loss == math.inf
    assert "NaN" in ended.message


BUDGET = {"budget": {"steps": 1}}
OTHER = gfopt.build_network({"kind": "mlp", "in_features": 4, "hidden": [5], "out_features": 3, "norm": "batch"})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"optimizer": "adamm"}, ConfigError, "Did you mean 'adam'"),
        ({"optimizer": "adam", "lr": 0.1}, ConfigError, "lr: expected a known option"),
        ({"optimizer": "adam", "learning_rate": -1}, ConfigError, "learning_rate: expected a number greater than 0"),
        ({"budget": 100}, ConfigError, "budget: expected a Budget or a mapping"),
        ({"budget": None}, ConfigError, "budget: expected a Budget or a mapping"),
        ({"budget": {"evaluatons": 5}}, ConfigError, "Did you mean 'evaluations'"),
        ({"seed": 1.5}, ConfigError, "seed: expected a whole number, got 1.5"),
        ({"seed": True}, ConfigError, "seed: expected a whole number, got True"),
        ({"start": "warm"}, ConfigError, "start: expected a module, a tensor or a Run, got 'warm'"),
        ({"start": torch.full((39,), math.nan)}, ConfigError, "start: expected finite numbers, got `39 that are not`"),
        ({"start": torch.zeros(7, 39)}, ShapeError, r"start: expected shape \(39,\) or \(8, 39\), got \(7, 39\)"),
        ({"start": torch.zeros(40)}, ShapeError, r"got \(40,\)"),
        ({"start": OTHER}, NetworkError, r"start: layers.0.weight: expected shape \(4, 4\), got `\(5, 4\)`"),
        ({"start": nn.Linear(4, 3)}, NetworkError, "start: expected a parameter"),
        ({"problem": lambda x: x.sum()}, ConfigError, "problem: expected a Problem, got .* Wrap a function"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments, error, message, iris):
    with pytest.raises(error, match=message):
        minimize(**{"problem": iris, **BUDGET, **arguments})


def test_a_function_has_no_module(sphere):
    with pytest.raises(ConfigError, match="expected a problem with a network, got `a FunctionProblem`"):
        minimize(sphere, **BUDGET).module()
    with pytest.raises(ConfigError, match=r"start: expected a .* got `a module for a FunctionProblem`"):
        minimize(sphere, **BUDGET, start=nn.Linear(1, 1))
