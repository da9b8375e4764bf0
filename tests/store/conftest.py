"""A study's description, and a results folder of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gfopt.store import ResultsFolder


@pytest.fixture
def study() -> dict[str, Any]:
    return {
        "name": "quick",
        "seed": 0,
        "repeats": 3,
        "threads": 1,
        "dtype": "float32",
        "device": "cpu",
        "budget": {"evaluations": 1e6},
        "problems": {"deep": {"network": {"hidden": [16, 16], "norm": "batch"}}, "wide": {"dim": 3}},
        "optimizers": {"adam": {"kind": "adam", "learning_rate": 0.01}},
        "report": {"baseline": "adam"},
    }


@pytest.fixture
def folder(tmp_path: Path, study: dict[str, Any]) -> ResultsFolder:
    return ResultsFolder.create(tmp_path / "results", study, {"python": "3"})
