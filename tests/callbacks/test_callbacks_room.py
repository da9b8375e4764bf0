"""The names of the room, and what loading them takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gfopt import callbacks
from gfopt.types import Callback


def test_every_name_is_there_and_every_callback_is_one():
    assert set(callbacks.__all__) <= set(dir(callbacks))
    for name in set(callbacks.__all__) - {"Observation"}:
        assert issubclass(getattr(callbacks, name), Callback)


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'EarlyStoping'"):
        _ = callbacks.EarlyStoping


def test_no_name_loads_torch_tensorboard_or_mlflow():
    code = """
from gfopt import callbacks
for name in callbacks.__all__:
    getattr(callbacks, name)
import sys
print([name for name in ("torch", "tensorboard", "mlflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_run_is_the_same_with_and_without_them(train, tmp_path):
    looking = [
        callbacks.EarlyStopping(1e9),
        callbacks.TargetReached("loss", 0.0),
        callbacks.TimeLimit(1e9),
        callbacks.CSVLogger(tmp_path / "run.csv"),
        callbacks.TensorBoardLogger(tmp_path / "board"),
    ]
    assert train(*looking).curve["loss"].tolist() == train().curve["loss"].tolist()
