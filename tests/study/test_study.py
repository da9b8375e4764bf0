"""A study from its definition to its folder: the same numbers however it is run, and failures as rows."""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

import gfopt
from gfopt.diagnostics.kinds import DiagnosticsWarning
from gfopt.errors import ConfigError, SlowPathWarning, StoreError
from gfopt.store import ResultsFolder
from gfopt.study.study import default_workers

MEASURED = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
GA = {"ga": {"kind": "deap-ga", "population": 8}}


@pytest.fixture(scope="module")
def flowers():
    """150 rows of four numbers, the classes `a` and `b`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 4))
    return gfopt.data.from_arrays(x, np.where(x[:, 0] + x[:, 1] > 0, "b", "a"), test_fraction=0.2)


def small(problem, optimizers=None, *, repeats=1, budget=None, **more):
    """A study of one problem, tiny."""
    limits = budget or {"evaluations": 40}
    return gfopt.Study({"mine": problem}, optimizers or GA, repeats=repeats, budget=limits, seed=1, **more)


def numbers(results):
    """What must not depend on how a study is run: curves, then runs, without clocks."""
    curves = results.curves.drop(columns=MEASURED).sort_values(["run", "steps"]).reset_index(drop=True)
    runs = results.runs.drop(columns=[*MEASURED, "workers"]).sort_values("run").reset_index(drop=True)
    return curves, runs


def vectors(results):
    return {key: load_file(results.path / "runs" / key / "best.safetensors")["vector"] for key in results.runs["run"]}


def assert_same(one, other):
    for a, b in zip(numbers(one), numbers(other), strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    a, b = vectors(one), vectors(other)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[key], b[key]) for key in a)


def times(folder):
    """When each run's files were last written, by path."""
    return {file: file.stat().st_mtime_ns for file in (Path(folder) / "runs").rglob("*")}


# ------------------------------------------------------------------------------ however it is run


def test_the_results_hold_every_run(finished):
    assert len(finished.runs) == 12
    assert (finished.runs["status"] == "ok").all(), finished.runs["message"].tolist()
    assert (finished.runs["stop_reason"] == "budget").all()
    assert finished.curves.groupby("run").size().min() > 3
    assert finished.environment["runs"] == 12
    files = {file.name for file in finished.path.iterdir()}
    assert files == {"study.yaml", "environment.json", "runs", "runs.parquet", "curves.parquet", "diagnostics.parquet"}


def surroundings():
    """What a library has no business to change."""
    return {
        "handlers": list(logging.root.handlers),
        "level": logging.root.level,
        "random": random.getstate(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002 - the global generator is what is looked at
        "torch": torch.get_rng_state().tolist(),
        "environment": dict(os.environ),
        "threads": torch.get_num_threads(),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "interrupt": signal.getsignal(signal.SIGINT),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
    }


@pytest.fixture(scope="module")
def alone(study_file, tmp_path_factory):
    """The study run by one worker, and what had changed around it."""
    before = surroundings()
    study = gfopt.load_study(study_file, allow_code=True)  # which looks for modules beside the file
    study.forecast()
    results = study.run(tmp_path_factory.mktemp("alone") / "tiny", workers=1)
    after = surroundings()
    return results, [name for name in before if before[name] != after[name]]


def test_one_worker_and_two_give_the_same_numbers_bit_for_bit(finished, alone):
    results, _ = alone
    assert (results.runs["workers"] == 1).all()
    assert (finished.runs["workers"] == 2).all()
    assert_same(results, finished)


def test_running_changes_nothing_of_the_process(alone):
    assert alone[1] == []


def test_no_worker_at_all_gives_them_too(finished, study_file, tmp_path, inline):
    assert_same(gfopt.load_study(study_file).run(tmp_path / "inline"), finished)


def test_a_second_call_computes_nothing_and_a_removed_run_is_made_again(finished, study_file, tmp_path, inline):
    folder = tmp_path / "again"
    shutil.copytree(finished.path, folder)
    before = times(folder)
    study = gfopt.load_study(study_file)
    assert_same(study.run(folder), finished)
    assert times(folder) == before
    lost = finished.runs["run"].iloc[4]
    shutil.rmtree(folder / "runs" / lost)
    heard = []
    assert_same(study.run(folder, progress=heard.append), finished)
    after = times(folder)
    changed = {path.relative_to(folder / "runs").parts[0] for path in after if after[path] != before[path]}
    assert changed == {lost}
    assert (heard[0].total, heard[0].finished, heard[0].skipped) == (12, 11, 11)
    assert (heard[-1].finished, heard[-1].skipped) == (12, 11)
    assert heard[-1].counts == {"ok": 12}


def test_more_repeats_add_runs_and_fewer_leave_them(finished, study_file, tmp_path, inline):
    folder = tmp_path / "more"
    shutil.copytree(finished.path, folder)
    before = times(folder)
    more = gfopt.load_study(study_file, ["repeats=3"]).run(folder)
    assert len(more.runs) == 18
    assert set(finished.runs["run"]) < set(more.runs["run"])
    assert {path: stamp for path, stamp in times(folder).items() if path in before} == before
    fewer = gfopt.load_study(study_file, ["repeats=1"]).run(folder)
    assert len(fewer.runs) == 6
    assert (fewer.runs["repeat"] == 0).all()
    assert len(list((folder / "runs").iterdir())) == 18  # nobody asked to remove them


def test_fresh_starts_over(finished, study_file, tmp_path, inline):
    folder = tmp_path / "fresh"
    shutil.copytree(finished.path, folder)
    before = times(folder)
    results = gfopt.load_study(study_file).run(folder, fresh=True)
    assert not set(times(folder).values()) & set(before.values())
    assert_same(results, finished)


def test_optimizers_and_grid_values_are_paired(finished):
    """Every optimizer of a problem and repeat starts at the same loss; where the shapes agree, at the same weights."""
    start = finished.curves.groupby("run").first()
    start = start.assign(norm=start["network.norm"].fillna(""))
    by_start = start.groupby(["problem", "norm", "repeat"])
    assert (by_start["optimizer"].nunique() == 2).all()
    assert (by_start["loss"].nunique() == 1).all()
    flowers = start[start["problem"] == "flowers"]
    assert flowers.groupby(["norm", "repeat"])["loss"].first().nunique() == 4  # other repeats, other starts


def test_streams_depend_on_seed_problem_and_repeat_alone(study_file):
    study = gfopt.load_study(study_file, ["optimizers.adam.learning_rate={grid: [0.1, 0.2]}"])
    streams = {}
    for spec in study.prepare("cpu"):
        streams.setdefault((spec.problem.name, spec.repeat), set()).add(tuple(spec.streams().items()))
    assert len(streams) == 4
    assert all(len(found) == 1 for found in streams.values())
    assert len(set().union(*streams.values())) == 4
    other = gfopt.load_study(study_file, ["seed=4"]).prepare("cpu")[0].streams()
    assert not set(other.values()) & set(study.prepare("cpu")[0].streams().values())
    assert len(set(other.values())) == 3


def test_the_split_depends_on_the_seed_of_the_study_alone(study_file):
    def data(*changes):
        study = gfopt.load_study(study_file, changes)
        study.prepare("cpu")
        return next(d for d in study._parts("cpu").datasets.values() if d is not None).fingerprint()

    assert data() == data("repeats=3", "problems.flowers.network.hidden=[5]", "budget.forward_equivalents=10")
    assert data() != data("seed=4")


def test_minibatches_and_starts_are_shared_by_grid_values(flowers, tmp_path, inline):
    """Two cells that differ in name only would train alike: the streams know nothing of the grid."""
    study = small(
        {
            "dataset": flowers,
            "network": {"kind": "mlp", "hidden": [4]},
            "batch_size": 16,
            "bn_mode": {"grid": ["batch", "running"]},  # changes nothing without batch normalization
        }
    )
    results = study.run(tmp_path / "out")
    one, other = (group.drop(columns=["run", "bn_mode", *MEASURED]) for _, group in results.curves.groupby("bn_mode"))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True), check_exact=True)


# ------------------------------------------------------------------------------ objects of the user's


def make(width=4):
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.inner = make(width)

    def forward(self, x):
        return self.inner(x)


def hinge(outputs, targets):
    """One loss per row."""
    right = outputs.gather(1, targets[:, None])[:, 0]
    return torch.relu(1 + outputs.max(dim=1).values - right)


FACTORIES = {
    "function": make,
    "class": Net,
    "partial": partial(make, width=5),
    "lambda": lambda: Net(3),
    "module": Net(4),
}


@pytest.mark.parametrize("network", FACTORIES.values(), ids=FACTORIES)
def test_own_networks_data_and_losses(network, flowers, tmp_path, inline):
    study = small({"dataset": flowers, "network": network, "loss": hinge}, {**GA, "adam": {"kind": "adam"}})
    results = study.run(tmp_path / "out")
    assert results.runs["status"].tolist() == ["ok", "ok"], results.runs["message"].tolist()
    assert {"validation_accuracy", "test_accuracy", "test_loss"} <= set(results.runs.columns)
    for key in results.runs["run"]:
        module = results.module(key)
        wanted = network() if not isinstance(network, nn.Module) else network
        assert type(module) is type(wanted)
        assert not module.training
        x, y = flowers.split("test")
        found = module(torch.tensor(x, dtype=torch.float32)).argmax(1).numpy()
        assert (found == y).mean() == pytest.approx(results.runs.set_index("run").loc[key, "test_accuracy"])


def test_own_objects_reach_real_workers_and_the_report(flowers, tmp_path):
    width = 3

    class Local(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, width)
            self.head = nn.Linear(width, 2)

        def forward(self, x):
            return self.head(torch.sigmoid(self.layer(x)))

    study = small(
        {"dataset": flowers, "network": Local, "loss": lambda o, t: hinge(o, t) / width},
        {**GA, "adam": {"kind": "adam"}},
    )
    results = study.run(tmp_path / "out", workers=2)
    assert (results.runs["status"] == "ok").all(), results.runs["message"].tolist()
    assert type(results.module(results.best_run())) is Local
    page = Path(gfopt.write_report(results, tmp_path / "report.html"))
    assert "mine" in page.read_text(encoding="utf-8")
    assert results.verdicts()
    again = gfopt.load_results(tmp_path / "out")
    key = again.best_run()
    with pytest.raises(ConfigError, match="a module of the same structure"):
        again.module(key)
    module = again.module(key, Local())
    x = torch.randn(5, 4)
    assert torch.equal(module(x), results.module(key)(x))


def test_a_network_of_the_users_is_not_changed(flowers, tmp_path, inline):
    network = Net(4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    small({"dataset": flowers, "network": network}).run(tmp_path / "out")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Bare(nn.Module):
    """A network without a layer that has weights."""

    def __init__(self):
        super().__init__()
        self.direction = nn.Parameter(torch.randn(4))

    def forward(self, x):
        along = x @ self.direction[:, None]
        return torch.cat([along, -along], dim=1)


def test_a_network_without_layers_has_results_and_no_profile(flowers, tmp_path, inline):
    results = small({"dataset": flowers, "network": Bare}).run(tmp_path / "out")
    assert results.runs["status"].tolist() == ["ok"]
    assert results.diagnostics.empty
    assert Path(gfopt.write_report(results, tmp_path / "report.html")).exists()


def test_a_network_that_fails_in_the_profile_only_is_said_and_loses_nothing(flowers, tmp_path, inline, monkeypatch):
    def fails(*_):
        raise RuntimeError("too many hooks")

    monkeypatch.setattr("gfopt.diagnostics.subject.gradient_flow", fails)
    with pytest.warns(DiagnosticsWarning) as said:
        results = small({"dataset": flowers, "network": make}, repeats=2).run(tmp_path / "out")
    assert results.runs["status"].tolist() == ["ok", "ok"]
    assert [str(warning.message) for warning in said] == [
        "mine, repeat 0: no gradient-flow at the start, because of RuntimeError: too many hooks",
        "mine, repeat 1: no gradient-flow at the start, because of RuntimeError: too many hooks",
        "no gradient-flow in 2 runs, because of RuntimeError: too many hooks",
    ]
    assert results.diagnostics.empty


def numpy_loss(outputs, targets):
    """One number, by a way that torch cannot batch."""
    return float(np.square(outputs.numpy()).mean())


def test_what_makes_a_study_slow_is_said_once(flowers, tmp_path, inline):
    with pytest.warns(SlowPathWarning) as caught:
        small({"dataset": flowers, "network": make, "loss": numpy_loss}, repeats=3).run(tmp_path / "out")
    assert ["numpy_loss" in str(warning.message) for warning in caught] == [True]


def test_modules_of_cells_that_look_alike_are_told_apart(flowers, tmp_path, inline):
    """`1` stands in `16` and `make` in `remake`: the network of a run is found by its key."""

    def remake():
        return make(6)

    results = small({"dataset": flowers, "network": {"grid": [make, remake]}}).run(tmp_path / "out")
    widths = {row["network"]: results.module(row["run"])[0].out_features for row in results.runs.to_dict("records")}
    assert sorted(widths.values()) == [4, 6]
    assert next(width for name, width in widths.items() if name.endswith("remake")) == 6


def test_values_of_a_grid_that_have_the_same_name_are_refused(flowers, tmp_path):
    study = small({"dataset": flowers, "network": {"grid": [lambda: make(3), lambda: make(4)]}})
    with pytest.raises(ConfigError, match="values of a grid that have different names"):
        study.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("grid", "column"),
    [
        ({"loss": {"grid": ["cross_entropy", "classification_error"]}}, "problem.loss"),
        ({"budget": {"evaluations": {"grid": [16, 32]}}}, "problem.budget.evaluations"),
        ({"batch_size": {"grid": [16, 32]}}, "batch_size"),
    ],
    ids=["loss", "budget", "batch"],
)
def test_every_grid_has_a_column_of_its_own(grid, column, flowers, tmp_path, inline):
    results = small({"dataset": flowers, "network": make, **grid}).run(tmp_path / "out")
    values, *_ = grid.values()
    wanted = values["grid"] if "grid" in values else values["evaluations"]["grid"]
    assert results.runs[column].tolist() == wanted
    assert results.grid_columns == [column]
    assert set(results.curves[column]) == set(wanted)
    assert results.runs["loss"].map(math.isfinite).all()
    assert len(results.summary()) == 2


# ------------------------------------------------------------------------------ failures are data


FAILING = """
import os, signal, sys
from torch import nn

class Failing(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.layer = how, nn.Linear(4, 3)

    def forward(self, x):
        if os.getpid() != int(os.environ["GFOPT_TEST_PARENT"]):
            if self.how == "raise":
                raise RuntimeError("the sensor is unplugged")
            if self.how == "exit":
                os._exit(3)
            if self.how == "quit":
                sys.exit("enough")
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(x)
"""
FAILING_STUDY = """
repeats: 1
budget: {evaluations: 24}
problems:
  mine:
    dataset: {name: iris}
    network: {module: "failing_beside:Failing", how: {grid: [raise, exit, quit, kill, well]}}
optimizers: {ga: {kind: deap-ga, population: 8}}
"""


def test_failures_are_rows_and_only_they_are_tried_again(tmp_path, request, monkeypatch):
    """In worker processes, with a network of the user's that lies beside the study file."""
    (tmp_path / "failing_beside.py").write_text(FAILING)
    (tmp_path / "s.yaml").write_text(FAILING_STUDY)
    monkeypatch.setenv("GFOPT_TEST_PARENT", str(os.getpid()))
    study = gfopt.load_study(tmp_path / "s.yaml", allow_code=True)
    results = study.run(tmp_path / "out", workers=2)
    found = results.runs.set_index("network.how")
    assert found["status"].to_dict() == {
        "raise": "crashed", "exit": "killed", "quit": "crashed", "kill": "killed", "well": "ok",
    }  # fmt: skip
    assert found.loc["raise", "message"].endswith("RuntimeError: the sensor is unplugged")
    assert "exit code 3" in found.loc["exit", "message"]
    assert "enough" in found.loc["quit", "message"]
    assert "SIGKILL" in found.loc["kill", "message"]
    assert "in forward" in ResultsFolder(results.path).read_run(found.loc["raise", "run"])["error"]["traceback"]
    assert len(results.summary()) == 5
    with pytest.raises(ConfigError, match="whose status is crashed"):
        results.module(found.loc["raise", "run"])
    before, heard = times(tmp_path / "out"), []
    request.getfixturevalue("inline")  # in this process all goes well
    again = study.run(tmp_path / "out", progress=heard.append)
    assert (again.runs["status"] == "ok").all()
    assert (heard[0].skipped, heard[-1].finished) == (1, 5)
    after, well = times(tmp_path / "out"), tmp_path / "out" / "runs" / found.loc["well", "run"]
    assert {path for path in after if after[path] == before.get(path)} >= {well, *well.iterdir()}
    assert not {path for path in after if path.suffix == ".json" and after[path] == before.get(path)} - set(
        well.iterdir()
    )
    assert type(again.module(found.loc["raise", "run"])).__name__ == "Failing"


def test_a_study_in_which_everything_fails_has_results_too(flowers, tmp_path, inline, monkeypatch):
    def fails(*_):
        raise MemoryError("too large")

    monkeypatch.setattr("gfopt.study.study.execute", fails)
    results = small({"dataset": flowers, "network": make}, {**GA, "adam": {"kind": "adam"}}).run(tmp_path / "out")
    assert results.runs["status"].tolist() == ["crashed", "crashed"]
    assert results.runs["message"].tolist() == ["MemoryError: too large"] * 2
    assert results.curves.empty
    assert len(results.summary()) == 2
    assert any("crashed" in sentence for sentence in results.verdicts())
    assert "crashed" in Path(gfopt.write_report(results, tmp_path / "r.html")).read_text(encoding="utf-8")
    assert "2 crashed" in repr(results)
    with pytest.raises(ConfigError, match="at least one run that ended ok"):
        results.best_run()


def nan_always(outputs, targets):
    return outputs.sum(dim=1) * math.nan


def nan_for_some(outputs, targets):
    """NaN for every member whose first output is positive on average."""
    each = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return torch.where(outputs[:, 0].mean() > 0, torch.nan, each)


@pytest.mark.parametrize("optimizer", [{"kind": "deap-ga", "population": 8}, {"kind": "adam"}], ids=["ga", "adam"])
def test_a_loss_that_is_always_nan_ends_diverged(optimizer, flowers, tmp_path, inline):
    results = small({"dataset": flowers, "network": make, "loss": nan_always}, {"it": optimizer}).run(tmp_path / "out")
    assert results.runs["status"].tolist() == ["diverged"]
    assert "NaN or infinite" in results.runs["message"].iloc[0]
    assert len(results.summary()) == 1
    assert results.verdicts()
    before = times(tmp_path / "out")
    small({"dataset": flowers, "network": make, "loss": nan_always}, {"it": optimizer}).run(tmp_path / "out")
    assert times(tmp_path / "out") == before  # an end like any other, not tried again


def test_members_whose_loss_is_nan_never_win(flowers, tmp_path, inline):
    study = small({"dataset": flowers, "network": make, "loss": nan_for_some}, repeats=3, budget={"evaluations": 80})
    results = study.run(tmp_path / "out")
    assert (results.runs["status"] == "ok").all()
    assert (results.runs["nonfinite"] > 0).any()
    assert np.isfinite(results.runs["loss"]).all()
    for key in results.runs["run"]:
        outputs = results.module(key)(torch.tensor(flowers.x_train, dtype=torch.float32))
        assert outputs[:, 0].mean() <= 0


def test_what_cannot_be_stored_ends_the_study(flowers, tmp_path, inline, monkeypatch):
    tried = []

    def full(_, key, *__):
        tried.append(key)
        raise StoreError("no space left")

    monkeypatch.setattr("gfopt.store.ResultsFolder.write_run", full)
    with pytest.raises(StoreError, match="no space left"):
        small({"dataset": flowers, "network": make}).run(tmp_path / "out")
    assert len(tried) == 1


# ------------------------------------------------------------------------------ refused, or left alone


def test_another_study_in_the_folder_is_refused_and_untouched(finished, study_file, tmp_path):
    folder = tmp_path / "taken"
    shutil.copytree(finished.path, folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=r"taken: seed: expected the study that is there, with 3, got 4"):
        gfopt.load_study(study_file, ["seed=4"]).run(folder)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"problems": ["mine"]}, "a mapping from names to problems"),
        ({"optimizers": ["adam"]}, "a mapping from names to optimizers"),
        ({"optimizers": "adam"}, "a mapping from names to optimizers"),
        ({"budget": 1000}, "a mapping of units to limits"),
        ({"budget": None}, "expected a budget, got none for mine"),
        ({"repeats": 0}, "repeats: expected at least 1, got 0"),
        ({"theads": 2}, "Did you mean 'threads'"),
        ({"problems": {"mine": {"network": make, "dataset": ([[1.0]], [0])}}}, "problems.mine.dataset: expected a map"),
        ({"problems": {"mine": {"network": make, "dataset": object()}}}, "gfopt.data.from_arrays makes one"),
        ({"problems": {"mine": {"network": 5, "dataset": "iris"}}}, "an nn.Module or a factory of one"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments, message, tmp_path):
    given = {"problems": {"mine": {"network": make, "dataset": "iris"}}, "optimizers": GA, "budget": {"steps": 1}}
    with pytest.raises(gfopt.GfoptError, match=message):
        gfopt.Study(**{**given, **arguments}).run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_objects_that_cannot_travel_are_refused_before_anything_starts(flowers, tmp_path):
    lock = threading.Lock()

    def guarded():
        with lock:
            return make()

    study = small({"dataset": flowers, "network": guarded})
    with pytest.raises(ConfigError, match=r"problems\.mine\.network: expected an object that can be sent to a worker"):
        study.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_workers_are_checked_before_anything_is_written(flowers, tmp_path):
    with pytest.raises(ConfigError, match="workers: expected a whole number of at least 1, got 0"):
        small({"dataset": flowers, "network": make}).run(tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_budgets_may_be_given_as_objects(flowers):
    mine = {"dataset": flowers, "network": make, "budget": gfopt.Budget(steps=3)}
    study = gfopt.Study(
        {"mine": mine, "other": {"function": {"name": "sphere", "dim": 2}}}, GA, budget=gfopt.Budget(evaluations=9)
    )
    assert [cell.budget.limits() for cell in study.config.problem_cells] == [{"steps": 3}, {"evaluations": 9}]


def test_a_study_moves_with_its_data(tmp_path, inline):
    """The folder of a data file is no part of a study, its content is."""
    text = (
        "name: file\nrepeats: 1\nbudget: {evaluations: 16}\n"
        "problems: {mine: {dataset: {path: d.csv}, network: {kind: mlp, hidden: [3]}}}\n"
        "optimizers: {ga: {kind: deap-ga, population: 8}}\n"
    )
    rows = ["a,b,y", *(f"{i},{i * 7 % 11},{'uv'[i % 2]}" for i in range(60))]
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        place.mkdir()
        (place / "s.yaml").write_text(text)
        (place / "d.csv").write_text("\n".join(rows))
    first = gfopt.load_study(here / "s.yaml").run(tmp_path / "out")
    assert first.study["problems"]["mine"]["dataset"]["path"] == "d.csv"
    assert first.study["files"] == {"mine": str(here / "d.csv")}
    before = times(tmp_path / "out")
    assert_same(gfopt.load_study(there / "s.yaml").run(tmp_path / "out"), first)
    assert times(tmp_path / "out") == before
    (there / "d.csv").write_text("\n".join([*rows, "60,1,v"]))
    other = gfopt.load_study(there / "s.yaml").run(tmp_path / "out")
    assert not set(other.runs["run"]) & set(first.runs["run"])


def test_workers_by_default():
    assert default_workers("cuda") == 1
    assert default_workers("cpu") >= 1
    assert (
        repr(small({"function": {"name": "sphere", "dim": 2}}, repeats=2, name="mine"))
        == "Study('mine': 1 problems x 1 optimizers x 2 repeats = 2 runs)"
    )
