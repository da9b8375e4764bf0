"""Measurements along a run: what is measured when, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import gfopt
from gfopt.diagnostics.kinds import COLUMNS, KINDS, DiagnosticsWarning, checked
from gfopt.diagnostics.quantities import QUANTITIES
from gfopt.diagnostics.recorder import POINTS, Recorder
from gfopt.diagnostics.updates import update_sizes
from gfopt.errors import ConfigError
from gfopt.trace import Ledger
from gfopt.types import Evaluation, Observation

MEASURED = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
OPTIMIZERS = {"adam": {}, "deap-ga": {"population": 8}, "pyswarms-gbest": {"particles": 8}}


@pytest.fixture(scope="module")
def iris():
    network = {"kind": "mlp", "hidden": [5, 4], "activation": "tanh", "norm": "batch"}
    return gfopt.SupervisedProblem(network, "iris", batch_size=32, device="cpu")


def train(problem, optimizer, kinds, **options):
    budget = {"evaluations": 60} if optimizer == "adam" else {"evaluations": 400}
    return gfopt.minimize(problem, optimizer, budget=budget, diagnostics=kinds, **OPTIMIZERS[optimizer], **options)


@pytest.fixture(scope="module")
def runs(iris):
    """One run of each optimizer with everything measured."""
    return {name: train(iris, name, list(KINDS)) for name in OPTIMIZERS}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_that_is_measured_is_the_same_bit_for_bit(iris, runs, optimizer):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    plain, seen = train(iris, optimizer, ()), runs[optimizer]
    pd.testing.assert_frame_equal(
        plain.curve.drop(columns=MEASURED), seen.curve.drop(columns=MEASURED), check_exact=True
    )
    assert torch.equal(plain.best, seen.best)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert plain.diagnostics.empty
    assert list(plain.diagnostics.columns) == COLUMNS


def test_every_quantity_is_measured_when_its_kind_says(runs):
    for optimizer, run in runs.items():
        found = run.diagnostics
        assert list(found.columns) == COLUMNS
        assert set(found["quantity"]) <= set(QUANTITIES)
        last = found["step"].max()
        for name, kind in KINDS.items():
            mine = found[found["quantity"].isin(kind.quantities)]
            steps = set(mine["step"])
            if name == "population" and optimizer == "adam":
                assert not steps
                continue
            assert set(kind.quantities) <= set(mine["quantity"]), name
            assert (0 in steps) == ("start" in kind.when), name
            assert (last in steps) == bool({"end", "points"} & set(kind.when)), name
            assert (len(steps) > 4) == ("points" in kind.when), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_points_are_few_and_on_the_curve(runs, optimizer):
    found, curve = runs[optimizer].diagnostics, runs[optimizer].curve
    points = found[["step", "forward_equivalents"]].drop_duplicates()
    assert 6 < len(points) <= POINTS + 2
    logged = set(zip(curve["steps"], curve["forward_equivalents"], strict=True))
    assert set(points.itertuples(index=False, name=None)) <= logged
    assert found["step"].max() == curve["steps"].max()


def test_the_quantity_of_a_run_has_no_layer(runs):
    found = runs["deap-ga"].diagnostics
    for quantity, rows in found[found["quantity"] != "invariant"].groupby("quantity"):
        assert (rows["layer"] == 0).all() == (QUANTITIES[quantity].per == "run"), quantity


def seen(population, losses, minibatch=0, *, batch=None, steps=1, spent=0.5, gradient=None, last=True):
    population, losses = torch.as_tensor(population), torch.as_tensor(losses, dtype=torch.float32)
    told = Evaluation(losses, gradient, 1, minibatch if batch is None else batch)
    return Observation(population, told, minibatch, 0, population[0], Ledger(steps=steps), spent, True, last)


def values(recorder, quantity, steps):
    return [row["value"] for row in recorder.rows if row["quantity"] == quantity and row["step"] == steps]


def test_the_update_of_backprop_is_that_of_consecutive_steps(iris):
    recorder = Recorder(iris, ["updates"])
    first = iris.initial(1, 0)
    second = first + 0.1 * iris.scale
    recorder.on_generation_end(seen(first, [1.0], gradient=first, last=False))
    recorder.on_generation_end(seen(second, [0.9], steps=2, gradient=first))
    wanted = [s for s in update_sizes(first[0], second[0], iris.groups) if s.name.endswith("weight")]
    assert values(recorder, "update_ratio", 2) == [size.update_ratio for size in wanted]
    assert len(wanted) == 3


def test_the_update_of_a_population_is_that_of_the_best_new_row_from_its_parent(iris):
    recorder = Recorder(iris, ["updates", "population"])
    parents = iris.initial(3, 0)
    child = parents[1] + 0.01 * iris.scale
    recorder.on_generation_end(seen(parents, [3.0, 2.0, 1.0], last=False))
    # Row 2 survives on the new batch: lowest, but a copy takes no step.
    rows = torch.stack([parents[2], child, parents[0] + 0.02 * iris.scale])
    recorder.on_generation_end(seen(rows, [0.1, 0.5, 0.9], 1, steps=2))
    wanted = [s for s in update_sizes(parents[1], child, iris.groups) if s.name.endswith("weight")]
    assert values(recorder, "update_ratio", 2) == [size.update_ratio for size in wanted]
    assert values(recorder, "parents_represented", 2) == [1.0]


def test_generations_of_two_batches_are_compared_on_the_later(iris):
    recorder = Recorder(iris, ["population"])
    parents = iris.initial(4, 0)
    children = parents + 0.01 * iris.scale
    now = iris.evaluate(children, 1).loss
    recorder.on_generation_end(seen(parents, [0.0] * 4, last=False))  # losses that nothing can beat
    recorder.on_generation_end(seen(children, now, 1, steps=2))
    then = iris.evaluate(parents, 1).loss
    assert values(recorder, "improving_share", 2) == [float((now < then).float().mean())]


def test_what_survives_unchanged_belongs_to_the_generation():
    problem = gfopt.FunctionProblem.named("sphere", 2)
    recorder = Recorder(problem, ["population"])
    parents = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    recorder.on_generation_end(seen(parents, [1.0, 2.0, 3.0], last=False))
    recorder.on_generation_end(seen(parents[1:] + 0.1, [1.5, 2.5], steps=2, last=False))  # row 0 is an elite
    recorder.on_generation_end(seen(parents[:1] + 0.1, [0.5], steps=3))
    assert values(recorder, "improving_share", 3) == [1.0]
    assert values(recorder, "step_size", 3) == pytest.approx([0.1 / float(problem.scale[0])])


def test_a_function_has_a_population_and_nothing_of_a_network(sphere_run):
    found = set(sphere_run.diagnostics["quantity"])
    assert found == {*KINDS["population"].quantities, "gradient_cosine"}


@pytest.fixture
def sphere_run():
    problem = gfopt.FunctionProblem.named("sphere", 3)
    return train(problem, "deap-ga", list(KINDS))


def test_a_subspace_is_seen_through_to_its_network(iris):
    run = train(gfopt.SubspaceProblem(iris, 6), "deap-ga", list(KINDS))
    found = run.diagnostics
    assert set(found["quantity"]) == set(QUANTITIES)
    assert set(found[found["quantity"] == "gradient_norm"]["layer"]) == {1, 2, 3}


def test_a_network_without_a_gradient_has_no_rows_of_one():
    network = {"kind": "mlp", "hidden": [4], "activation": "step"}
    run = train(gfopt.SupervisedProblem(network, "iris", batch_size=32, device="cpu"), "deap-ga", list(KINDS))
    found = set(run.diagnostics["quantity"])
    assert {"saturation_fraction", "fitness_spread", "diversity", "input_mean_drift"} <= found
    assert not found & {"gradient_norm", "backward_gain", "ics_l2", "gradient_cosine"}


def test_a_measurement_that_fails_is_one_warning_and_no_crash(iris, monkeypatch):
    def broken(*_arguments, **_options):
        torch.rand(3), np.random.rand()  # noqa: NPY002
        raise RuntimeError("too many hooks")

    monkeypatch.setattr(gfopt.SupervisedProblem, "training_view", broken)
    before = torch.get_rng_state()
    with pytest.warns(DiagnosticsWarning, match="no gradient-flow, because of RuntimeError: too many hooks") as said:
        run = train(iris, "deap-ga", ["gradient-flow", "updates"])
    assert len(said) == 1
    assert run.status == "ok"
    assert set(run.diagnostics["quantity"]) == {"update_ratio", "effective_angle"}
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generation_without_a_finite_loss_is_not_measured(iris):
    recorder = Recorder(iris, list(KINDS))
    rows = iris.initial(2, 0)
    recorder.on_generation_end(seen(rows, [torch.inf, torch.inf]))
    assert {row["quantity"] for row in recorder.rows} == {"fitness_spread", "relative_spread", "tie_share"}


def test_names_are_checked_and_put_in_order():
    assert checked(["updates", "gradient-flow", "updates"]) == ("gradient-flow", "updates")
    with pytest.raises(ConfigError, match=r"1: expected the name of a diagnostic, got 'satration'. Did you mean 'satu"):
        checked(["updates", "satration"])
    with pytest.raises(ConfigError, match=r"diagnostics: expected a list of names, got 'updates'"):
        gfopt.minimize(
            gfopt.FunctionProblem.named("sphere", 2), "deap-ga", budget={"evaluations": 9}, diagnostics="updates"
        )


def test_every_quantity_belongs_to_one_kind():
    named = [quantity for kind in KINDS.values() for quantity in kind.quantities]
    assert sorted(named) == sorted(QUANTITIES)
