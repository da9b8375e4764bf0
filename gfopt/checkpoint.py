"""A run that can be stopped at any moment and goes on where it was: its state in a file, written along the way."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfopt.errors import ConfigError, expectation, located
from gfopt.store.checkpoints import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from gfopt.loop import Loop

EVERY_SECONDS = 30.0
_TOLERANCE = 1e-4  # of the start's loss, relative: another machine rounds otherwise


class Checkpoint:
    """Keeps a run's state in a file, and takes it from there.

    Args:
        path: the file; its folder exists.
        about: what the run is, as plain values: a file of another run is refused.
        seconds: between two writes; the end of the run is always written.
    """

    def __init__(self, path: str | os.PathLike[str], about: Mapping[str, Any], seconds: float = EVERY_SECONDS) -> None:
        self.path, self.about, self.seconds = Path(path), dict(about), seconds
        if not self.path.parent.is_dir():
            raise ConfigError("checkpoint: " + expectation("a file in a folder that exists", str(self.path)))
        self._written = time.monotonic()

    def __call__(self, loop: Loop, last: bool) -> None:
        """Write the loop's state if it is time, or the run is over."""
        if last or time.monotonic() - self._written >= self.seconds:
            write_checkpoint(self.path, {"about": self.about, "loop": loop.state_dict()})
            self._written = time.monotonic()

    def restore(self, loop: Loop) -> bool:
        """Let a loop that has not started go on from the file; whether there was one.

        Raises:
            StoreError: if the file is damaged.
            ConfigError: if it belongs to another run, or to the same with other data.
        """
        if not self.path.exists():
            return False
        state = read_checkpoint(self.path)
        with located("checkpoint", str(self.path)):
            self._check_same(state["about"])
            self._check_start(state["loop"]["records"][0]["loss"], loop)
            loop.load_state_dict(state["loop"])
        return True

    def _check_same(self, found: Mapping[str, Any]) -> None:
        for name, asked in self.about.items():
            if found.get(name) != asked:
                fix = "Choose another file, or remove this one to start over."
                wanted = f"a run with the {name} {asked!r}"
                raise ConfigError(expectation(wanted, f"`one with {found.get(name)!r}`", fix))

    def _check_start(self, found: float, loop: Loop) -> None:
        """Refuse a problem on which the start has another loss: its data or its loss are not what they were."""
        now = float(loop.problem.probe(loop.incumbent.reshape(1, -1)).loss[0])
        now = now if math.isfinite(now) else math.inf
        if not math.isclose(now, found, rel_tol=_TOLERANCE, abs_tol=1e-12):
            fix = "The data or the loss are not those of the checkpoint."
            raise ConfigError(expectation(f"a problem on which the start has the loss {found:.6g}", now, fix))


def fingerprint(rows: Tensor) -> str:
    """16 hexadecimal digits that differ where the rows `(P, D)` to start from do."""
    array = np.ascontiguousarray(rows.detach().cpu().numpy())
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()[:16]
