"""Column types depend on the values of a column alone, never on gaps or order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gfopt.errors import StoreError
from gfopt.store.tables import frame, scalars, stack, table


@pytest.mark.parametrize(
    ("name", "values", "dtype"),
    [
        ("x", [1, 2], "int64"),
        ("x", [1, None], "float64"),
        ("x", [1, 0.5], "float64"),
        ("x", [None, None], "float64"),
        ("x", [True, False], "bool"),
        ("seconds", [1, 2], "float64"),  # a float of the ledger stays one
        ("loss", [1, 2], "float64"),
        ("evaluations", [1, 2], "int64"),
    ],
)
def test_dtypes(name: str, values: list[Any], dtype: str) -> None:
    assert str(frame(table([{name: value} for value in values])).dtypes[name]) == dtype


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.5, "auto", None], ["0.5", "auto", None]),
        ([True, 2], ["true", "2"]),
        ([[64, 32], [16]], ["[64, 32]", "[16]"]),
        ([{"a": 1}], ['{"a": 1}']),
        ([2**80], [str(2**80)]),
    ],
)
def test_what_is_no_single_type_is_text(values: list[Any], text: list[str | None]) -> None:
    assert table([{"x": value} for value in values])["x"].to_pylist() == text


def test_columns_are_the_union_in_order_and_missing_is_nan() -> None:
    result = frame(table([{"a": 1, "b": 0.5}, {"a": 2, "c": math.inf, "b": math.nan}]))
    assert list(result.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(result.to_numpy(float), [[1, 0.5, math.nan], [2, math.nan, math.inf]])


def test_stack_gives_what_one_table_of_all_rows_gives() -> None:
    first, second = [{"a": 1, "b": 1}], [{"b": 0.5, "c": "x"}]
    assert frame(stack([table(first), table([]), table(second)])).equals(frame(table([*first, *second])))
    assert frame(stack([])).empty


def test_stack_refuses_text_beside_numbers() -> None:
    with pytest.raises(StoreError, match="one type"):
        stack([table([{"a": 1}]), table([{"a": "x"}])])


def test_scalars_leaves_mappings_out() -> None:
    assert scalars({"run": "k", "a": 1, "spec": {"b": 2}, "h": [1]}, but="run") == {"a": 1, "h": [1]}
