"""The environment is plain, and no git or a broken one is no error."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from gfopt.store.environment import environment
from gfopt.store.plain import from_json, to_json


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_plain_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gfopt", "run", "my study.yaml"])
    found = environment()
    assert from_json(to_json(found)) == found
    assert found["command"] == "gfopt run 'my study.yaml'"
    assert datetime.fromisoformat(found["date"]).utcoffset() is not None
    assert {"torch", "numpy", "pandas"} <= found["packages"].keys()
    assert found["cpu"]["count"] >= found["cpu"]["usable"] >= 1


def test_git_commit_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert environment()["git"] is None
    git(tmp_path, "init")
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert environment()["git"] == {"commit": commit, "dirty": False}
    (tmp_path / "file").write_text("b")
    assert environment()["git"] == {"commit": commit, "dirty": True}


def test_no_git_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment()["git"] is None


def test_loads_without_torch() -> None:
    code = "import sys, gfopt.store; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
