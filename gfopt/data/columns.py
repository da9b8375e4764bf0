"""From columns of a table to numbers and labels; messages name the first cell that does not fit."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import NoReturn

import numpy as np
import pandas as pd

from gfopt.data.dataset import Inputs, Task
from gfopt.data.targets import AS_CLASSES
from gfopt.errors import DataError, expectation, located

MOST_CATEGORIES = 1000  # a column with more is an identifier or free text

_NUMBERS = (int, float, np.number, np.bool_, Decimal)


def features_of(table: pd.DataFrame) -> tuple[Inputs, tuple[str, ...]]:
    """The columns as `(N, F)` numbers, and their names. Bools become 0 and 1.

    Raises:
        DataError: for a name that occurs twice, no columns, no rows, and a cell that is not a finite number.
    """
    names = tuple(str(name).strip() for name in table.columns)
    check_names(names)
    if not names:
        raise DataError(expectation("at least one feature column beside the target", "none"))
    check_rows(len(table))
    columns = []
    for index, name in enumerate(names):
        with located(f"column {name!r}"):
            columns.append(_numbers(table.iloc[:, index]))
    return np.stack(columns, axis=1), names


def one_hot(column: pd.Series) -> pd.DataFrame:
    """A column of 0 and 1 for each category that occurs, named `column=category`, in the order of their text.

    Raises:
        DataError: for an empty cell, and for more than 1000 categories.
    """
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        _missing(int(missing[0]))
    text = column.astype(str)
    count = text.nunique()
    if count > MOST_CATEGORIES:
        raise DataError(expectation(f"at most {MOST_CATEGORIES} categories", f"`{count}`", "Drop the column."))
    return pd.get_dummies(text, prefix=str(column.name), prefix_sep="=", dtype=np.float64)


def target_of(column: pd.Series, task: Task | None) -> np.ndarray:
    """The column as `(N,)` text, bools, integers or floats, whichever it holds.

    Raises:
        DataError: for an empty cell, an infinite number, and, unless `task` is classification, text among
            numbers.
    """
    check_rows(len(column))
    if _is_numeric(column):
        values = _numbers(column)
        kind = np.bool_ if pd.api.types.is_bool_dtype(column.dtype) else np.int64
        return values if pd.api.types.is_float_dtype(column.dtype) else column.to_numpy(dtype=kind)
    cells = column.tolist()
    for row, cell in enumerate(cells):
        if _is_missing(cell):
            _missing(row)
        if not isinstance(cell, (str, *_NUMBERS)):
            raise DataError(f"row {row + 1}: " + expectation("text or a number", cell))
    if all(isinstance(cell, _NUMBERS) for cell in cells):
        inferred = pd.Series(cells).infer_objects()
        return target_of(inferred, task) if _is_numeric(inferred) else _numbers(inferred)
    return _text_labels([str(cell) for cell in cells], task)


def _text_labels(text: list[str], task: Task | None) -> np.ndarray:
    words = [row for row, cell in enumerate(text) if not (is_number(cell) and np.isfinite(float(cell)))]
    if words and (task == "regression" or (task is None and len(words) < len(text))):
        row = words[0]
        fix = "Correct the cell. " if len(words) < len(text) else ""
        raise DataError(f"row {row + 1}: " + expectation("a number, as in other rows", text[row], fix + AS_CLASSES))
    return np.array(text)


def check_names(names: tuple[str, ...]) -> None:
    """Refuse names that occur twice.

    Raises:
        DataError: naming the first of them.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(
                f"column {name!r}: " + expectation("a name of its own for every column", f"`{count}` of this name")
            )


def check_rows(count: int) -> None:
    """Refuse a table without rows.

    Raises:
        DataError: if `count` is 0.
    """
    if count == 0:
        raise DataError(expectation("at least one row of data", "none"))


def is_number(text: str) -> bool:
    """Whether Python reads `text` as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(column: pd.Series) -> Inputs:
    if not _is_numeric(column):
        for row, cell in enumerate(column.tolist()):
            if _is_missing(cell):
                _missing(row)
            if not isinstance(cell, _NUMBERS) and not (isinstance(cell, str) and is_number(cell)):
                fix = "Encode the column as numbers, or drop it."
                raise DataError(f"row {row + 1}: " + expectation("a number", cell, fix))
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        _missing(int(missing[0]))
    values = column.to_numpy(dtype=np.float64)
    infinite = np.flatnonzero(~np.isfinite(values))
    if len(infinite):
        row = int(infinite[0])
        raise DataError(f"row {row + 1}: " + expectation("a finite number", float(values[row])))
    return values


def _is_numeric(column: pd.Series) -> bool:
    types = pd.api.types
    return types.is_bool_dtype(column.dtype) or (
        types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype)
    )


def _is_missing(cell: object) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell))


def _missing(row: int) -> NoReturn:
    fix = "Fill it in, or remove the row or the column."
    raise DataError(f"row {row + 1}: " + expectation("a value", "`an empty cell or NaN`", fix))
