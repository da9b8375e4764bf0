"""`tune`: the best of a fixed effort, on validation data and random numbers that no reported run has."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import gfopt
from gfopt.errors import ConfigError
from gfopt.trace import LEDGER_UNITS, Ledger
from gfopt.tuning import tune
from gfopt.tuning.spaces import search_space
from gfopt.tuning.trials import Trial, chosen, total, trial_rows
from gfopt.tuning.tuner import Effort, Tuner
from gfopt.tuning.view import ValidationView, metric_of

STRENGTH = {"mutation_strength": {"low": 1e-3, "high": 3.0, "log": True}}
CLOCKS = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
FIXED = {"population": 8, "tournament_size": 3, "crossover": "uniform"}


@pytest.fixture
def bowl():
    return gfopt.FunctionProblem.named("sphere", 3)


@pytest.fixture(scope="module")
def flowers():
    return gfopt.SupervisedProblem({"kind": "mlp", "hidden": [4]}, "iris", batch_size=32, device="cpu")


def tuned(problem, **changes):
    given = {"budget": {"evaluations": 40}, "trials": 4, "seeds": (5, 6), "space": STRENGTH, **FIXED}
    return tune(problem, "ga", **(given | changes))


# ------------------------------------------------------------------------------ what comes back


def test_the_best_trial_is_chosen_and_beats_or_is_the_defaults(bowl):
    found = tuned(bowl, trials=8)
    best = found.trials["objective"].idxmin()
    assert found.options == {**FIXED, "mutation_strength": found.trials.loc[best, "options.mutation_strength"]}
    assert found.metric == "loss"
    assert found.trials["options.mutation_strength"][0] == 0.2  # the default
    assert found.curve["best"].tolist() == found.trials["objective"].cummin().tolist()
    assert found.curve["best"].iloc[-1] <= found.curve["best"].iloc[0]
    values = found.trials[["seed_5", "seed_6"]].to_numpy()
    np.testing.assert_array_equal(np.median(values, axis=1), found.trials["objective"])


def test_a_trial_is_what_make_loop_gives_for_each_seed_and_the_chosen_options_run(bowl):
    found = tuned(bowl, trials=3)
    run = gfopt.minimize(bowl, "ga", budget={"evaluations": 40}, **found.options)
    assert run.status == "ok"
    assert run.best_loss not in found.trials[["seed_5", "seed_6"]].to_numpy()


def test_the_cost_is_that_of_all_trials(bowl):
    found = tuned(bowl)
    each = 2 * (8 + 6 * 6)  # two seeds; elites need no evaluation; the step that crosses the budget is charged
    assert found.trials["evaluations"].tolist() == [each] * 4
    assert found.cost.evaluations == 4 * each
    assert found.curve["evaluations"].tolist() == [each, 2 * each, 3 * each, 4 * each]
    assert found.curve.columns.tolist() == ["trial", "best", *LEDGER_UNITS]
    assert found.cost.peak_memory == found.curve["peak_memory"].iloc[-1] == found.trials["peak_memory"].max()
    assert found.cost.seconds == pytest.approx(found.trials["seconds"].sum())


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_the_same_arguments_give_the_same_tuning(bowl, sampler):
    one, other = (tuned(bowl, sampler=sampler) for _ in range(2))
    pd.testing.assert_frame_equal(one.trials.drop(columns=CLOCKS), other.trials.drop(columns=CLOCKS), check_exact=True)
    assert tuned(bowl, sampler=sampler, seed=1).trials["objective"][0] != one.trials["objective"][0]


def test_other_tuning_seeds_are_other_runs(bowl):
    assert tuned(bowl, seeds=(7, 8)).trials["objective"][0] != tuned(bowl).trials["objective"][0]


def test_options_that_exclude_each_other_are_drawn_anew(bowl):
    space = {"elites": {"low": 0, "high": 7}, "population": {"low": 4, "high": 64, "log": True}}
    found = tune(bowl, "ga", budget={"evaluations": 20}, trials=20, sampler="random", seeds=(5,), space=space)
    assert len(found.trials) == 20
    assert (found.trials["options.elites"] < found.trials["options.population"]).all()
    assert (found.trials["options.population"] <= 7).any()


# ------------------------------------------------------------------------------ fairness


class Spied(gfopt.SupervisedProblem):
    """Writes down which data and random numbers it is asked for."""

    def __init__(self, *arguments, **options):
        self.splits_scored, self.streams = set(), set()
        super().__init__(*arguments, **options)

    def score(self, parameters, split="test"):
        self.splits_scored.add(split)
        return super().score(parameters, split)

    def initial(self, count, seed):
        self.streams.add(("init", seed))
        return super().initial(count, seed)

    def evaluate(self, population, step=0, *, seed=0, gradient=False):
        self.streams.add(("data", seed))
        return super().evaluate(population, step, seed=seed, gradient=gradient)


def spied():
    problem = Spied({"kind": "mlp", "hidden": [4]}, "iris", batch_size=32, device="cpu")
    problem.streams.clear()
    return problem


def test_no_test_data_and_no_reported_stream():
    problem = spied()
    tuned(problem, trials=2, seeds=(0, 1), seed=0)  # the very numbers that the reported runs have
    assert problem.splits_scored == {"validation"}
    used = set(problem.streams)
    problem.streams.clear()
    for seed in (0, 1):
        gfopt.minimize(problem, "ga", budget={"evaluations": 40}, seed=seed, **FIXED)
    assert "test" in problem.splits_scored
    assert len(used) == 4
    assert not used & problem.streams


def test_all_optimizers_have_the_same_starts_and_batches():
    found = []
    for kind, space in (("ga", STRENGTH), ("adam", {"learning_rate": [0.1]})):
        problem = spied()
        tune(problem, kind, budget={"evaluations": 20}, trials=2, seeds=(0, 1), space=space)
        found.append(problem.streams)
    assert found[0] == found[1]


def test_the_test_split_is_out_of_reach(flowers):
    view = ValidationView(flowers)
    assert view.splits == ("validation",)
    with pytest.raises(ConfigError, match="expected validation data"):
        view.score(flowers.initial(1, 0)[0], "test")


def test_what_is_judged_by_is_the_problem_own(flowers):
    found = tuned(flowers, trials=2)
    assert found.metric == "validation_accuracy"
    assert found.trials["objective"].between(0, 1).all()
    own = gfopt.SupervisedProblem({"kind": "mlp"}, "iris", loss="f1_error", device="cpu")
    assert metric_of(own, ["loss", "accuracy"]) == "validation_loss"
    rows = gfopt.data.from_arrays(np.arange(40.0)[:, None], np.arange(40.0), validation_fraction=0.2)
    line = gfopt.SupervisedProblem({"kind": "mlp", "hidden": [2]}, rows, loss="mse", device="cpu")
    assert tuned(line, trials=2).metric == "validation_rmse"
    assert tuned(gfopt.SubspaceProblem(flowers, 5), trials=2).metric == "validation_accuracy"


def test_without_validation_data_it_is_refused():
    rows = gfopt.data.from_arrays(np.eye(20), np.arange(20) % 2, validation_fraction=0)
    for problem in (one := gfopt.SupervisedProblem({"kind": "mlp"}, rows, device="cpu"), gfopt.SubspaceProblem(one, 3)):
        with pytest.raises(ConfigError, match=r"validation data.*validation_fraction: 0.1"):
            tuned(problem)


# ------------------------------------------------------------------------------ what goes wrong


def test_a_diverged_trial_counts_as_the_worst():
    network = {"kind": "mlp", "hidden": [4], "activation": "relu"}
    problem = gfopt.SupervisedProblem(network, "iris", batch_size=32, device="cpu")
    found = tune(problem, "sgd", budget={"evaluations": 60}, trials=2, seeds=(5, 6), space={"learning_rate": [1e30]})
    assert found.trials["status"].tolist() == ["ok", "diverged"]
    assert found.trials["objective"][1] == 0.0
    assert found.options["learning_rate"] == found.trials["options.learning_rate"][0]


def test_an_error_of_the_user_own_code_passes_with_the_trial():
    def breaks(rows):
        if breaks.armed:
            raise ZeroDivisionError("mine")
        return rows.square().sum(1)

    breaks.armed = False
    problem = gfopt.FunctionProblem(breaks, 3)
    breaks.armed = True
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        tuned(problem)
    assert "In trial 0 of tuning ga, seed 5" in caught.value.__notes__[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": None, **FIXED, "mutation_strength": 0.1}, "ga: expected an option to tune, got `none`"),
        ({"space": {"mutation_strenth": [1]}}, "space: mutation_strenth: expected a known option"),
        ({"sampler": "grid"}, "sampler: expected one of tpe, random, qmc, got 'grid'"),
        ({"trials": 0}, "trials: expected a whole number of at least 1, got 0"),
        ({"trials": True}, "trials: expected a whole number of at least 1, got True"),
        ({"seeds": ()}, "seeds: expected at least one whole number, all different"),
        ({"seeds": (1, 1)}, "seeds: expected at least one whole number, all different"),
        ({"seeds": 3}, "seeds: expected several whole numbers"),
        ({"seed": 1.5}, "seed: expected a whole number, got 1.5"),
        ({"budget": {"evals": 3}}, "budget: expected a unit of the ledger, got 'evals'"),
        ({"budget": 3}, "budget: expected a Budget or a mapping"),
        ({"elitse": 3}, "elitse: expected a known option, got 'elitse'. Did you mean 'elites'?"),
    ],
)
def test_what_makes_no_sense_is_refused(bowl, changes, message):
    with pytest.raises(ConfigError) as caught:
        tuned(bowl, **changes)
    assert message in str(caught.value)


def test_a_problem_has_to_be_one():
    with pytest.raises(ConfigError, match="problem: expected a Problem"):
        tuned(lambda x: x)


# ------------------------------------------------------------------------------ going on


def tuner(problem, trials=5, sampler="tpe"):
    effort = Effort(trials, gfopt.Budget(evaluations=24), sampler, (5, 6))
    return Tuner(problem, "ga", FIXED, search_space("ga", FIXED, STRENGTH), effort, seed=0, name="bowl")


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_an_interrupted_tuning_goes_on_to_the_same_trials(bowl, sampler, monkeypatch):
    whole = tuner(bowl, sampler=sampler).run()
    kept = []
    again = tuner(bowl, sampler=sampler)
    trained = []
    real = again._run
    monkeypatch.setattr(again, "_run", lambda *given: (trained.append(given), real(*given))[1])
    known = [Trial.of_plain(one.plain()) for one in whole[:3]]
    found = again.run(known=known, keep=lambda so_far: kept.append(len(so_far)))
    assert [one.options for one in found] == [one.options for one in whole]
    assert [one.values for one in found] == [one.values for one in whole]
    assert len(trained) == 2 * 2
    assert kept == [4, 5]


# ------------------------------------------------------------------------------ trials by themselves


def trial(number, values, losses=(1.0,), status="ok"):
    ledger = Ledger(evaluations=number + 1, peak_memory=number)
    return Trial(number, {"x": number}, tuple(values), tuple(losses), status, ledger)


def test_the_median_decides_then_the_loss_then_the_earlier_one():
    accuracy = [trial(0, [0.1, 0.9, 0.5]), trial(1, [0.7, 0.7, 0.7], [2.0]), trial(2, [0.7, 0.7, 0.7], [1.0])]
    assert chosen(accuracy, "validation_accuracy").number == 2
    assert chosen(accuracy, "validation_rmse").number == 0
    assert chosen([trial(0, [1.0]), trial(1, [1.0])], "loss").number == 0
    rows = trial_rows(accuracy, "validation_accuracy", (1, 2, 3))
    assert [row["best"] for row in rows] == [0.5, 0.7, 0.7]
    assert list(rows[0])[:5] == ["trial", "options.x", "seed_1", "seed_2", "seed_3"]


def test_of_an_even_number_of_runs_one_that_diverged_spoils_the_median():
    assert chosen([trial(0, [math.inf, 0.0]), trial(1, [9.0, 9.0])], "loss").number == 1
    assert chosen([trial(0, [math.inf, math.inf]), trial(1, [math.inf, -math.inf])], "loss").median == math.inf


def test_ledgers_add_up_but_for_the_peak():
    summed = total([trial(n, [0.0]).ledger for n in range(4)])
    assert (summed.evaluations, summed.peak_memory) == (10, 3)


def test_global_random_numbers_stay_as_they_were(bowl):
    before = torch.get_rng_state().tolist(), str(np.random.get_state())  # noqa: NPY002
    tuned(bowl, trials=2)
    assert (torch.get_rng_state().tolist(), str(np.random.get_state())) == before  # noqa: NPY002
