"""What the section `convergence` holds optimizers to, without running them all."""

from __future__ import annotations

import pytest

from gfopt import optimizers
from gfopt.bench import convergence
from gfopt.bench.floor import Hardware
from gfopt.bench.options import BenchOptions, bench_options
from gfopt.bench.run import run_bench


def test_it_runs_only_where_it_is_named():
    assert "convergence" not in BenchOptions().sections
    assert bench_options(only=["convergence"]).sections == ("convergence",)


def test_exceptions_name_optimizers_and_functions_that_there_are():
    for kind, function in convergence.EXCEPTIONS:
        assert kind in optimizers.names()
        assert function in convergence.GOALS
    for goal, why in convergence.EXCEPTIONS.values():
        assert goal > 0
        assert why


def test_a_goal_is_the_common_one_or_the_exception(monkeypatch):
    monkeypatch.setattr(convergence, "EXCEPTIONS", {("adam", "sphere"): (5.0, "of a test")})
    assert convergence.goal("adam", "sphere") == 5.0
    assert convergence.goal("adam", "rastrigin") == convergence.GOALS["rastrigin"]


def test_every_optimizer_is_run_on_everything_and_data_are_held_to_random_search(monkeypatch):
    monkeypatch.setattr(convergence.optimizers, "names", lambda usable: ("adam", "snes", "random-search"))
    monkeypatch.setattr(convergence, "reached", lambda kind, function, seed: float(seed))
    monkeypatch.setattr(convergence, "learned", lambda kind, dataset, seed: len(kind) + seed)
    monkeypatch.setattr("gfopt.bench.run.measure_hardware", lambda device: Hardware(1e11, 1e-9, 1e-9))
    results = run_bench(bench_options(only=["convergence"]))
    found = {(each.kind, each.task): each for each in results.reaches}
    assert len(found) == 3 * 5
    assert found["snes", "sphere"].loss == 1.0
    assert not found["snes", "sphere"].met
    assert found["snes", "iris"].goal == found["random-search", "iris"].loss == 14
    assert found["snes", "iris"].met
    assert results.from_dict(results.as_dict()) == results


@pytest.mark.slow
def test_an_optimizer_learns_more_than_guessing_does():
    assert convergence.learned("adam", "iris") < convergence.learned("random-search", "iris")


def test_a_function_is_charged_alike_for_all():
    assert convergence.reached("snes", "sphere") < 1e-3
