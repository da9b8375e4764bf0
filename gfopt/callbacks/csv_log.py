"""A run's curve as a CSV file that grows while the run goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfopt.callbacks._arguments import place, row
from gfopt.errors import StoreError
from gfopt.store.files import write_text
from gfopt.types import Callback, Observation


class CSVLogger(Callback):
    """Writes each logged point as a row: the columns of `Run.curve`, of which it has all rows but the start's.

    A row is in the file when its step is done. A new run begins the file anew; a resumed one goes on with it, without
    the rows behind the point at which it is resumed.

    Args:
        path: the file; its folder has to be there.

    Raises:
        ConfigError: if `path` is no path.
        StoreError: before the first step, if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = place("path", path)
        self._steps = 0  # of the last row

    def on_train_begin(self, dim: int) -> None:
        """An empty file."""
        del dim
        self._steps = 0
        write_text(self.path, "")

    def on_generation_end(self, seen: Observation) -> str | None:
        """Add a row at a logged point."""
        if seen.logged:
            self._add(row(seen))
            self._steps = seen.ledger.steps
        return None

    def _add(self, values: Mapping[str, float]) -> None:
        # Opened for each of the few rows: no handle is left behind by a run that fails, and copies are harmless.
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(values))
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(values)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written: {error.strerror}") from error

    def state_dict(self) -> dict[str, Any]:
        """The step of the last row."""
        return {"steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Drop the rows behind the step of `state`; a file that is gone is begun anew."""
        self._steps = int(state["steps"])
        if self.path.exists():
            write_text(self.path, _up_to(self.path, self._steps))


def _up_to(path: Path, steps: int) -> str:
    """The file's header and its rows of at most so many `steps`; a last row that was cut off is left out.

    Raises:
        StoreError: if it is no table with the column `steps`.
    """
    kept = io.StringIO(newline="")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            writer = csv.DictWriter(kept, names)
            if names:
                writer.writeheader()
            for found in reader:
                if None in found.values() or int(found["steps"]) > steps:
                    break
                writer.writerow(found)
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise StoreError(f"{path}: is no log of a run to go on with ({type(error).__name__}: {error})") from error
    return kept.getvalue()
