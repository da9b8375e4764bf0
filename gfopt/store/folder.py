"""`ResultsFolder`: a study's results on disk, whole at every moment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gfopt.errors import StoreError, expectation, located
from gfopt.store import files, layout, runs, tables
from gfopt.store.identity import difference
from gfopt.store.plain import plain, to_json, to_yaml
from gfopt.store.tunings import Tunings

FINISHED = runs.FINISHED
SCHEMA_VERSION = layout.SCHEMA_VERSION


class ResultsFolder:
    """A study's results on disk.

    The constructor checks nothing, so that a worker process gets at its folder cheaply; `create` and `open`
    check.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        study: Mapping[str, Any],
        environment: Mapping[str, Any],
        fresh: bool = False,
    ) -> ResultsFolder:
        """A new results folder, or the one at `path` if it is of the same study.

        The joined tables of a re-opened folder are removed: they are made of the runs, and no longer hold all
        of them once the study goes on.

        Args:
            path: the folder; its parents are made too.
            study: plain description: `name`, `seed`, `problems`, `optimizers`, ...; `identity.difference`.
            environment: plain description of the machine and the software.
            fresh: remove the results that are there, whatever study they are of; files of other origin stay.

        Raises:
            StoreError: if something else is there, or nothing can be written. Nothing has been written then.
        """
        folder = cls(path)
        with located(str(folder.path)):
            text = layout.HEADER.format(layout.SCHEMA_VERSION) + "\n" + to_yaml(study)
            to_json(environment)  # refused here if it is not plain, before anything is written
            found = layout.schema(folder.path)
            layout.check_writable(folder.path)
            if found is not None and fresh:
                _remove_own(folder.path)
            elif found is not None:
                layout.check_schema(found)
                _check_same(folder.study, plain(study))
        _make(folder.path, text)
        folder._write_environment(environment)
        files.remove_leftovers(folder.path)
        files.make_folder(folder.path / layout.RUNS)
        files.remove_leftovers(folder.path / layout.RUNS)
        if (folder.path / layout.TUNING).is_dir():
            files.remove_leftovers(folder.path / layout.TUNING)
        for name in layout.JOINED:
            files.remove(folder.path / layout.TABLES[name])
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ResultsFolder:
        """The results folder at `path`, to read.

        Raises:
            StoreError: if there is none.
        """
        folder = cls(path)
        with located(str(folder.path)):
            found = layout.schema(folder.path)
            if found is None:
                got = "`an empty folder`" if folder.path.exists() else "`nothing`"
                raise StoreError(expectation("a results folder", got, "`gfopt run` makes one"))
            layout.check_schema(found)
        return folder

    @property
    def study(self) -> dict[str, Any]:
        """The study's plain description."""
        return _mapping(self.path / layout.STUDY, files.read_yaml(self.path / layout.STUDY))

    @property
    def environment(self) -> dict[str, Any]:
        """What the study last ran on; `earlier` lists what it ran on before, if that was something else."""
        return _mapping(self.path / layout.ENVIRONMENT, files.read_json(self.path / layout.ENVIRONMENT))

    @property
    def report(self) -> Path:
        """Where the report page belongs."""
        return self.path / layout.REPORT

    @property
    def tunings(self) -> Tunings:
        """What was tuned before the runs."""
        return Tunings(self.path)

    def run_folder(self, key: str) -> Path:
        """Where the run of this key is, or would be.

        Raises:
            StoreError: if `key` is no run's key.
        """
        return self.path / layout.RUNS / layout.check_key(key)

    def write_run(
        self,
        key: str,
        run: Mapping[str, Any],
        curve: Sequence[Mapping[str, Any]],
        arrays: Mapping[str, NDArray[Any]],
        metadata: Mapping[str, str],
        diagnostics: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Put a run into the folder, whole or not at all; safe to call again and from several processes.

        A finished run that is there stays; one that crashed or was killed is replaced.

        Args:
            key: the run's key.
            run: plain description. Its values become the run's table row, except nested mappings (the spec).
            curve: the logged points, plain rows.
            arrays: numeric arrays of the winner; with none, no `best.safetensors` is written.
            metadata: text about the arrays.
            diagnostics: what was measured along the run, plain rows; with none, no
                `diagnostics.parquet` is written.

        Raises:
            StoreError: if a value cannot be stored, or the system refuses. The folder is then as it was.
        """
        runs.write(self.run_folder(key), run, curve, arrays, metadata, diagnostics)

    def keys(self) -> list[str]:
        """The keys of all runs that are there, however they ended, sorted."""
        place = self.path / layout.RUNS
        entries = sorted(place.iterdir()) if place.is_dir() else []
        return [entry.name for entry in entries if layout.is_run(entry) and (entry / layout.RUN).exists()]

    def finished(self, statuses: Sequence[str] = FINISHED) -> dict[str, dict[str, Any]]:
        """The descriptions of the runs that ended in one of `statuses`, by key.

        Raises:
            StoreError: naming the file that is damaged.
        """
        found = {key: self.read_run(key) for key in self.keys()}
        return {key: run for key, run in found.items() if run.get("status") in statuses}

    def read_run(self, key: str) -> dict[str, Any]:
        """The run's description.

        Raises:
            StoreError: naming the file, if it is absent or damaged.
        """
        return runs.read(self.run_folder(key))

    def read_curve(self, key: str) -> pd.DataFrame:
        """The run's logged points.

        Raises:
            StoreError: naming the file, if it is absent or damaged.
        """
        return tables.frame(runs.read_curve(self.run_folder(key)))

    def read_best(self, key: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """The winner's arrays and the text about them.

        Raises:
            StoreError: naming the file, if it is absent or damaged.
        """
        return runs.read_best(self.run_folder(key))

    def collect(self, keys: Sequence[str]) -> None:
        """Join the runs of `keys`, in this order, into `runs.parquet` and `curves.parquet`.

        Raises:
            StoreError: if a run is absent or damaged.
        """
        rows, points = self._joined(keys)
        files.write_parquet(self.path / layout.TABLES["runs"], rows, layout.METADATA)
        files.write_parquet(self.path / layout.TABLES["curves"], points, layout.METADATA)

    def write_diagnostics(self, rows: Sequence[Mapping[str, Any]], keys: Sequence[str] = ()) -> None:
        """Put the rows, which belong to no run, and those of the runs of `keys` into `diagnostics.parquet`.

        Raises:
            StoreError: if a value cannot be stored, a run's are damaged, or the system refuses.
        """
        whole = tables.stack([tables.table(rows), *self._measured(keys)])
        files.write_parquet(self.path / layout.TABLES["diagnostics"], whole, layout.METADATA)

    def read_frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """The frames `(runs, curves, diagnostics)`; of an interrupted study, with the runs that are there.

        Raises:
            StoreError: naming the file that is damaged.
        """
        paths = {name: self.path / layout.TABLES[name] for name in ("runs", "curves", "diagnostics")}
        found = {name: path for name, path in paths.items() if path.exists()}
        read: dict[str, pa.Table] = {"diagnostics": tables.table([])}
        for name, path in found.items():
            with runs.repairable(path):
                read[name] = files.read_parquet(path)
        if not found.keys() >= {"runs", "curves"}:
            keys = self.keys()
            read["runs"], read["curves"] = self._joined(keys)
            starts = tables.without(read["diagnostics"], "run")
            read["diagnostics"] = tables.stack([starts, *self._measured(keys)])
        return tables.frame(read["runs"]), tables.frame(read["curves"]), tables.frame(read["diagnostics"])

    def _measured(self, keys: Sequence[str]) -> list[pa.Table]:
        found = ((key, runs.read_diagnostics(self.run_folder(key))) for key in keys)
        return [_of_run(key, table) for key, table in found if table.num_rows]

    def _joined(self, keys: Sequence[str]) -> tuple[pa.Table, pa.Table]:
        rows, points = [], []
        for key in keys:
            folder = self.run_folder(key)
            rows.append({"run": key, **tables.scalars(runs.read(folder), but="run")})
            points.append(_of_run(key, runs.read_curve(folder)))
        return tables.table(rows), tables.stack(points)

    def _write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write the environment; one that was really another moves to `earlier`."""
        path = self.path / layout.ENVIRONMENT
        earlier: list[Any] = []
        if path.exists():
            before = self.environment
            earlier = list(before.pop("earlier", []))
            if _software(before) != _software(plain(environment)):
                earlier.append(before)
        own = {"schema": layout.SCHEMA_VERSION, **environment}
        files.write_json(path, {**own, "earlier": earlier} if earlier else own)


def _of_run(key: str, data: pa.Table) -> pa.Table:
    """The table with the run's key in front."""
    if "run" in data.column_names:
        data = data.drop_columns(["run"])
    return data.add_column(0, "run", pa.array([key] * data.num_rows, pa.string()))


def _software(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in environment.items() if name not in {"schema", "date", "command"}}


def _mapping(path: Path, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StoreError(f"{path}: " + expectation("a mapping", value))
    return value


def _check_same(found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    other = difference(found, asked)
    if other is not None:
        fix = "Choose another folder with --out, or --fresh to remove the results that are there"
        message = expectation(f"the study that is there, with {other.found!r}", other.asked, fix)
        raise StoreError(f"{other.path}: {message}")


def _make(path: Path, study: str) -> None:
    """Make the folder with its `study.yaml`, or leave nothing behind."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        files.make_folder(path)
        files.write_text(path / layout.STUDY, study)
    except StoreError:
        for folder in made:
            if folder.is_dir():
                folder.rmdir()
        raise


def _remove_own(path: Path) -> None:
    own = layout.own_files(path)
    for file in own:
        if file.is_dir() and not files.is_temporary(file):
            if not any(file.iterdir()):  # a file of other origin keeps its folder
                file.rmdir()
        else:
            files.remove(file)
