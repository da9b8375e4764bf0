"""Names of devices and types, and the precision of a GPU."""

from __future__ import annotations

import pytest
import torch

from gfopt.engine import resolve_device, resolve_dtype
from gfopt.engine.device import full_precision
from gfopt.errors import ConfigError


def test_auto_is_the_gpu_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", "", "CPU!"])
def test_other_devices_are_refused(name):
    with pytest.raises(ConfigError, match="auto, cpu or cuda"):
        resolve_device(name)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no usable GPU"):
        resolve_device("cuda")


def test_types():
    assert resolve_dtype("float64") is torch.float64
    with pytest.raises(ConfigError, match="float32 or float64, got 'half'"):
        resolve_dtype("half")


def test_a_gpu_computes_without_tf32_and_gets_its_own_settings_back():
    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = flags()
    with full_precision(torch.device("cuda")):
        assert flags() == (False, False)
    assert flags() == before
    with full_precision(torch.device("cpu")):
        assert flags() == before
