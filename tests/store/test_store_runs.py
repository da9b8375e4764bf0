"""A run is whole or absent, comes back exactly, and joins the tables."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from store_samples import KEYS, snapshot

from gfopt.errors import StoreError
from gfopt.store import ResultsFolder

SPEC = {"seed": 2**62, "hidden": [16, 16]}
RUN = {"status": "ok", "problem": "deep", "repeat": 0, "loss": math.nan, "spec": SPEC}
CURVE = [{"evaluations": 0, "loss": math.inf}, {"evaluations": 10, "loss": 0.5, "test_accuracy": 1}]
ARRAYS = {"vector": np.arange(3.0), "mask": np.array([True, False]), "count": np.array(7, dtype=np.int64)}


def put(folder: ResultsFolder, key: str, **changes: Any) -> None:
    folder.write_run(key, {**RUN, **changes}, CURVE, ARRAYS, {"classes": "[0, 1]"})


def test_round_trip(folder: ResultsFolder) -> None:
    put(folder, KEYS[0])
    run = folder.read_run(KEYS[0])
    assert math.isnan(run.pop("loss"))
    assert run == {name: value for name, value in RUN.items() if name != "loss"}
    curve = folder.read_curve(KEYS[0])
    np.testing.assert_array_equal(curve["loss"], [math.inf, 0.5])
    np.testing.assert_array_equal(curve["test_accuracy"], [math.nan, 1.0])
    arrays, metadata = folder.read_best(KEYS[0])
    assert metadata == {"classes": "[0, 1]"}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


dtypes = st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u1", "u4", "?", ">f4"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)), st.text(), st.booleans())
def test_any_numeric_array_comes_back(
    folder: ResultsFolder, array: np.ndarray[Any, Any], text: str, turned: bool
) -> None:
    text = text.encode(errors="ignore").decode()
    array = array.T if turned else array  # not in C order
    folder.write_run(KEYS[0], {"status": "crashed"}, [], {"x": array}, {"text": text})
    arrays, metadata = folder.read_best(KEYS[0])
    np.testing.assert_array_equal(arrays["x"], array)
    assert metadata == {"text": text}


@pytest.mark.parametrize(
    "key",
    ["../x", "..", "", "/tmp/x", "0A" * 8, "abc", "0" * 65, "0a0a0a0a\n", "0a0a0a0a/", "0a/../0a0a", None, 3],
)
def test_hostile_keys_are_refused(folder: ResultsFolder, key: Any) -> None:
    before = snapshot(folder.path.parent)
    for call in (lambda: put(folder, key), lambda: folder.read_run(key), lambda: folder.read_best(key),
                 lambda: folder.collect([key]), lambda: folder.run_folder(key)):  # fmt: skip
        with pytest.raises(StoreError, match="expected a run's key"):
            call()
    assert snapshot(folder.path.parent) == before


@pytest.mark.parametrize("step", ["rename", "replace", "fsync"])
@pytest.mark.parametrize("status", [None, "crashed"])
def test_failed_write_leaves_the_folder_as_it_was(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch, step: str, status: str | None
) -> None:
    if status is not None:
        put(folder, KEYS[0], status=status)
    before = snapshot(folder.path)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(StoreError, match="No space left on device"):
            put(folder, KEYS[0], status="ok")
    assert snapshot(folder.path) == before
    put(folder, KEYS[0], status="ok")
    assert list(folder.finished()) == [KEYS[0]]


@pytest.mark.parametrize(("status", "failing"), [(None, 1), ("crashed", 2), ("crashed", 3)])
def test_a_single_failed_rename_is_undone(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch, status: str | None, failing: int
) -> None:
    """An absent run takes one rename; one that is there takes three: refused, made room for, replaced."""
    if status is not None:
        put(folder, KEYS[0], status=status)
    before = snapshot(folder.path)
    calls = 0

    def rename(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(28, "No space left on device")
        original(source, target)

    original = os.rename
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StoreError, match="No space left on device"):
        put(folder, KEYS[0], status="ok")
    assert snapshot(folder.path) == before


@pytest.mark.parametrize("last", range(1, 6))
def test_death_at_any_rename_shows_whole_runs_only(folder: ResultsFolder, study: dict[str, Any], last: int) -> None:
    """A run takes the place of a crashed one in five renames; the process dies before the `last` of them."""
    put(folder, KEYS[0], status="crashed")
    pid = os.fork()
    if pid == 0:
        done = 0

        def counted(original: Any) -> Any:
            def call(*arguments: Any) -> None:
                nonlocal done
                done += 1
                if done == last:
                    os._exit(9)
                original(*arguments)

            return call

        os.rename, os.replace = counted(os.rename), counted(os.replace)
        put(folder, KEYS[0], status="ok")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert all(folder.read_run(key)["status"] == "crashed" for key in folder.keys())  # noqa: SIM118
    again = ResultsFolder.create(folder.path, study, {})
    assert set(os.listdir(folder.path / "runs")) <= {KEYS[0]}
    put(again, KEYS[0], status="ok")
    assert list(again.finished()) == [KEYS[0]]


def test_finished_runs_stay_and_others_are_replaced(folder: ResultsFolder) -> None:
    for before, kept in (
        ("ok", True),
        ("diverged", True),
        ("crashed", False),
        ("killed", False),
        ("timeout", False),
    ):
        key = KEYS[0] + f"{len(folder.keys()):02x}"
        put(folder, key, status=before, message="first")
        put(folder, key, status="ok", message="second")
        assert folder.read_run(key)["message"] == ("first" if kept else "second")
    assert all(not name.startswith(".") for name in os.listdir(folder.path / "runs"))


def test_a_run_that_only_has_a_checkpoint_is_replaced(folder: ResultsFolder) -> None:
    place = folder.run_folder(KEYS[0])
    place.mkdir()
    (place / "checkpoint.npz").touch()
    assert folder.keys() == []
    put(folder, KEYS[0])
    assert sorted(os.listdir(place)) == ["best.safetensors", "curve.parquet", "run.json"]


def test_the_process_that_finishes_first_wins(folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        put(folder, KEYS[0], message="other")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    put(folder, KEYS[0], message="this")
    assert folder.read_run(KEYS[0])["message"] == "other"
    assert os.listdir(folder.path / "runs") == [KEYS[0]]


def test_a_link_in_place_of_a_run_is_refused(folder: ResultsFolder, tmp_path: Path) -> None:
    put(folder, KEYS[1])
    folder.run_folder(KEYS[1]).rename(tmp_path / "elsewhere")
    before = snapshot(tmp_path / "elsewhere")
    folder.run_folder(KEYS[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="a link"):
        put(folder, KEYS[0])
    assert folder.keys() == []
    assert snapshot(tmp_path / "elsewhere") == before


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (({"status": "ok", "f": print}, [], {}, {}), "f: expected a plain value"),
        (({}, [{"loss": object()}], {}, {}), "loss: expected a plain value"),
        (({}, [], {"x": np.array(["a"])}, {}), "array 'x': expected a numpy array of numbers"),
        (({}, [], {"x": np.array([print])}, {}), "array 'x': expected a numpy array of numbers"),
        (({}, [], {"x": [1.0]}, {}), "array 'x': expected a numpy array of numbers"),
        (({}, [], {"x": np.zeros(1)}, {"n": 3}), "metadata 'n': expected text, got 3"),
    ],
)
def test_values_that_cannot_be_stored(folder: ResultsFolder, arguments: Any, match: str) -> None:
    before = snapshot(folder.path)
    with pytest.raises(StoreError, match=match):
        folder.write_run(KEYS[0], *arguments)
    assert snapshot(folder.path) == before


@pytest.mark.parametrize("name", ["run.json", "curve.parquet", "best.safetensors"])
@pytest.mark.parametrize("damage", ["half", "empty", "noise", "absent"])
def test_damage_is_named_with_the_way_out(folder: ResultsFolder, name: str, damage: str) -> None:
    put(folder, KEYS[0])
    place = folder.run_folder(KEYS[0])
    whole = (place / name).read_bytes()
    contents = {"half": whole[: len(whole) // 2], "empty": b"", "noise": b"\x80" * 500}
    (place / name).write_bytes(contents[damage]) if damage in contents else (place / name).unlink()
    read = {"run.json": folder.read_run, "curve.parquet": folder.read_curve}.get(name, folder.read_best)
    with pytest.raises(StoreError, match=name) as caught:
        read(KEYS[0])
    assert f"Remove {place} and run the study again" in str(caught.value)
    if name != "best.safetensors":
        with pytest.raises(StoreError, match=name):
            folder.collect([KEYS[0]])


def test_run_that_is_no_mapping(folder: ResultsFolder) -> None:
    put(folder, KEYS[0])
    (folder.run_folder(KEYS[0]) / "run.json").write_text("[1]")
    with pytest.raises(StoreError, match=r"run\.json: expected a mapping, got \[1\]"):
        folder.finished()


def test_finished_chooses_by_status(folder: ResultsFolder) -> None:
    for key, status in zip(KEYS, ("ok", "crashed", "diverged"), strict=True):
        put(folder, key, status=status)
    (folder.path / "runs" / "notes").mkdir()
    assert folder.keys() == list(KEYS)
    assert list(folder.finished()) == [KEYS[0], KEYS[2]]
    assert list(folder.finished(["crashed"])) == [KEYS[1]]


def test_run_without_winner_has_none(folder: ResultsFolder) -> None:
    folder.write_run(KEYS[0], {"status": "crashed"}, [], {}, {})
    with pytest.raises(StoreError, match=r"best\.safetensors: expected a file, got `nothing`"):
        folder.read_best(KEYS[0])


def fill(folder: ResultsFolder) -> None:
    put(folder, KEYS[0], run="wrong", **{"network.hidden": [16], "options.rate": 1})
    put(folder, KEYS[1], **{"options.rate": 0.5, "evaluations": 10})
    folder.write_run(KEYS[2], {"status": "crashed", "problem": "deep"}, [], {}, {})


def test_collect_joins_in_the_order_of_keys(folder: ResultsFolder) -> None:
    fill(folder)
    keys = [KEYS[2], KEYS[0], KEYS[1]]
    folder.collect(keys)
    runs, curves, diagnostics = folder.read_frames()
    assert runs.columns[0] == "run"
    assert runs["run"].tolist() == keys
    assert "spec" not in runs
    assert runs["network.hidden"].tolist()[1] == "[16]"
    np.testing.assert_array_equal(runs["options.rate"], [math.nan, 1.0, 0.5])
    np.testing.assert_array_equal(runs["evaluations"], [math.nan, math.nan, 10.0])
    assert curves["run"].tolist() == [KEYS[0], KEYS[0], KEYS[1], KEYS[1]]
    assert curves["evaluations"].dtype == np.int64
    np.testing.assert_array_equal(curves["loss"], [math.inf, 0.5] * 2)
    assert diagnostics.empty


def test_interrupted_study_reads_the_same_from_its_runs(folder: ResultsFolder, study: dict[str, Any]) -> None:
    fill(folder)
    runs, curves, _ = folder.read_frames()
    folder.collect(KEYS)
    collected = folder.read_frames()
    pd.testing.assert_frame_equal(collected[0], runs)
    pd.testing.assert_frame_equal(collected[1], curves)
    ResultsFolder.create(folder.path, study, {})  # the study goes on: the tables are stale from here on
    put(folder, "3d" * 8)
    assert folder.read_frames()[0]["run"].tolist() == [*KEYS, "3d" * 8]


def test_empty_study_has_empty_frames(folder: ResultsFolder) -> None:
    assert [frame.empty for frame in folder.read_frames()] == [True] * 3
    folder.collect([])
    assert [frame.empty for frame in folder.read_frames()] == [True] * 3


def test_diagnostics_and_damaged_tables(folder: ResultsFolder) -> None:
    folder.write_diagnostics([{"problem": "deep", "layer": 0, "gradient": math.nan}])
    diagnostics = folder.read_frames()[2]
    assert diagnostics["problem"].tolist() == ["deep"]
    assert diagnostics["layer"].dtype == np.int64
    (folder.path / "diagnostics.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"diagnostics\.parquet: expected a whole parquet file"):
        folder.read_frames()


def test_measurements_of_runs_join_those_of_none(folder: ResultsFolder, study: dict[str, Any]) -> None:
    for key, steps in ((KEYS[0], [1, 2]), (KEYS[1], [])):
        rows = [{"step": step, "quantity": "diversity", "value": 0.5} for step in steps]
        folder.write_run(key, RUN, CURVE, ARRAYS, {}, rows)
    starts = [{"problem": "deep", "step": 0, "quantity": "dead_share", "value": math.nan}]
    folder.collect(KEYS[:2])
    folder.write_diagnostics(starts, KEYS[:2])
    found = folder.read_frames()[2]
    assert found["step"].tolist() == [0, 1, 2]
    assert found["run"].fillna("").tolist() == ["", KEYS[0], KEYS[0]]
    assert not (folder.run_folder(KEYS[1]) / "diagnostics.parquet").exists()
    ResultsFolder.create(folder.path, study, {})  # the study goes on
    again = folder.read_frames()[2]
    pd.testing.assert_frame_equal(again[found.columns], found)
    (folder.run_folder(KEYS[0]) / "diagnostics.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"diagnostics\.parquet: expected a whole parquet file.* Remove .*" + KEYS[0]):
        folder.read_frames()


def test_absent_run_is_named(folder: ResultsFolder) -> None:
    with pytest.raises(StoreError, match=KEYS[0]):
        folder.collect([KEYS[0]])
    assert not (folder.path / "runs.parquet").exists()
