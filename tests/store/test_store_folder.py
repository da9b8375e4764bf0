"""A results folder is made, continued, refused or emptied; nothing of other origin is ever touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from store_samples import KEYS, snapshot

from gfopt.errors import StoreError
from gfopt.store import SCHEMA_VERSION, ResultsFolder


def write(folder: ResultsFolder, key: str, **run: Any) -> None:
    folder.write_run(key, {"status": "ok", **run}, [{"loss": 1.0}], {}, {})


def test_create_and_open(folder: ResultsFolder, study: dict[str, Any]) -> None:
    opened = ResultsFolder.open(folder.path)
    assert opened.study == study
    assert list(opened.study) == list(study)
    assert opened.environment == {"schema": SCHEMA_VERSION, "python": "3"}
    assert yaml.safe_load((folder.path / "study.yaml").read_text()) == study
    assert sorted(os.listdir(folder.path)) == ["environment.json", "runs", "study.yaml"]


def test_continue_keeps_runs_and_rewrites_the_study(folder: ResultsFolder, study: dict[str, Any]) -> None:
    write(folder, KEYS[0])
    again = ResultsFolder.create(folder.path, {**study, "repeats": 9}, {"python": "3"})
    assert again.study["repeats"] == 9
    assert list(again.finished()) == [KEYS[0]]


def test_empty_folder_is_taken(tmp_path: Path, study: dict[str, Any]) -> None:
    assert ResultsFolder.create(tmp_path, study, {}).study == study


def test_earlier_environments_are_kept(folder: ResultsFolder, study: dict[str, Any]) -> None:
    for python, date in (("3", "x"), ("4", "y"), ("4", "z")):
        ResultsFolder.create(folder.path, study, {"python": python, "date": date})
    found = folder.environment
    assert (found["python"], found["date"]) == ("4", "z")
    assert [(e["python"], e["date"]) for e in found["earlier"]] == [("3", "x")]


def refused(path: Path, study: dict[str, Any], match: str, fresh: bool = False) -> None:
    """`create` refuses, and what is there is as it was."""
    before = snapshot(path.parent)
    with pytest.raises(StoreError, match=match) as caught:
        ResultsFolder.create(path, study, {}, fresh=fresh)
    assert str(caught.value).startswith(str(path))
    assert snapshot(path.parent) == before


@pytest.mark.parametrize("fresh", [False, True])
def test_foreign_places_are_refused(tmp_path: Path, study: dict[str, Any], fresh: bool) -> None:
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", study, "expected a folder, got `a file`.*--out", fresh)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    refused(tmp_path / "full", study, r"empty folder or a results folder, got `a folder with thesis\.tex", fresh)
    (tmp_path / "full" / "study.yaml").write_text("name: mine\n")
    refused(tmp_path / "full", study, r"study\.yaml was not written by gfopt", fresh)
    refused(tmp_path / "file" / "below", study, "can be written to, got .*file", fresh)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "dangling", study, "can be written to, got .*dangling", fresh)
    refused(tmp_path / "dangling" / "below", study, "can be written to, got .*dangling", fresh)


def test_unwritable_place(tmp_path: Path, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    refused(tmp_path / "a" / "b", study, "read-only.*--out")


@pytest.mark.parametrize("inside", [False, True])
def test_failure_to_write_leaves_no_folder(
    tmp_path: Path, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    path = tmp_path / "a" / "b"
    if inside:
        path.mkdir(parents=True)
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match="No space"):
        ResultsFolder.create(path, study, {})
    assert snapshot(tmp_path) == before


def test_values_that_cannot_be_stored_are_refused_first(tmp_path: Path, study: dict[str, Any]) -> None:
    refused(tmp_path / "new", {**study, "loss": print}, "loss: expected a plain value")
    with pytest.raises(StoreError, match="gpu: expected a plain value"):
        ResultsFolder.create(tmp_path / "new", study, {"gpu": object()})
    assert not (tmp_path / "new").exists()


def test_another_study_is_refused(folder: ResultsFolder, study: dict[str, Any]) -> None:
    write(folder, KEYS[0])
    refused(folder.path, {**study, "name": "slow"}, "name: expected .* 'quick', got 'slow'.*--out.*--fresh")
    deep = {"network": {"hidden": [16, 16], "norm": "layer"}}
    other = {**study, "problems": {"deep": deep}}
    refused(folder.path, other, r"problems\.deep\.network\.norm: expected .*'batch', got 'layer'")


def test_another_schema_is_refused_unless_fresh(folder: ResultsFolder, study: dict[str, Any]) -> None:
    path = folder.path / "study.yaml"
    path.write_text(path.read_text().replace(f"schema {SCHEMA_VERSION}", "schema 999"))
    refused(folder.path, study, f"schema {SCHEMA_VERSION}, got `schema 999`")
    with pytest.raises(StoreError, match="schema 999"):
        ResultsFolder.open(folder.path)
    assert ResultsFolder.create(folder.path, study, {}, fresh=True).study == study


def test_damaged_study_is_named(folder: ResultsFolder, study: dict[str, Any]) -> None:
    path = folder.path / "study.yaml"
    path.write_text(path.read_text() + "\n [")
    refused(folder.path, study, r"study\.yaml: expected YAML")
    path.write_text(path.read_text().splitlines()[0] + "\n- 1")
    refused(folder.path, study, r"study\.yaml: expected a mapping")


def test_fresh_removes_what_gfopt_wrote_alone(folder: ResultsFolder, study: dict[str, Any]) -> None:
    for key in KEYS[:2]:
        write(folder, key)
    folder.collect(KEYS[:2])
    folder.write_diagnostics([{"layer": 0}])
    folder.report.write_text("report")
    (folder.run_folder(KEYS[0]) / "checkpoint.npz").touch()
    mine = ["notes.txt", "other.parquet", "runs/notes.txt", "runs/mine/x", f"runs/{KEYS[1]}/plot.png"]
    for name in mine:
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text(name)
    fresh = ResultsFolder.create(folder.path, {**study, "name": "new"}, {"python": "4"}, fresh=True)
    left = {name for name, content in snapshot(folder.path).items() if content is not None}
    assert left == {*mine, "study.yaml", "environment.json"}
    assert not folder.run_folder(KEYS[0]).exists()
    assert "earlier" not in fresh.environment
    assert fresh.finished() == {}


@pytest.mark.parametrize("link", ["runs", f"runs/{KEYS[0]}"])
def test_fresh_refuses_linked_folders(folder: ResultsFolder, study: dict[str, Any], tmp_path: Path, link: str) -> None:
    write(folder, KEYS[1])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run.json").write_text("precious")
    if link == "runs":
        (folder.path / "runs").rename(tmp_path / "moved")
    (folder.path / link).symlink_to(elsewhere, target_is_directory=True)
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match="expected a folder, got `a link`"):
        ResultsFolder.create(folder.path, study, {}, fresh=True)
    assert snapshot(tmp_path) == before


def test_open_refuses_what_is_no_results_folder(tmp_path: Path) -> None:
    for path, match in ((tmp_path, "an empty folder"), (tmp_path / "absent", "nothing")):
        with pytest.raises(StoreError, match=f"expected a results folder, got `{match}`.*gfopt run"):
            ResultsFolder.open(path)
    (tmp_path / "x").touch()
    with pytest.raises(StoreError, match=r"got `a folder with x and no study\.yaml"):
        ResultsFolder.open(tmp_path)


def test_interrupted_creation_is_taken_up(tmp_path: Path, study: dict[str, Any]) -> None:
    """Whatever file was the last one before a kill, the next call goes on."""
    ResultsFolder.create(tmp_path / "whole", study, {})
    for kept in ((), ("study.yaml",), ("study.yaml", "environment.json")):
        path = tmp_path / str(len(kept))
        path.mkdir()
        (path / f".gfopt-tmp-{'0' * 8}-1-ab").touch()
        for name in kept:
            (path / name).write_bytes((tmp_path / "whole" / name).read_bytes())
        ResultsFolder.create(path, study, {})
        assert ResultsFolder.open(path).study == study


def test_leftovers_are_cleaned(folder: ResultsFolder, study: dict[str, Any]) -> None:
    for place in (folder.path, folder.path / "runs"):
        left = place / f".gfopt-tmp-{'0' * 8}-1-ab"
        left.mkdir()
        os.utime(left, (0, 0))
    assert folder.keys() == []
    ResultsFolder.create(folder.path, study, {})
    assert sorted(os.listdir(folder.path)) == ["environment.json", "runs", "study.yaml"]
    assert os.listdir(folder.path / "runs") == []
