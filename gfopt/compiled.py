"""Functions that numba compiles for the machine at hand, kept on disk.

Numba compiles on the first call, which takes seconds; later processes load the machine code in a fraction of one. What
is on disk counts for the sources that it was made of: numba itself looks at the file of the function alone, here all
files of its room are looked at, since what a kernel is made of stands in several.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache


class _Cache(FunctionCache):  # type: ignore[misc] # numba ships no types
    """Numba's cache, whose entries also depend on the other files of the function's room."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.sources = _fingerprint(Path(inspect.getfile(function)).parent)

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        return (*super()._index_key(signature, codegen), self.sources)


def compiled(function: Callable[..., Any], *, signature: str = "", reassociates: bool = False) -> Any:
    """The function as machine code: no bounds are checked, other threads may run, nothing is approximated.

    Where no folder can be written to, neither beside the sources nor in the user's own cache, every process compiles
    anew.

    Args:
        function: of what numba knows.
        signature: the only types of arguments that it takes; it is then compiled, or loaded, at once.
        reassociates: sums may run in another order, so that they become vector code.
    """
    freedom = {"reassoc", "nsz", "contract"} if reassociates else False
    made = numba.njit(nogil=True, error_model="numpy", fastmath=freedom)(function)
    with suppress(RuntimeError):  # what numba raises without a folder; its own stand-in keeps nothing
        made._cache = _Cache(function)
    if signature:
        made.compile(signature)
        made.disable_compile()
    return made


def on_disk(function: Any) -> bool:
    """Whether a compiled function's machine code was kept by an earlier process, for this machine and these sources."""
    kept = function._cache
    if not isinstance(kept, _Cache):
        return False
    machine = function.targetctx.codegen().magic_tuple()
    return any(key[1] == machine and key[-1] == kept.sources for key in kept._cache_file._load_index())


@cache
def _fingerprint(folder: Path) -> str:
    """Of the contents of all sources in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
