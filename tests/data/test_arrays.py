from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.data import from_arrays
from gfopt.errors import ConfigError, DataError

X = np.random.default_rng(0).normal(size=(30, 2))
Y = np.arange(30) % 3


def frame_of(names: str, values: object) -> pd.DataFrame:
    return pd.DataFrame(values, columns=list(names))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=3), st.integers(20, 60))
def test_inputs_of_any_rank(shape, count):
    x = np.random.default_rng(1).normal(size=(count, *shape))
    data = from_arrays(x, np.arange(count) % 2)
    assert data.input_shape == (tuple(shape) or (1,))
    assert len(data.x_train) + len(data.x_validation) + len(data.x_test) == count
    assert data.x_train.dtype == np.float64
    assert np.allclose(data.x_train.std(axis=0), 1)


def test_rows_and_targets_stay_together():
    y = X[:, 0] + 2 * X[:, 1]
    data = from_arrays(X, y, seed=4)
    for part in ("train", "validation", "test"):
        x, target = data.split(part)
        original = data.input_scaling.inverse(x)
        assert np.allclose(data.target_scaling.inverse(target), original[:, 0] + 2 * original[:, 1])


def test_sequences_with_a_target_at_every_step():
    x = np.random.default_rng(2).normal(size=(40, 5, 3))
    signs = np.where(x[:, :, 0] > 0, "up", "down")
    data = from_arrays(x, signs, task="classification", test=(x[:4], signs[:4]), scale=False)
    assert (data.steps, data.targets, data.classes) == (5, 1, ("down", "up"))
    assert np.array_equal(data.y_train, data.x_train[:, :, 0] > 0)
    assert np.array_equal(data.y_test, x[:4, :, 0] > 0)
    numbers = from_arrays(x, x[:, :, :2].cumsum(axis=1), seed=3)
    assert (numbers.task, numbers.steps, numbers.targets) == ("regression", 5, 2)
    original = numbers.input_scaling.inverse(numbers.x_test)[:, :, :2].cumsum(axis=1)
    assert np.allclose(numbers.target_scaling.inverse(numbers.y_test), original)
    assert (numbers.target_scaling.scale == numbers.target_scaling.scale[0]).all()  # one unit for all steps


@pytest.mark.parametrize(
    "convert",
    [
        lambda values: values.tolist(),
        torch.tensor,
        lambda values: torch.tensor(values).double().requires_grad_() if values.dtype.kind == "f" else values,
        lambda values: pd.DataFrame(values) if values.ndim == 2 else pd.Series(values, index=range(100, 130)),
        lambda values: pd.DataFrame(values),
    ],
    ids=["lists", "tensors", "tensors with gradient", "frame and series", "frames"],
)
def test_lists_tensors_and_frames_give_the_same_data(convert):
    assert from_arrays(convert(X), convert(Y)).fingerprint() == from_arrays(X, Y).fingerprint()


def test_half_precision_tensors():
    data = from_arrays(torch.tensor(X).bfloat16(), torch.tensor(Y))
    assert np.allclose(data.x_train, from_arrays(X, Y).x_train, atol=0.05)


def test_columns_of_a_frame_are_named():
    frame = pd.DataFrame({"height": X[:, 0], "tall": X[:, 1] > 0})
    data = from_arrays(frame, pd.Series(["a", "b", "c"] * 10))
    assert data.feature_names == ("height", "tall")
    assert data.classes == ("a", "b", "c")
    assert len(np.unique(data.x_train[:, 1])) == 2


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (pd.Series(["b", "a"] * 15, dtype="category"), ("a", "b")),
        (pd.Series([1, 2] * 15, dtype="Int64"), (1, 2)),
        (pd.Series([True, False] * 15, dtype="boolean"), (False, True)),
        (np.array(["b", "a"] * 15, dtype=object), ("a", "b")),
        (np.array([5, 6] * 15, dtype=object), (5, 6)),
        (["b", "a"] * 15, ("a", "b")),
    ],
    ids=["category", "Int64", "boolean", "objects of text", "objects of int", "list"],
)
def test_labels_of_every_kind(y, classes):
    data = from_arrays(X, y)
    assert data.classes == classes
    assert {type(label) for label in data.classes} == {type(classes[0])}


def test_test_and_validation_rows_of_your_own():
    data = from_arrays(X, Y, test=(X[:3] + 1, Y[:3]), validation=(X[3:5], Y[3:5]), scale=False)
    assert len(data.x_train) == 30
    assert np.array_equal(data.x_test, X[:3] + 1)
    assert np.array_equal(data.y_test, Y[:3])
    assert np.array_equal(data.x_validation, X[3:5])
    only_test = from_arrays(X, Y, test=(X, Y))
    assert (len(only_test.x_train), len(only_test.x_validation)) == (27, 3)


def test_the_callers_arrays_are_not_touched():
    x, y = X.copy(), Y.copy()
    data = from_arrays(x, y, scale=False)
    x[:] = 0
    assert np.abs(data.x_train).min() > 0
    assert x.flags.writeable
    assert np.array_equal(y, Y)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(value):
    x = X.copy()
    x[7, 1] = x[9, 0] = value
    with pytest.raises(DataError, match=rf"^mine: X\[7, 1\]: expected a finite number, got {value}"):
        from_arrays(x, Y, name="mine")
    with pytest.raises(DataError, match=r"y\[4\]: expected a finite number"):
        from_arrays(X, np.where(np.arange(30) == 4, value, X[:, 0]))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:-1], "y: expected 30 rows as X has, got `29`"),
        (X[:0], Y[:0], r"X: expected shape \(N, ...\) with at least one row"),
        (X[:, :0], Y, r"X: expected shape \(N, ...\) with at least one row and one feature"),
        (3.0, Y, r"X: expected shape \(N, ...\)"),
        (X.astype(object), Y, "X: expected an array of numbers, got `dtype object`"),
        (X.astype(str), Y, "X: expected an array of numbers, got `dtype <U"),
        (X + 1j, Y, "X: expected an array of numbers, got `dtype complex128`"),
        ([[1.0], [1.0, 2.0]], Y[:2], "X: expected an array, got `list`.*same shape"),
        (X, np.array([{"a": 1}] * 30), "y: row 1: expected text or a number"),
        (X, np.array([None] + ["a"] * 29), "y: row 1: expected a value, got `an empty cell or NaN`"),
        (X, Y.astype("datetime64[D]"), "y: expected labels or numbers, got `dtype datetime64"),
        (X, X[:, 0] * 1j, "y: expected labels or numbers, got `dtype complex128`"),
        (X, 1, "y: expected 30 rows as X has, got `0`"),
        (X, np.zeros(30, dtype=int), "y: expected at least two classes"),
        (X, np.arange(30) // 14, "at least 3 rows of every class, one for each part, got `2` of class 2"),
        (frame_of("a", [1.0, np.nan]), Y[:2], "X: column 'a': row 2: expected a value"),
        (frame_of("a", ["1", "red"]), Y[:2], "X: column 'a': row 2: expected a number, got 'red'.*Encode"),
        (frame_of("a", pd.to_datetime(["2020-01-01"] * 2)), Y[:2], "column 'a': row 1: expected a number"),
        (frame_of("aa", [[1.0, 2.0]]), [1], "column 'a': expected a name of its own.*got `2`"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_used(x, y, message):
    with pytest.raises(DataError, match=message):
        from_arrays(x, y)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ((X[:, :1], Y), r"test: X: expected rows of shape \(2,\) as for training, got \(1,\)"),
        ((X, Y[:-1]), "test: y: expected 30 rows as X has, got `29`"),
        ((X, Y + 1), "test: y: expected one of the training rows' classes .*got `3` in row 3"),
        (X, r"test: expected a pair \(X, y\), got `ndarray`"),
    ],
)
def test_test_rows_that_do_not_fit(test, message):
    with pytest.raises(DataError, match=message):
        from_arrays(X, Y, test=test)


def test_columns_in_another_order_are_refused():
    frame = pd.DataFrame(X, columns=["a", "b"])
    with pytest.raises(DataError, match=r"test: X: expected the columns \('a', 'b'\)"):
        from_arrays(frame, Y, test=(frame[["b", "a"]], Y))


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"seed": 1.5}, "seed"),
        ({"scale": "yes"}, "scale"),
        ({"test_fraction": 2}, "test_fraction"),
        ({"task": "x"}, "arrays: y: task"),
    ],
)
def test_arguments_out_of_range(arguments, place):
    with pytest.raises(ConfigError, match=f"^{place}: expected"):
        from_arrays(X, Y, **arguments)
