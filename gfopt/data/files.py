"""A user's own CSV, Parquet or NPZ file as a data set. Nothing in a file can execute code."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gfopt.data.arrays import raw_of
from gfopt.data.assemble import Preparation, assemble
from gfopt.data.columns import check_names, features_of, target_of
from gfopt.data.dataset import Dataset, Task
from gfopt.data.shift import ShiftOptions, shift_options
from gfopt.data.source import RawData
from gfopt.data.targets import encode_target
from gfopt.errors import DataError, expectation, located, suggestion

# What other programs write for an empty cell. In a column of text labels they are labels, all but the first.
_EMPTY = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


def from_file(
    path: str | Path,
    target: str = "y",
    *,
    task: Task | None = None,
    drop: Sequence[str] = (),
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    scale: bool = True,
    shift: Mapping[str, object] | ShiftOptions | None = None,
) -> Dataset:
    """A data set from a file; its name is the file's name without suffix.

    A CSV file has a header, commas, and decimal points; it and a Parquet file have numbers in every column
    but the target's. An NPZ file has arrays `x` (or `X`), `(N, ...)`, and one named as `target`; others are
    not read.

    Args:
        path: a file that ends in `.csv`, `.parquet` or `.npz`.
        target: the column, or array, to predict.
        task: by default text, bools and integers of at most 20 distinct values are classes, other numbers a
            regression.
        drop: columns to leave out.
        test_fraction: share of all rows that judge.
        validation_fraction: share of all rows that choose between runs.
        seed: the split depends on it and on the data alone.
        scale: as for `from_arrays`.
        shift: as for `from_arrays`.

    Raises:
        ConfigError: for an argument out of range.
        DataError: naming the file, and column and row of the first cell that cannot be used; rows count from
            1, the header not counted.
    """
    how = Preparation(test_fraction, validation_fraction, seed, scale, shift_options(shift))
    file = Path(path).expanduser()
    with located(str(path)):
        reader = _READERS.get(file.suffix.lower())
        if reader is None:
            raise DataError(expectation(f"a file that ends in {', '.join(_READERS)}", f"`{file.suffix or file.name}`"))
        if not file.is_file():
            raise DataError(
                expectation("an existing file", "`a folder`" if file.is_dir() else "`no such file`", _near(file))
            )
        return assemble(file.stem, reader(file, target, tuple(drop), task), how)


def _read_csv(file: Path, target: str, drop: tuple[str, ...], task: Task | None) -> RawData:
    try:
        # Everything as text, so that messages quote cells as they stand; pandas would rename equal columns.
        cells = pd.read_csv(
            file, header=None, dtype=str, keep_default_na=False, encoding="utf-8", skipinitialspace=True
        )
    except pd.errors.EmptyDataError:
        raise DataError(expectation("a header and rows", "`an empty file`")) from None
    except pd.errors.ParserError as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(expectation("as many values in every row as in the header", f"`{reason}`")) from None
    except UnicodeDecodeError as error:
        raise DataError(expectation("text in UTF-8", f"`{error}`", "Save the file in UTF-8.")) from None
    names = [str(name).strip() for name in cells.iloc[0]]
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise DataError(expectation("values separated by commas", names[0], "Save the file with commas."))
    table = cells.iloc[1:]
    table.columns = pd.Index(names)
    return _raw_of_table(table, target, drop, task, text=True)


def _read_parquet(file: Path, target: str, drop: tuple[str, ...], task: Task | None) -> RawData:
    import pyarrow
    import pyarrow.parquet

    try:
        check_names(tuple(pyarrow.parquet.read_schema(file).names))
        table = pd.read_parquet(file, engine="pyarrow")
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(expectation("a Parquet file", f"`{error}`")) from None
    return _raw_of_table(table, target, drop, task)


def _raw_of_table(
    table: pd.DataFrame, target: str, drop: tuple[str, ...], task: Task | None, *, text: bool = False
) -> RawData:
    table = table.reset_index(drop=True)
    names = tuple(map(str, table.columns))
    check_names(names)
    for place, name in (("target", target), *(("drop", name) for name in drop)):
        if name not in names:
            raise DataError(f"{place}: " + expectation("the name of a column", name, suggestion(name, names)))
    if target in drop:
        raise DataError("drop: " + expectation("columns other than the target", target))
    kept = [index for index, name in enumerate(names) if name not in drop]
    columns = {names[index]: _typed(table.iloc[:, index]) if text else table.iloc[:, index] for index in kept}
    column = columns.pop(target)
    x, features = features_of(pd.DataFrame(columns, index=table.index))
    with located(f"column {target!r}"):
        encoded = encode_target(target_of(column, task), task)
    return RawData(encoded.task, x, encoded.values, encoded.classes, features)


def _typed(cells: pd.Series) -> pd.Series:
    """A column of text as integers, floats or bools where all its filled cells are that, else as text."""
    stripped = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
    try:
        numbers = [float("nan" if cell.lower() in _EMPTY else cell) for cell in stripped]
    except ValueError:
        return _words(stripped)
    column = pd.Series(numbers, dtype=np.float64)
    # Above 2**53 a float no longer holds every integer; NaN is not below it either.
    whole = (column.abs() < 2**53).all() and all(cell.lstrip("+-").isdigit() for cell in stripped)
    return column.astype(np.int64) if whole else column


def _words(cells: list[str]) -> pd.Series:
    """Bools if all cells are, else text."""
    lowered = [cell.lower() for cell in cells]
    if set(lowered) <= {"true", "false"}:
        return pd.Series([low == "true" for low in lowered], dtype=bool)
    return pd.Series([cell if cell else None for cell in cells], dtype=object)


def _read_npz(file: Path, target: str, drop: tuple[str, ...], task: Task | None) -> RawData:
    if drop:
        raise DataError("drop: " + expectation("no columns to leave out of an NPZ file", list(drop)))
    try:
        # Opened here, because numpy does not close what turns out to be a broken archive.
        with file.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(expectation("an NPZ archive", "`a single array`", "Save it with numpy.savez."))
            with archive:
                names = _names_in(archive.files, target)
                x, y = (archive[name] for name in names)
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        fix = "Arrays of objects are not read: save numbers, and labels as numpy text."
        raise DataError(expectation("an NPZ file of plain arrays", f"`{error}`", fix)) from None
    return raw_of(x, y, task, places=names)


def _names_in(known: list[str], target: str) -> tuple[str, str]:
    """Names of inputs and target among the arrays `known`."""
    inputs = next((name for name in ("x", "X") if name in known), None)
    if inputs is None:
        raise DataError(expectation("an array x or X", f"`{', '.join(known) or 'no arrays'}`"))
    others = [name for name in known if name != inputs]
    if target not in others:
        raise DataError("target: " + expectation("the name of an array", target, suggestion(target, others)))
    return inputs, target


def _near(file: Path) -> str:
    """A file of almost the same name in the same folder, for the message."""
    if not file.parent.is_dir():
        return f"The folder {str(file.parent)!r} does not exist either."
    names = [other.name for other in file.parent.iterdir() if other.suffix.lower() in _READERS]
    return suggestion(file.name, names) if names else ""


_READERS = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
