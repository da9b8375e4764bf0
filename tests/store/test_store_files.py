"""Files are whole or absent; reading is bounded and names the damaged file."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gfopt.store
from gfopt.errors import StoreError
from gfopt.store import files

WRITERS: list[Callable[[Path], None]] = [
    lambda path: files.write_bytes(path, b"new"),
    lambda path: files.write_text(path, "new"),
    lambda path: files.write_json(path, {"new": 1}),
    lambda path: files.write_parquet(path, pa.table({"new": [1]}), {}),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_failed_write_changes_nothing(
    write: Callable[[Path], None], step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StoreError, match=r"file: No space left on device"):
        write(path)
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("write", WRITERS)
def test_write_replaces_and_leaves_no_other_file(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write(path)
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() != b"old"


def test_death_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    pid = os.fork()
    if pid == 0:
        os.replace = lambda *_: os._exit(3)  # type: ignore[assignment]  # the process dies at this moment
        files.write_bytes(path, b"new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2  # the unfinished one
    files.remove_leftovers(tmp_path)  # its writer is dead
    assert os.listdir(tmp_path) == ["file"]


def test_leftovers_of_the_living_and_of_other_machines_stay_an_hour(tmp_path: Path) -> None:
    mine = tmp_path / files.temporary_name()
    other = tmp_path / f".gfopt-tmp-{'0' * 8}-1-ab"
    foreign = tmp_path / ".gfopt-tmp-notes"
    for path in (mine, other, foreign):
        path.mkdir()
        (path / "x").touch()
    files.remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, other, foreign])
    for path in (mine, other, foreign):
        os.utime(path, (time.time() - 7200,) * 2)
    files.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [foreign]


def test_remove_takes_a_link_away_and_not_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "x").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "absent")
    assert os.listdir(tmp_path) == ["target"]
    files.remove(tmp_path / "target")
    assert os.listdir(tmp_path) == []


def test_file_mode_follows_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write_text(tmp_path / "written", "x")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_reading_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.json"
    path.write_text('"' + "x" * 100 + '"')
    monkeypatch.setattr(files, "TEXT_LIMIT", 50)
    with pytest.raises(StoreError, match=r"big\.json: expected at most 50 bytes, got `102`"):
        files.read_json(path)
    with pytest.raises(StoreError, match=r"big\.json: expected at most 50 bytes"):
        files.write_json(path, "y" * 100)
    assert "x" in path.read_text()


@pytest.mark.parametrize("read", [files.read_json, files.read_yaml, files.read_parquet])
@pytest.mark.parametrize("content", [b"\xff\xfe{", b"{", b"PAR1: and: PAR1", b"!!python/name:os.system"])
def test_damage_names_the_file(read: Callable[[Path], Any], content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"^{path}: expected .*truncated or damaged"):
        read(path)


@pytest.mark.parametrize("read", [files.read_json, files.read_yaml, files.read_parquet])
def test_only_regular_files_are_read(read: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(StoreError, match=str(path)):
            read(path)


def test_lone_surrogates_are_refused_as_text_and_kept_in_json(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="UTF-8"):
        files.write_text(tmp_path / "text", "a\ud800")
    files.write_json(tmp_path / "json", "a\ud800")
    assert files.read_json(tmp_path / "json") == "a\ud800"


def test_store_can_load_no_code() -> None:
    """No module that executes what it reads is imported, and yaml only through its safe classes."""
    package = Path(gfopt.store.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {module.split(".")[0] for module in modules}
            assert not roots & {"pickle", "cloudpickle", "joblib", "marshal", "shelve", "dill", "torch"}, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in {
                    "Loader",
                    "UnsafeLoader",
                    "FullLoader",
                    "unsafe_load",
                    "full_load",
                    "load_all",
                }
            if isinstance(node, ast.Name):
                assert node.id not in {"eval", "exec", "compile", "__import__"}, path
