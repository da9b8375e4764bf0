"""The state of a run in one file: plain values and arrays, whole or absent, and nothing that could execute."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from gfopt.errors import StoreError, expectation, located
from gfopt.store import files
from gfopt.store.plain import from_json, to_json

SCHEMA = "1"
_PLACE = "__array__"  # the key that stands for an array in the text


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Put `state` at `path`, in place of what was there.

    Args:
        path: a file in a folder that exists.
        state: nested dicts and lists of str, int, float, bool, None and numpy arrays of numbers.

    Raises:
        StoreError: if something else is in it, or the system refuses; what was there before is then still there.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with located(str(path)):
        text = to_json(_without_arrays(state, arrays))
        metadata = {"gfopt_checkpoint": SCHEMA, "state": text, "sha256": _digest(text, arrays)}
        files.write_bytes(path, safetensors.numpy.save(arrays, metadata))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state that `write_checkpoint` put at `path`, bit for bit.

    Raises:
        StoreError: naming the file, if it is absent, damaged in a single bit, or no checkpoint of this version.
    """
    with located(str(path)):
        data = files.read_bytes(path)
        if len(data) < 8 or len(data) < 8 + int.from_bytes(data[:8], "little"):
            raise StoreError(_damaged("too short"))
        try:
            header = from_json(data[8 : 8 + int.from_bytes(data[:8], "little")].decode())
            arrays = safetensors.numpy.load(data)
            metadata = header["__metadata__"]
            found, text, digest = metadata["gfopt_checkpoint"], metadata["state"], metadata["sha256"]
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(_damaged(str(error))) from error
        if found != SCHEMA:
            raise StoreError(expectation(f"a checkpoint of schema {SCHEMA}", f"`schema {found}`"))
        if digest != _digest(text, arrays):
            raise StoreError(_damaged("its content does not match its checksum"))
        state: dict[str, Any] = _with_arrays(from_json(text), arrays)
        return state


def _damaged(why: str) -> str:
    fix = "Remove the file to start over."
    return expectation("a whole checkpoint", f"`something truncated or damaged` ({why})", fix)


def _without_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """`value` with each array replaced by its number; the arrays are added to `arrays`."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise StoreError(expectation("arrays of numbers", f"`one of {value.dtype}`"))
        name = str(len(arrays))
        arrays[name] = np.array(value, order="C")
        return {_PLACE: name}
    if isinstance(value, Mapping):
        if _PLACE in value:
            raise StoreError(expectation(f"keys other than {_PLACE}", _PLACE))
        return {key: _without_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, arrays) for item in value]
    return value


def _with_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_PLACE}:
            return arrays[value[_PLACE]]
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    return [_with_arrays(item, arrays) for item in value] if isinstance(value, list) else value


def _digest(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Of the text and every array: its name, type, shape and bytes."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"\x00{name} {array.dtype.str} {arrays[name].shape}\x00".encode())
        found.update(array.tobytes())
    return found.hexdigest()
