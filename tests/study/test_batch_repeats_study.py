"""A study whose repeats train in lock step has the results of one whose repeats do not, and says what it shares."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gfopt
from gfopt.errors import StoreError
from gfopt.store import ResultsFolder
from gfopt.study import study as running
from gfopt.study.executors import RunKilled
from gfopt.study.spec import tasks

CLOCKS = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
TEXT = """
name: many
seed: 3
repeats: 3
budget: {evaluations: 60}
problems:
  flowers:
    dataset: {name: iris}
    network: {kind: mlp, hidden: [4], norm: {grid: [none, layer]}}
    batch_size: {grid: [32, null]}
optimizers:
  ga: {kind: deap-ga, population: 8}
  adam: {kind: adam}
report: {baseline: adam}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "many.yaml"
    path.write_text(TEXT)
    return path


def together(file, *changes):
    return gfopt.load_study(file, ["batch_repeats=true", *changes])


@pytest.fixture(scope="module")
def results(file, tmp_path_factory):
    """In this process; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gfopt.study.study.LocalExecutor", Inline)
        return together(file).run(tmp_path_factory.mktemp("together") / "many")


class Inline:
    """An executor that does each task at once, here."""

    def __init__(self, workers, **_): ...

    def __enter__(self): ...

    def __exit__(self, *_): ...

    def submit(self, fn, *arguments):
        future = Future()
        future.set_result(fn(*arguments))
        return future


def numbers(results):
    """Curves and runs in the order of the study, without keys and clocks."""
    who = ["problem", "network.norm", "batch_size", "optimizer", "repeat"]
    order = {key: number for number, key in enumerate(results.runs["run"])}
    curves = results.curves.assign(run=results.curves["run"].map(order)).sort_values(["run", "steps"])
    runs = results.runs.drop(columns=["run", "workers", "seconds_shared", *CLOCKS])
    return runs.set_index(who), curves.drop(columns=CLOCKS).reset_index(drop=True)


def test_the_results_are_those_of_separate_runs(results, file, tmp_path, inline):
    alone = gfopt.load_study(file).run(tmp_path / "alone")
    assert (results.runs["status"] == "ok").all()
    assert len(results.runs) == 2 * 2 * 2 * 3
    for found, expected in zip(numbers(results), numbers(alone), strict=True):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    free = [table[table["optimizer"] == "ga"] for table in (results.curves, alone.curves)]
    losses = [table.sort_values(["network.norm", "batch_size", "repeat", "steps"])["loss"] for table in free]
    assert losses[0].tolist() == losses[1].tolist()  # bit for bit


def test_worker_processes_give_them_too(results, file, tmp_path):
    small = ["problems.flowers.batch_size=32", "problems.flowers.network.norm=none"]
    found = together(file, *small).run(tmp_path / "out", workers=2)
    expected = results.runs[(results.runs["batch_size"] == 32) & (results.runs["network.norm"] == "none")]
    columns = ["optimizer", "repeat", "loss", "evaluations", "seconds_shared"]
    sort = ["optimizer", "repeat"]
    one, other = (table[columns].sort_values(sort).reset_index(drop=True) for table in (found.runs, expected))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_their_seconds_are_marked_and_left_out(results, file, tmp_path, inline):
    assert results.runs["seconds_shared"].dtype == bool
    assert results.runs["seconds_shared"].all()
    assert (results.runs["seconds"] > 0).all()
    assert "seconds" not in results.summary()
    assert any("Seconds are left out of every comparison" in sentence for sentence in results.verdicts())
    page = Path(gfopt.write_report(results, tmp_path / "r.html")).read_text(encoding="utf-8")
    assert "Seconds are left out of every comparison" in page
    assert '<option value="seconds">' not in page
    assert '<option value="evaluations">' in page
    alone = gfopt.load_study(file, ["repeats=1", "problems.flowers.batch_size=32"]).run(tmp_path / "alone")
    assert not alone.runs["seconds_shared"].any()
    page = Path(gfopt.write_report(alone, tmp_path / "s.html")).read_text(encoding="utf-8")
    assert '<option value="seconds">' in page


def test_an_interrupted_study_continues_to_the_same_numbers(results, file, tmp_path, inline):
    folder = tmp_path / "again"
    shutil.copytree(results.path, folder)
    lost = results.runs.loc[results.runs["repeat"] == 1, "run"]
    for key in lost:
        shutil.rmtree(folder / "runs" / key)
    left = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*.json")}
    heard = []
    again = together(file).run(folder, progress=heard.append)
    assert (heard[0].skipped, heard[-1].finished) == (16, 24)
    for found, expected in zip(numbers(again), numbers(results), strict=True):
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert {path: path.stat().st_mtime_ns for path in left} == left


def test_a_cell_is_one_task_of_the_executor(file):
    specs = together(file).prepare("cpu")
    grouped = tasks(specs)
    assert [[spec.repeat for spec in task] for task in grouped] == [[0, 1, 2]] * 8
    assert all(len({spec.cell for spec in task}) == 1 for task in grouped)
    assert sorted(spec.key for task in grouped for spec in task) == sorted(spec.key for spec in specs)
    apart = gfopt.load_study(file).prepare("cpu")
    assert [len(task) for task in tasks(apart)] == [1] * 24


def test_keys_of_other_studies_stay_what_they_were(file):
    def keys(*changes):
        return [spec.key for spec in gfopt.load_study(file, changes).prepare("cpu")]

    assert keys() == keys("batch_repeats=false")
    assert not set(keys()) & set(keys("batch_repeats=true"))  # rounded otherwise, and timed otherwise
    assert keys("batch_repeats=true")[:8] == keys("batch_repeats=true", "repeats=1")


def test_a_folder_of_separate_runs_is_not_continued(file, tmp_path, inline):
    small = ["repeats=1", "problems.flowers.batch_size=32", "problems.flowers.network.norm=none"]
    gfopt.load_study(file, small).run(tmp_path / "out")
    with pytest.raises(StoreError, match="batch_repeats: expected the study that is there"):
        together(file, *small).run(tmp_path / "out")


SMALL = (
    "problems.flowers.batch_size=32",
    "problems.flowers.network.norm=none",
    "optimizers={ga: {kind: deap-ga, population: 8}}",
    "report.baseline=ga",
)


def test_a_repeat_that_crashes_leaves_the_others(file, tmp_path, inline, monkeypatch):
    real = gfopt.study.execute.make_loop
    made = []

    def make_loop(*arguments, **options):
        loop = real(*arguments, **options)
        made.append(loop)
        if len(made) == 2:
            monkeypatch.setattr(loop.optimizer, "tell", lambda *_: [][0])
        if len(made) == 3:
            raise RuntimeError("no room")
        return loop

    monkeypatch.setattr("gfopt.study.execute.make_loop", make_loop)
    runs = together(file, *SMALL).run(tmp_path / "out").runs.set_index("repeat")
    assert runs["status"].tolist() == ["ok", "crashed", "crashed"]
    assert runs["message"].tolist() == ["", "IndexError: list index out of range", "RuntimeError: no room"]
    assert runs["seconds_shared"].tolist() == [True, True, True]
    about = json.loads((tmp_path / "out" / "runs" / runs.loc[1, "run"] / "run.json").read_text())
    assert "in advance" in about["error"]["traceback"]
    monkeypatch.setattr("gfopt.study.execute.make_loop", real)
    mended = together(file, *SMALL).run(tmp_path / "out").runs
    assert (mended["status"] == "ok").all()


def test_what_all_of_them_need_fails_all_of_them(file, tmp_path, inline, monkeypatch):
    def fails(*_, **__):
        raise MemoryError("too large")

    monkeypatch.setattr("gfopt.study.execute.build_problem", fails)
    runs = together(file, *SMALL).run(tmp_path / "out").runs
    assert runs["message"].tolist() == ["MemoryError: too large"] * 3


def test_a_killed_worker_is_marked_on_those_it_took_along(file, tmp_path, inline, monkeypatch):
    real = running.execute_together

    def killed(specs, *arguments):
        real(specs[:1], *arguments[:-1], arguments[-1][:1])
        raise RunKilled("the run's process was ended by SIGKILL before it answered")

    monkeypatch.setattr("gfopt.study.study.execute_together", killed)
    runs = together(file, *SMALL).run(tmp_path / "out").runs.set_index("repeat")
    assert runs["status"].tolist() == ["ok", "killed", "killed"]  # what had ended is kept
    assert runs.loc[1, "message"].endswith("before it answered (3 repeats trained together in it)")


def test_each_run_is_stored_as_soon_as_it_has_ended(file, tmp_path, inline, monkeypatch):
    seen, real = [], ResultsFolder.write_run

    def write_run(folder, key, *arguments):
        real(folder, key, *arguments)
        seen.append((key, folder.keys()))

    monkeypatch.setattr(ResultsFolder, "write_run", write_run)
    together(file, *SMALL).run(tmp_path / "out")
    assert [key in there for key, there in seen] == [True] * 3
    assert [len(there) for _, there in seen] == [1, 2, 3]


def test_what_it_will_cost_counts_their_shares(file, monkeypatch):
    asked = []
    real = gfopt.SupervisedProblem.evaluate_together
    monkeypatch.setattr(
        gfopt.SupervisedProblem,
        "evaluate_together",
        lambda self, requests: (asked.append([len(r.population) for r in requests]), real(self, requests))[1],
    )
    rows = together(file, *SMALL).forecast()
    assert [row.repeats for row in rows] == [3]
    assert asked == [[rows[0].population] * 3] * 3
    gfopt.load_study(file, SMALL).forecast()
    assert len(asked) == 3


def test_the_command_line_runs_and_foretells_it(file, gfopt_command):
    small = [argument for change in SMALL for argument in ("--set", change)]
    code, out, err = gfopt_command("run", file, *small, "--set", "batch_repeats=true", "--dry-run", "--workers", "2")
    assert code == 0, err
    assert "3 runs, the repeats of a cell together, 2 cells at a time" in " ".join(out.split())
    code, _, err = gfopt_command("run", file, "--set", "batch_repeats=true", "--set", "budget.seconds=3")
    assert code == 2
    assert "budget.seconds: expected a unit that each run spends by itself" in " ".join(err.split())


def test_diagnostics_along_the_runs_are_each_run_own(file, tmp_path, inline):
    changes = (*SMALL, "diagnostics=[updates]", "repeats=2")
    found = [
        study.run(tmp_path / name).diagnostics.dropna(subset=["run"])
        for name, study in (("t", together(file, *changes)), ("a", gfopt.load_study(file, changes)))
    ]
    values = [table.sort_values(["repeat", "step", "layer", "name", "quantity"])["value"] for table in found]
    assert len(values[0])
    np.testing.assert_array_equal(values[0].to_numpy(dtype=float), values[1].to_numpy(dtype=float))
