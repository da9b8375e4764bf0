"""A state on disk, as a checkpoint keeps it: plain values as JSON, arrays as raw numbers, nothing that can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ARRAY = "array"
_PLAIN = (str, int, float, bool, type(None))


def write_state(file: Path, state: Mapping[str, Any]) -> None:
    """Write a state of nested dicts and lists of plain values and arrays.

    Raises:
        TypeError: for a key that is no text, and for any other value, with its place.
    """
    arrays: dict[str, NDArray[Any]] = {}
    plain = _without_arrays(state, "state", arrays)
    np.savez(file, allow_pickle=False, text=np.array(json.dumps(plain)), **arrays)


def read_state(file: Path) -> dict[str, Any]:
    """What `write_state` wrote; its arrays are read-only, as those of a mapped file."""
    with np.load(file, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    for array in arrays.values():
        array.flags.writeable = False
    state = _with_arrays(json.loads(str(arrays["text"])), arrays)
    assert isinstance(state, dict)
    return state


def _without_arrays(value: Any, place: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """`value` with `{"array": name}` in place of each array, which goes to `arrays`."""
    if isinstance(value, dict):
        wrong = [key for key in value if type(key) is not str]
        if wrong:
            raise TypeError(f"{place}: expected keys that are text, got {wrong[0]!r}")
        return {"dict": {key: _without_arrays(item, f"{place}[{key!r}]", arrays) for key, item in value.items()}}
    if isinstance(value, list):
        return [_without_arrays(item, f"{place}[{index}]", arrays) for index, item in enumerate(value)]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        name = f"{_ARRAY}{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}
    if type(value) not in _PLAIN:  # numpy's own numbers are not plain: a float64 would come back as a float
        wanted = "expected a dict, a list, an array of numbers, str, int, float, bool or None"
        raise TypeError(f"{place}: {wanted}, got {type(value).__name__}")
    return value


def _with_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return arrays[value[_ARRAY]]
    return {key: _with_arrays(item, arrays) for key, item in value["dict"].items()}
