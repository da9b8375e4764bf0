"""A winner as a file of its own, readable by gfopt and by plain torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn

from gfopt.errors import ConfigError, StoreError, expectation, located
from gfopt.nn import build_network

PREFIX = "network."


def restore(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], network: nn.Module | None = None
) -> nn.Module:
    """The network of a stored run, in evaluation mode.

    Args:
        arrays: as the store has them: `vector`, and the network's tensors under `network.`.
        metadata: text beside them; its key `gfopt` describes the network.
        network: a module of the same structure; needed for networks that no specification describes.

    Raises:
        ConfigError: if the run has no network, or it cannot be made again.
    """
    about = _about(metadata)
    state = {
        name.removeprefix(PREFIX): torch.as_tensor(np.array(a)) for name, a in arrays.items() if name.startswith(PREFIX)
    }
    if not state or "function" in about:
        raise ConfigError(expectation("a run that trained a network", f"`run {about.get('run', '')}, which did not`"))
    module = _made(about) if network is None else network
    try:
        module.to(next(iter(t.dtype for t in state.values() if t.is_floating_point()))).load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(f"network: the stored tensors do not fit it: {error}") from error
    return module.eval()


def export(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], path: str | os.PathLike[str]) -> Path:
    """Write a winner's tensors under their own names: a state dict that plain torch loads, described in its metadata.

    Raises:
        ConfigError: if the run has no network.
        StoreError: if the file cannot be written.
    """
    tensors = {name.removeprefix(PREFIX): np.array(a) for name, a in arrays.items() if name.startswith(PREFIX)}
    if not tensors:
        tensors = {"vector": np.array(arrays["vector"])}
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        save_file(tensors, temporary, metadata=dict(metadata))
        temporary.replace(target)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{target}: cannot be written: {error}") from error
    return target


def load_model(path: str | os.PathLike[str], network: nn.Module | None = None) -> nn.Module:
    """The network in a file that `gfopt best` has written, in evaluation mode.

    Its inputs are scaled as the file's description says; `model_info(path)["input_scaling"]` has mean and scale.

    Args:
        path: the file.
        network: a module of the same structure, for a network of your own.

    Raises:
        StoreError, ConfigError: if it is no such file, or the network cannot be made again.
    """
    with located(str(path)):
        metadata = _metadata(path)
        return restore({PREFIX + name: a for name, a in load_file(path).items()}, metadata, network)


def model_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file of `gfopt best` says about itself: network, scaling of inputs and targets, class labels, scores."""
    with located(str(path)):
        return _about(_metadata(path))


def _metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise StoreError(expectation("a safetensors file", f"`{error}`")) from error


def _about(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a winner's metadata say; empty for tensors of other origin."""
    try:
        about = json.loads(metadata.get("gfopt", "{}"))
    except json.JSONDecodeError as error:
        raise StoreError("gfopt: " + expectation("a description in JSON", f"`{error}`")) from error
    if not isinstance(about, dict):
        raise StoreError("gfopt: " + expectation("a description in JSON", about))
    return about


def _made(about: Mapping[str, Any]) -> nn.Module:
    """The network that the description names, with fresh weights."""
    problem = about.get("problem")
    spec = problem.get("network") if isinstance(problem, Mapping) else None
    if not isinstance(spec, Mapping) or "kind" not in spec:
        name = spec.get("python", spec.get("module", "")) if isinstance(spec, Mapping) else ""
        fix = f"Pass network={name}(...)." if name else "Pass it as network=..."
        raise ConfigError("network: " + expectation("a module of the same structure", "`none`", fix))
    sizes = {name: about[name] for name in ("input_shape", "out_features") if name in about}
    with located("network"):
        return build_network({**sizes, **spec})
