"""One run's folder: written under a temporary name and renamed, so that a run is whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from gfopt.errors import StoreError, expectation, located
from gfopt.store import files, layout, tables
from gfopt.trace import Status

FINISHED = (Status.OK, Status.DIVERGED)


def write(
    folder: Path,
    run: Mapping[str, Any],
    curve: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
    diagnostics: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Put a run at `folder`, unless a finished one is there; see `ResultsFolder.write_run`."""
    with located(str(folder)):
        best = _packed(arrays, metadata)
        if folder.is_symlink():
            raise StoreError(expectation("a folder", "`a link`", "Remove the link"))
        if _is_finished(folder):
            return
        temporary = folder.with_name(files.temporary_name())
        try:
            files.make_folder(temporary)
            files.write_json(temporary / layout.RUN, run)
            files.write_parquet(temporary / layout.CURVE, tables.table(curve), layout.METADATA)
            if diagnostics:
                measured = tables.table(diagnostics)
                files.write_parquet(temporary / layout.DIAGNOSTICS, measured, layout.METADATA)
            if best is not None:
                files.write_bytes(temporary / layout.BEST, best)
            _publish(temporary, folder)
        finally:
            files.remove(temporary)


def read(folder: Path) -> dict[str, Any]:
    """The description of the run at `folder`.

    Raises:
        StoreError: naming the file, if it is absent or damaged.
    """
    path = folder / layout.RUN
    with repairable(folder):
        value = files.read_json(path)
        if not isinstance(value, dict):
            raise StoreError(f"{path}: " + expectation("a mapping", value))
        return value


def read_curve(folder: Path) -> pa.Table:
    """The logged points of the run at `folder`.

    Raises:
        StoreError: naming the file, if it is absent or damaged.
    """
    with repairable(folder):
        return files.read_parquet(folder / layout.CURVE)


def read_diagnostics(folder: Path) -> pa.Table:
    """What was measured along the run at `folder`; empty if nothing was.

    Raises:
        StoreError: naming the file, if it is damaged.
    """
    path = folder / layout.DIAGNOSTICS
    if not path.exists():
        return tables.table([])
    with repairable(folder):
        return files.read_parquet(path)


def read_best(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The winner's arrays of the run at `folder`, and the text about them.

    Raises:
        StoreError: naming the file, if it is absent or damaged.
    """
    path = folder / layout.BEST
    with repairable(folder):
        if not path.is_file():
            raise StoreError(f"{path}: " + expectation("a file", "`nothing`"))
        try:
            with safetensors.safe_open(str(path), framework="np") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        except (safetensors.SafetensorError, ValueError, TypeError, OSError) as error:
            raise StoreError(f"{path}: " + expectation("a whole safetensors file", f"`{error}`")) from error


@contextmanager
def repairable(path: Path) -> Iterator[None]:
    """Say in any `StoreError` that passes what to remove so that the study makes it anew."""
    try:
        yield
    except StoreError as error:
        error.message += f". Remove {path} and run the study again to replace it"
        raise


def _is_finished(folder: Path) -> bool:
    try:
        return read(folder).get("status") in FINISHED
    except StoreError:  # absent or damaged: a whole run may take its place
        return False


def _publish(temporary: Path, folder: Path) -> None:
    """Rename `temporary` to `folder`; an unfinished run that is there makes room."""
    with files.explained(folder):
        try:
            os.rename(temporary, folder)
        except OSError:
            if _is_finished(folder):  # another process has finished the same run a moment ago
                return
            if not folder.is_dir():
                raise
            _swap(temporary, folder)
        files.sync_folder(folder.parent)


def _swap(temporary: Path, folder: Path) -> None:
    old = folder.with_name(files.temporary_name())
    os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        os.rename(old, folder)
        raise
    files.remove(old)


def _packed(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes | None:
    """The bytes of `best.safetensors`; `None` without arrays."""
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise StoreError(f"metadata {name!r}: " + expectation("text", text))
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise StoreError(f"array {name!r}: " + expectation("a numpy array of numbers", array))
    if not arrays:
        return None
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        return safetensors.numpy.save(ordered, dict(metadata))
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(expectation("arrays that safetensors can hold", f"`{error}`")) from error
