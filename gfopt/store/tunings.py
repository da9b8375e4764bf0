"""Tunings in a results folder: one JSON file each, replaced in one step after every trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from gfopt.errors import StoreError, expectation
from gfopt.store import files, layout, tables
from gfopt.store.runs import repairable

RUNNING, UNTUNED = "running", "untuned"
ENDED = ("ok", UNTUNED)  # what is not done again


class Tunings:
    """The tunings of a study; nothing is written before the first one.

    A tuning is a plain description:
    - `identity`: the columns that say which one it is
    - `status` (`running`, `ok`, `crashed`, `killed`, or `untuned` where there was nothing to tune), `message`
    - `rows`: one table row a trial
    - `summary`, `options`, `cost`: of the table of pairs; the chosen options by name
    - whatever continues an interrupted one

    Args:
        path: the results folder.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path / layout.TUNING
        self._tables = {name: path / layout.TABLES[name] for name in ("tuning", "tuned")}

    def write(self, key: str, tuning: Mapping[str, Any]) -> None:
        """Put a tuning into the folder, in place of what was known of it.

        Raises:
            StoreError: if a value cannot be stored, or the system refuses; what was there is then still there.
        """
        path = self._path(key)
        files.make_folder(self.folder)
        files.write_json(path, tuning)

    def read(self, key: str) -> dict[str, Any] | None:
        """What is known of a tuning, finished or not; `None` if nothing is.

        Raises:
            StoreError: naming the file, if it is damaged.
        """
        path = self._path(key)
        if not path.exists():
            return None
        with repairable(path):
            value = files.read_json(path)
            if not isinstance(value, dict):
                raise StoreError(f"{path}: " + expectation("a mapping", value))
            return value

    def collect(self, keys: Sequence[str]) -> None:
        """Join the tunings of `keys`, in this order, into `tuning.parquet` and `tuned.parquet`.

        Raises:
            StoreError: if one is damaged, or the system refuses.
        """
        for path, table in zip(self._tables.values(), self._joined(keys), strict=True):
            files.write_parquet(path, table, layout.METADATA)

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One row a trial, and one row a tuning; of an interrupted study, with what is there.

        Raises:
            StoreError: naming the file that is damaged.
        """
        if not all(path.exists() for path in self._tables.values()):
            trials, pairs = self._joined(self._keys())
            return tables.frame(trials), tables.frame(pairs)
        read = []
        for path in self._tables.values():
            with repairable(path):
                read.append(tables.frame(files.read_parquet(path)))
        return read[0], read[1]

    def _joined(self, keys: Sequence[str]) -> tuple[pa.Table, pa.Table]:
        found = [tuning for key in keys if (tuning := self.read(key)) is not None]
        return tables.table(_trials(found)), tables.table(map(_pair, found))

    def _keys(self) -> list[str]:
        """Of all tunings that are there, sorted."""
        entries = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [entry.stem for entry in entries if layout.is_tuning(entry)]

    def _path(self, key: str) -> Path:
        return self.folder / f"{layout.check_key(key)}.json"


def _trials(tunings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**tuning["identity"], **row} for tuning in tunings for row in tuning["rows"]]


def _pair(tuning: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **tuning["identity"],
        "status": tuning["status"],
        "message": tuning["message"],
        **tuning["summary"],
        **{f"options.{name}": value for name, value in tuning["options"].items()},
        **tuning["cost"],
    }
