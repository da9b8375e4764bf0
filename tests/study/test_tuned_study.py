"""A study that tunes: equal effort, then the runs with what was chosen; stored, resumed, counted and said."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import Future

import pandas as pd
import pytest

import gfopt
from gfopt.errors import ConfigError, MissingExtraError, StoreError
from gfopt.study import tuning as tunings
from gfopt.study.executors import RunKilled
from gfopt.study.spec import tasks

CLOCKS = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
TEXT = """
name: tuned
seed: 3
repeats: 2
budget: {evaluations: 24}
tune: {trials: 3, budget: {evaluations: 16}, sampler: random, seeds: [0, 1], spaces: {ga: {
    mutation_strength: {low: 0.01, high: 1, log: true}}, pso: {inertia: {low: 0.3, high: 0.9}}}}
problems:
  bowl: {function: {name: sphere, dim: {grid: [2, 3]}}}
optimizers:
  ga: {kind: ga, population: 8, tournament_size: 3, crossover: uniform}
  pso: {kind: pso, particles: 8, cognitive: 1.5, social: 1.5, topology: global}
  first: {kind: initial}
report: {baseline: ga}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tuned") / "tuned.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def results(file, tmp_path_factory):
    """In this process; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gfopt.study.study.LocalExecutor", Inline)
        return gfopt.load_study(file).run(tmp_path_factory.mktemp("out") / "tuned")


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
    runs = results.runs.drop(columns=[*CLOCKS, "workers"]).sort_values("run").reset_index(drop=True)
    return runs, results.tuning.drop(columns=CLOCKS).reset_index(drop=True)


def assert_same(one, other):
    for a, b in zip(numbers(one), numbers(other), strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


# ------------------------------------------------------------------------------ what is left behind


def test_every_pair_has_the_same_effort(results):
    pairs = results.tuned[results.tuned["status"] == "ok"]
    assert len(pairs) == 2 * 2
    assert set(pairs["trials"]) == {3}
    assert (results.tuning.groupby("tuning").size() == 3).all()
    spent = results.tuning.groupby("optimizer")["evaluations"].unique()
    assert all((values >= 2 * 16).all() and (values < 2 * 24).all() for values in spent)  # two seeds, whole steps


def test_the_runs_use_what_was_chosen(results):
    chosen = results.tuned.set_index("tuning")
    tuned = results.runs[results.runs["optimizer"] != "first"]
    for row in tuned.to_dict("records"):
        column = {"ga": "options.mutation_strength", "pso": "options.inertia"}[row["optimizer"]]
        assert row[column] == chosen.loc[row["tuning"], column]
        spec = json.loads((results.path / "runs" / row["run"] / "run.json").read_text())["spec"]
        assert spec["optimizer"][column.removeprefix("options.")] == row[column]
        assert spec["optimizer"].get("population", 8) == 8  # what the study names is not tuned
    assert (results.runs["status"] == "ok").all()


def test_the_best_trial_is_the_chosen_one(results):
    for key, rows in results.tuning.groupby("tuning"):
        pair = results.tuned.set_index("tuning").loc[key]
        best = rows.loc[rows["objective"].idxmin()]
        assert pair["objective"] == best["objective"] == rows["best"].iloc[-1]
        assert pair["default"] == rows["objective"].iloc[0]
        assert pair["evaluations"] == rows["evaluations"].sum()


def test_the_cost_of_tuning_stands_beside_that_of_the_runs(results):
    for pair in results.tuned.to_dict("records"):
        same = results.runs["optimizer"] == pair["optimizer"]
        runs = results.runs[same & (results.runs["function.dim"] == pair["function.dim"])]
        assert (pair["runs"], pair["runs_evaluations"]) == (2, runs["evaluations"].sum())


def test_what_has_nothing_to_tune_is_recorded_with_the_reason(results):
    left = results.tuned[results.tuned["optimizer"] == "first"]
    assert left["status"].tolist() == ["untuned"] * 2
    assert left["message"].unique().tolist() == ["nothing of first is tuned: it declares no search space"]
    assert left["trials"].tolist() == [0, 0]
    assert results.runs.loc[results.runs["optimizer"] == "first", "tuning"].isna().all()


def test_performance_against_the_tuning_budget(results):
    curves = gfopt.analysis.tuning_curves(results.tuning)
    for _, rows in curves.groupby("tuning"):
        assert rows["trial"].tolist() == [0, 1, 2]
        assert rows["evaluations"].is_monotonic_increasing
        assert rows["best"].is_monotonic_decreasing
    last = curves.groupby("tuning")["evaluations"].last()
    pairs = results.tuned.set_index("tuning")["evaluations"]
    assert (last == pairs[last.index]).all()


def test_tables_are_on_disk_and_the_cells_stay_what_they_were(results):
    assert {"tuning.parquet", "tuned.parquet", "tuning"} <= {file.name for file in results.path.iterdir()}
    again = gfopt.load_results(results.path)
    pd.testing.assert_frame_equal(again.tuned, results.tuned)
    assert len(results.summary()) == 6
    assert len(results.verdicts())


# ------------------------------------------------------------------------------ again, and otherwise


def test_a_second_call_does_nothing(results, file, tmp_path, inline):
    folder = tmp_path / "again"
    shutil.copytree(results.path, folder)
    before = {path: path.stat().st_mtime_ns for part in ("runs", "tuning") for path in (folder / part).rglob("*.json")}
    heard = []
    assert_same(gfopt.load_study(file).run(folder, progress=heard.append), results)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (heard[0].skipped, heard[0].tunings, heard[0].tuned) == (12, 4, 4)


def test_worker_processes_choose_the_same(results, file, tmp_path):
    changes = ["problems.bowl.function.dim=2", "repeats=1", "tune.optimizers=[ga]"]
    heard = []
    found = gfopt.load_study(file, changes).run(tmp_path / "o", workers=2, progress=heard.append)
    mine = results.tuning[(results.tuning["optimizer"] == "ga") & (results.tuning["function.dim"] == 2)]
    columns = ["options.mutation_strength", "seed_0", "seed_1", "best"]
    pd.testing.assert_frame_equal(found.tuning[columns], mine[columns].reset_index(drop=True), check_exact=True)
    assert found.tuned.set_index("optimizer")["message"]["pso"] == "pso is none of the optimizers that the study tunes"
    assert (heard[-1].finished, heard[-1].tuned, heard[-1].tunings) == (3, 1, 1)


def test_an_interrupted_tuning_goes_on_with_its_trials(results, file, tmp_path, inline, monkeypatch):
    folder = tmp_path / "broken"
    shutil.copytree(results.path, folder)
    shutil.rmtree(folder / "runs")
    path = folder / "tuning" / f"{results.tuned['tuning'][0]}.json"
    known = json.loads(path.read_text())
    known |= {"status": "running", "trials": known["trials"][:2], "rows": known["rows"][:2]}
    path.write_text(json.dumps(known))
    trained = []
    real = tunings.Tuner._run
    monkeypatch.setattr(tunings.Tuner, "_run", lambda *given: (trained.append(given), real(*given))[1])
    assert_same(gfopt.load_study(file).run(folder), results)
    assert len(trained) == 2


def test_repeats_in_lock_step_tune_alike(results, file, tmp_path, inline):
    study = gfopt.load_study(file, ["batch_repeats=true"])
    assert all(len({spec.tuning for spec in task}) == 1 for task in tasks(study.prepare("cpu")))
    found = study.run(tmp_path / "together")
    assert (found.runs["status"] == "ok").all()
    pd.testing.assert_frame_equal(numbers(found)[1], numbers(results)[1], check_exact=True)


def test_the_streams_of_tuning_are_none_of_the_reported_runs(file):
    parts = gfopt.load_study(file)._parts("cpu")
    reported = {stream for spec in parts.specs for stream in spec.streams().values()}
    used = set()
    for tuning in parts.tunings:
        if not tuning.why_not:
            tuner = tuning.tuner(parts.problems[tuning.problem.label])
            used |= {stream for seed in tuning.effort.seeds for stream in tuner.streams(seed).values()}
    assert len(used) == 2 * 3  # seeds 0 and 1, as the repeats; shared by all optimizers
    assert not used & reported


def test_keys_depend_on_the_tuning_and_those_without_stay(file):
    def keys(*changes):
        return {spec.title: spec.key for spec in gfopt.load_study(file, changes).prepare("cpu")}

    tuned, other, plain = keys(), keys("tune.trials=4"), keys("tune=null")
    for title in tuned:
        untuned = " first " in title
        assert (tuned[title] == other[title]) == untuned
        assert (tuned[title] == plain[title]) == untuned


def test_another_tuning_is_another_study(results, file, tmp_path, inline):
    shutil.copytree(results.path, tmp_path / "o")
    with pytest.raises(StoreError, match=r"tune.trials: expected the study that is there, with 3, got 4"):
        gfopt.load_study(file, ["tune.trials=4"]).run(tmp_path / "o")
    folder = gfopt.load_study(file, ["tune=null", "repeats=1"]).run(tmp_path / "o", fresh=True, workers=1)
    assert not (folder.path / "tuning").exists()
    assert folder.tuned.empty
    assert folder.tuning.empty


# ------------------------------------------------------------------------------ what goes wrong


def test_a_tuning_that_crashes_takes_its_runs_along_and_is_tried_again(file, tmp_path, inline, monkeypatch):
    real = tunings.Tuner._run

    def breaks(self, options, seed):
        if self.kind == "pso" and seed == 1:
            raise ZeroDivisionError("mine")
        return real(self, options, seed)

    monkeypatch.setattr(tunings.Tuner, "_run", breaks)
    small = ["problems.bowl.function.dim=2"]
    found = gfopt.load_study(file, small).run(tmp_path / "o")
    runs = found.runs.set_index("optimizer")
    assert runs["status"].groupby(level=0).first().to_dict() == {"first": "ok", "ga": "ok", "pso": "crashed"}
    assert set(runs.loc["pso", "message"]) == {"its tuning crashed: ZeroDivisionError: mine"}
    assert "In trial 0 of tuning pso, seed 1" in "".join(p.read_text() for p in tmp_path.glob("o/tuning/*.json"))
    monkeypatch.setattr(tunings.Tuner, "_run", real)
    assert (gfopt.load_study(file, small).run(tmp_path / "o").runs["status"] == "ok").all()


def test_a_killed_tuning_is_marked_on_its_runs(file, tmp_path, inline, monkeypatch):
    def killed(*_):
        raise RunKilled("the run's process was ended", -9)

    monkeypatch.setattr("gfopt.study.study.execute_tuning", killed)
    runs = gfopt.load_study(file, ["problems.bowl.function.dim=2"]).run(tmp_path / "o").runs
    assert runs["status"].value_counts().to_dict() == {"killed": 4, "ok": 2}
    assert "its tuning killed: the run's process was ended" in set(runs["message"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["tune.spaces.ga.elitse=[1]"], "tune: spaces.ga: elitse: expected a known option, got 'elitse'. Did you mean"),
        (["tune.spaces.ga.elites=[99]"], "tune: spaces.ga: elites: [0]: expected less than the population"),
        (["tune.spaces.ga.population=[4]"], "population: expected an option without a value of its own"),
        (
            ["optimizers={first: {kind: initial}}", "report.baseline=first", "tune.spaces={}"],
            "tune: expected at least one optimizer with something to tune, got `nothing of first is tuned",
        ),
        (["tune.optimizers=[ga,first]"], "tune.optimizers: expected optimizers with something to tune, got `first"),
        (["tune.budget={backward_samples: 9}"], "problems.bowl[function.dim=2]: budget: expected a unit that"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(file, changes, message):
    with pytest.raises(ConfigError) as caught:
        gfopt.load_study(file, changes).prepare("cpu")
    assert message in str(caught.value)


def test_problems_without_validation_data_and_a_missing_library_are_refused(file, monkeypatch):
    data = {"dataset": {"name": "iris", "validation_fraction": 0}, "network": {"kind": "mlp", "hidden": [2]}}
    study = gfopt.Study(
        {"mine": data}, {"ga": {"kind": "ga"}}, budget={"evaluations": 9}, tune={"budget": gfopt.Budget(steps=2)}
    )
    with pytest.raises(ConfigError, match=r"tune: problems.mine: expected validation data.*validation_fraction: 0.1"):
        study.prepare("cpu")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"tune: expected the package optuna.*gfopt\[tune\]"):
        gfopt.load_study(file).prepare("cpu")


# ------------------------------------------------------------------------------ what is said


def test_the_command_line_foretells_what_tuning_adds(file, gfopt_command):
    code, out, err = gfopt_command("run", file, "--dry-run", "--workers", "2")
    assert code == 0, err
    said = " ".join(out.split())
    assert "Before them 4 tunings of 3 trials x 2 seeds, 24 runs: about" in said
    assert "• nothing of first is tuned: it declares no search space." in said
    assert said.endswith("Nothing was started.")


def test_status_knows_a_study_that_tunes(results, gfopt_command):
    code, out, _ = gfopt_command("status", results.path)
    assert code == 0
    assert "12 of 12 runs on disk" in out


def test_the_forecast_counts_the_runs_of_tuning(file):
    rows = {(row.problem, row.optimizer): row for row in gfopt.load_study(file).forecast()}
    assert rows["bowl[function.dim=2]", "ga"].tuning_runs == 6
    assert rows["bowl[function.dim=2]", "ga"].tuning_seconds > 0
    assert rows["bowl[function.dim=2]", "first"].tuning_runs == 0
