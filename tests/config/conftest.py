from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gfopt.config import StudyConfig, from_mapping
from gfopt.errors import ConfigError

Edit = Callable[..., dict[str, Any]]

STUDY: dict[str, Any] = {
    "name": "small",
    "repeats": 2,
    "budget": {"evaluations": 100},
    "problems": {
        "deep": {
            "dataset": {"name": "digits"},
            "network": {
                "kind": "mlp",
                "hidden": [8],
                "activation": "tanh",
                "norm": {"grid": ["none", "batch"]},
            },
            "batch_size": 64,
        },
        "ball": {"function": {"name": "sphere", "dim": 3}, "budget": {"steps": 10}},
    },
    "optimizers": {
        "adam": {"kind": "adam", "learning_rate": {"grid": [0.1, 0.01]}},
        "ga": {"kind": "deap-ga"},
    },
    "report": {"baseline": "adam"},
}


@pytest.fixture
def edited() -> Edit:
    """`edited({"repeats": 3, "problems.deep.loss": ...})`: the small study with values put or taken out."""

    def edit(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        study = copy.deepcopy(STUDY)
        for key, value in (changes or {}).items():
            *path, last = key.split(".")
            here = study
            for part in path:
                here = here[part]
            if value is ...:
                del here[last]
            else:
                here[last] = value
        return study

    return edit


@pytest.fixture
def study(edited: Edit) -> Callable[..., StudyConfig]:
    """The small study with changes, read from a mapping."""

    def make(changes: Mapping[str, Any] | None = None, **options: Any) -> StudyConfig:
        return from_mapping(edited(changes), source="s.yaml", **options)

    return make


@pytest.fixture
def refused(study: Callable[..., StudyConfig]) -> Callable[..., str]:
    """The message with which the small study with changes is refused."""

    def message(changes: Mapping[str, Any], **options: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            study(changes, **options)
        return str(caught.value)

    return message


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A file with the text."""

    def write(text: str | bytes, name: str = "s.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
