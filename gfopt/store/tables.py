"""Rows of plain values as tables whose column types do not depend on which runs happen to be there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute

from gfopt.errors import StoreError, expectation
from gfopt.store.plain import plain
from gfopt.trace import Ledger

_FLOATS = frozenset({"loss", "batch_loss"}) | {f.name for f in fields(Ledger) if f.type == "float"}


def table(rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """The rows as a table with the union of their columns, in the order of first appearance.

    Integers stay integers, a mix of integers and floats is floats, anything else that is mixed is text; lists
    and mappings are JSON text. A value that a row lacks is null, NaN among floats.

    Raises:
        StoreError: for a value that is not plain.
    """
    found = [plain(row) for row in rows]
    names = list(dict.fromkeys(name for row in found for name in row))
    return pa.table({name: _column(name, [row.get(name) for row in found]) for name in names})


def scalars(run: Mapping[str, object], but: str) -> dict[str, object]:
    """What of a run's description goes into its table row: all except nested mappings and the name `but`."""
    return {name: value for name, value in run.items() if not isinstance(value, Mapping) and name != but}


def stack(tables: Sequence[pa.Table]) -> pa.Table:
    """The tables one below the other, with the union of their columns.

    Raises:
        StoreError: if a column is text in one and numbers in another.
    """
    if not tables:
        return pa.table({})
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise StoreError(expectation("columns of one type in all runs", f"`{error}`")) from error


def without(data: pa.Table, name: str) -> pa.Table:
    """The rows whose column `name` is empty; all of them if there is no such column."""
    return data.filter(pa.compute.is_null(data[name])) if name in data.column_names else data


def frame(data: pa.Table) -> pd.DataFrame:
    """The table as a DataFrame; integers with gaps become floats with NaN."""
    result: pd.DataFrame = data.replace_schema_metadata(None).to_pandas()
    for name in result.columns:
        if pa.types.is_floating(data.schema.field(name).type):
            result[name] = result[name].astype("float64")  # an empty or all-null column too
    return result


def _column(name: str, values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and (not kinds or float in kinds or name in _FLOATS):
        return pa.array([math.nan if value is None else float(value) for value in values], pa.float64())
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
