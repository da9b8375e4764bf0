"""Where a problem lives: the device and the floating type behind the names of a study file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gfopt.errors import ConfigError, expectation

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(name: str) -> torch.device:
    """The device behind `auto`, `cpu`, `cuda` or `cuda:1`; `auto` is the GPU where there is one.

    Raises:
        ConfigError: for another name, or `cuda` on a machine without one.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError("device: " + expectation("auto, cpu or cuda", name))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device: " + expectation("a device of this machine", name, "This machine has no usable GPU; use auto.")
        )
    return device


def resolve_dtype(name: str) -> torch.dtype:
    """The torch type behind `float32` or `float64`."""
    if name not in DTYPES:
        raise ConfigError("dtype: " + expectation("float32 or float64", name))
    return DTYPES[name]


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """On a GPU, no TF32 inside: its ten-bit mantissa would make losses differ from a CPU's in the third digit."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
