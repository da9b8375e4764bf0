"""Where a problem lives: the device and the floating type behind the names of a study file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, get_args

import torch

from gfopt.errors import ConfigError, expectation
from gfopt.rng import torch_seeded

DTYPES = {"float32": torch.float32, "float64": torch.float64}

# How a GPU multiplies float32 numbers: as they are; with mantissas of 10 bits (relative error of a product about 5e-4);
# with mantissas of 7 bits (about 4e-3), activations included.
Precision = Literal["full", "tf32", "bf16"]


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


def resolve_precision(name: str, device: torch.device, dtype: torch.dtype) -> Precision:
    """The precision behind `full`, `tf32` or `bf16`; anything but `full` is for float32 on a GPU.

    Raises:
        ConfigError: for another name, or where it would change nothing.
    """
    known: tuple[Precision, ...] = get_args(Precision)
    for precision in known:
        if precision == name:
            break
    else:
        raise ConfigError("precision: " + expectation("full, tf32 or bf16", name))
    if precision != "full" and (device.type != "cuda" or dtype != torch.float32):
        where = f"{str(dtype).removeprefix('torch.')} on {device.type}"
        raise ConfigError("precision: " + expectation(f"full for {where}", name, "The others are for float32 on cuda."))
    return precision


@contextmanager
def products(device: torch.device, precision: Precision) -> Iterator[None]:
    """On a GPU, matrix products and convolutions inside use TF32 if `precision` says so, and never otherwise."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """On a GPU, no TF32 inside: its ten-bit mantissa would make losses differ from a CPU's in the third digit."""
    return products(device, "full")


def lowered(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """For `bf16`: products inside in that type, as torch's autocast chooses them; for a forward pass, not its loss."""
    if precision != "bf16":
        return nullcontext()
    # A cache would hold on to the weights of a tile of members.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators of the CPU and of `device` start at `seed` inside and are put back on exit."""
    with torch_seeded(seed):
        if device.type != "cuda":
            yield
            return
        index = torch.cuda.current_device() if device.index is None else device.index
        generator = torch.cuda.default_generators[index]
        before = generator.get_state()
        generator.manual_seed(seed)
        try:
            yield
        finally:
            generator.set_state(before)
