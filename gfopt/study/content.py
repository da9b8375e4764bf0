"""What Python objects are, as plain data: by name and a hash of what they do and hold, the same in every process.

A run is found again by its definition, so two networks that differ in a captured width or in one line of `forward`
must not look the same. Functions count by their byte code with everything that it refers to: defaults, captured and
global values, other functions and classes of the user's. What belongs to an installed library counts by its name.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import re
import site
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import nn

from gfopt.config import CodeReference
from gfopt.data import Dataset

_OWN = "gfopt"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_NAMES = {"LOAD_GLOBAL", "LOAD_NAME"}
_LIBRARY_FOLDERS = tuple(
    Path(folder)
    for folder in {
        *(sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)


def describe(value: Any) -> Any:
    """Plain data that stands for `value` in keys and in study.yaml; Python objects by name and content hash."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, CodeReference):
        named = {"module": value.module, "options": describe(value.options)}
        return {**named, "hash": content_hash(value.load())}
    if isinstance(value, BaseModel):
        return {name: describe(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return {"python": _name(value), "hash": content_hash(value)}


def without_folders(dataset: Any) -> Any:
    """What a study says about a data set, in grids too, with the names of files in place of their paths."""
    if isinstance(dataset, list):
        return [without_folders(item) for item in dataset]
    if not isinstance(dataset, dict):
        return dataset
    shorter = {key: without_folders(value) for key, value in dataset.items()}
    if isinstance(dataset.get("path"), str):
        shorter["path"] = Path(dataset["path"]).name
    return shorter


def content_hash(value: Any) -> str:
    """16 hexadecimal digits that differ where two objects do or hold something else."""
    return _short(_Walk().of(value).digest())


def digest(text: str) -> str:
    """16 hexadecimal digits of a text."""
    return _short(hashlib.sha256(text.encode()).digest())


def _short(digest: bytes) -> str:
    return digest.hex()[:16]


def _name(value: Any) -> str:
    if isinstance(value, Dataset):
        return f"Dataset {value.name}"
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    if isinstance(value, functools.partial):
        return f"partial of {_name(value.func)}"
    return str(getattr(value, "__qualname__", type(value).__qualname__))


class _Walk:
    """Feeds a hash with an object and everything that it refers to, each once."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # keeps ids from being used again

    def of(self, value: Any) -> Any:
        """The hash after `value`."""
        self._add(value)
        return self._hash

    def _put(self, *parts: str | bytes) -> None:
        for part in parts:
            data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
            self._hash.update(len(data).to_bytes(8, "big") + data)

    def _add(self, value: Any) -> None:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            self._put(type(value).__name__, repr(value))
            return
        if id(value) in self._seen:
            self._put("again", str(self._seen[id(value)]))
            return
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        self._put(type(value).__qualname__)
        for part in self._parts(value):
            self._add(part)

    def _parts(self, value: Any) -> Iterable[Any]:
        """What an object consists of, in an order that is the same in every process."""
        if isinstance(value, Mapping):
            return (part for pair in value.items() for part in pair)
        if isinstance(value, list | tuple):
            return value
        if isinstance(value, set | frozenset):
            return sorted(_Walk().of(item).hexdigest() for item in value)
        if isinstance(value, np.ndarray | np.generic | torch.Tensor):
            return _array(value)
        if isinstance(value, Dataset):
            return [value.fingerprint()]
        if isinstance(value, types.CodeType):
            return _code(value)
        if isinstance(value, types.FunctionType):
            return _function(value)
        if isinstance(value, types.MethodType | staticmethod | classmethod):
            return [value.__func__, getattr(value, "__self__", None)]
        if isinstance(value, functools.partial):
            return [value.func, value.args, value.keywords]
        if isinstance(value, property):
            return [value.fget, value.fset]
        if isinstance(value, types.ModuleType):
            return _module(value)
        if isinstance(value, type):
            return _class(value)
        return _instance(value)


def _array(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous().flatten()
        return [str(value.dtype), tuple(value.shape), value.requires_grad, plain.view(torch.uint8).numpy().tobytes()]
    array = np.asarray(value)
    held = array.tolist() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()
    return [array.dtype.str, array.shape, held]


def _code(code: types.CodeType) -> list[Any]:
    # `co_names` beside the byte code, which holds positions only: `torch.sin` and `torch.cos` are the same there.
    return [code.co_code, code.co_names, code.co_freevars, code.co_varnames[: code.co_argcount], *code.co_consts]


def _function(function: types.FunctionType) -> Iterator[Any]:
    if _is_library(function.__module__):
        yield from (function.__module__, function.__qualname__)
        return
    yield from (function.__code__, function.__defaults__, function.__kwdefaults__)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            yield None
    for name in sorted(_global_names(function.__code__)):
        yield name
        yield function.__globals__.get(name)  # None for a builtin, which its name stands for


def _global_names(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    own = {str(step.argval) for step in dis.get_instructions(code) if step.opname in _NAMES}
    return own.union(*map(_global_names, inner))


def _module(module: types.ModuleType) -> list[Any]:
    """A module of the user's by its source: which part of it is used cannot be told."""
    file = getattr(module, "__file__", None)
    if _is_library(module.__name__) or file is None or not Path(file).is_file():
        return [module.__name__]
    return [module.__name__, Path(file).read_bytes()]


def _class(kind: type) -> Iterator[Any]:
    yield kind.__qualname__
    if _is_library(kind.__module__):
        yield kind.__module__
        return
    yield kind.__bases__
    for name, value in sorted(vars(kind).items()):
        # What Python itself keeps on a class says nothing more about it.
        if not name.startswith("__") or isinstance(value, types.FunctionType | staticmethod | classmethod | property):
            yield from (name, value)


def _instance(value: Any) -> Iterator[Any]:
    kind = type(value)
    yield kind
    open_to_view = isinstance(value, nn.Module) or kind.__module__.startswith(_OWN)
    if _is_library(kind.__module__) and not open_to_view:
        yield _ADDRESS.sub("", repr(value))
        return
    yield getattr(value, "__dict__", None)
    for slot in (s for base in kind.__mro__ for s in getattr(base, "__slots__", ())):
        yield from (slot, getattr(value, slot, None))


def _is_library(name: str | None) -> bool:
    """Whether a module is Python's, gfopt's or an installed package's, and not the user's own."""
    if name is None or name == "__main__":
        return False
    if name.partition(".")[0] == _OWN:
        return True
    module = sys.modules.get(name)
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return name in sys.builtin_module_names
    return any(Path(file).is_relative_to(folder) for folder in _LIBRARY_FOLDERS)
