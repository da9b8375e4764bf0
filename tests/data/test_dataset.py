from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gfopt.data import Dataset, Scaling, from_arrays, load_dataset
from gfopt.errors import DataError, ShapeError

matrices = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


def dataset(**changes: object) -> Dataset:
    arguments: dict[str, object] = {
        "name": "small", "task": "classification", "classes": ("a", "b"),
        "x_train": np.arange(8.0).reshape(4, 2), "y_train": np.array([0, 1, 0, 1]),
        "x_validation": np.empty((0, 2)), "y_validation": np.empty(0, dtype=np.int64),
        "x_test": np.ones((1, 2)), "y_test": np.array([1]),
        "input_scaling": Scaling.identity((2,)), "target_scaling": Scaling.identity(()),
    }  # fmt: skip
    return Dataset(**{**arguments, **changes})  # type: ignore[arg-type]  # a dict of unequal values


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_scaling_gives_mean_0_and_deviation_1(values):
    scaling = Scaling.fit(values)
    scaled = scaling.transform(values)
    assert np.isfinite(scaled).all()
    assert (scaling.scale > 0).all()
    assert np.allclose(scaling.inverse(scaled), values, rtol=1e-12, atol=1e-9)
    spread = values.std(axis=0)
    ordinary = spread > 1e-9 * (1 + np.abs(values).max())
    assert np.allclose(scaled.mean(axis=0)[ordinary], 0, atol=1e-6)
    assert np.allclose(scaled.std(axis=0)[ordinary], 1)


# 0.1 added up a hundred times is not 10: the plain deviation of this column is 1e-17, not 0.
@pytest.mark.parametrize("value", [0.1, 0.0, 1e300, -7.3])
def test_a_constant_feature_becomes_exactly_0(value):
    values = np.stack([np.full(100, value), np.arange(100.0)], axis=1)
    scaling = Scaling.fit(values)
    assert scaling.scale[0] == 1
    assert scaling.mean[0] == value
    assert (scaling.transform(values)[:, 0] == 0).all()


def test_values_whose_variance_underflows_or_overflows():
    scaling = Scaling.fit(np.array([[1e-200], [2e-200]]))
    assert np.isfinite(scaling.transform(np.array([[1.0]]))).all()
    with pytest.raises(DataError, match="expected values with a finite variance, got `1e\\+300`"):
        Scaling.fit(np.array([[1e300], [-1e300]]))


def test_scaling_is_fitted_on_the_training_rows_only():
    x = np.random.default_rng(0).normal(5, 3, (60, 2))
    data = from_arrays(x, np.arange(60) % 2, validation_fraction=0, test=(x + 100, np.arange(60) % 2))
    assert np.allclose(data.x_train.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(data.x_train.std(axis=0), 1)
    assert np.allclose(data.x_test.mean(axis=0), 100 / x.std(axis=0))
    assert np.allclose(data.input_scaling.inverse(data.x_test), x + 100)


def test_a_split_off_part_does_not_count_for_the_scaling():
    data = load_dataset("wine")
    assert np.allclose(data.x_train.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(data.x_train.std(axis=0), 1)
    assert np.abs(data.x_test.mean(axis=0)).max() > 0.01


def test_a_pixel_that_only_test_rows_have_stays_small():
    x = np.zeros((40, 1))
    x[:, 0] = 0.1
    data = from_arrays(x, np.arange(40) % 2, test=(np.full((4, 1), 16.0), [0, 1, 0, 1]))
    assert np.abs(data.x_test).max() == pytest.approx(15.9)


@pytest.mark.parametrize("shape", [(60,), (60, 3)])
def test_regression_targets_are_scaled_and_come_back(shape):
    rng = np.random.default_rng(1)
    y = 400 + 20 * rng.standard_normal(shape)
    data = from_arrays(np.arange(60.0), y, seed=3)
    assert data.task == "regression"
    assert data.targets == (1 if len(shape) == 1 else 3)
    assert np.allclose(data.y_train.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(data.y_train.std(axis=0), 1)
    back = np.concatenate(
        [data.target_scaling.inverse(data.split(part)[1]) for part in ("train", "validation", "test")]
    )
    assert np.allclose(np.sort(back, axis=0), np.sort(y, axis=0))


def test_scale_false_changes_nothing():
    data = load_dataset("diabetes", scale=False)
    raw = load_dataset("diabetes")
    assert np.allclose(data.x_test, raw.input_scaling.inverse(raw.x_test))
    assert np.array_equal(data.input_scaling.transform(data.x_test), data.x_test)
    assert np.array_equal(data.target_scaling.inverse(data.y_test), data.y_test)


def test_the_arrays_are_read_only_and_the_callers_are_not_touched():
    x = np.arange(8.0).reshape(4, 2)
    data = dataset(x_train=x)
    with pytest.raises(ValueError, match="read-only"):
        data.x_train[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data.input_scaling.mean[0] = 1
    x[0] = 1


def test_a_pickled_copy_is_the_same_and_read_only():
    data = load_dataset("iris")
    copy = pickle.loads(pickle.dumps(data))
    assert copy.fingerprint() == data.fingerprint()
    assert copy.x_train.tobytes() == data.x_train.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        copy.x_train[0] = 1


def test_splits_and_shapes():
    data = dataset()
    assert data.splits == ("test",)
    assert data.input_shape == (2,)
    assert data.targets == 1
    assert data.split("train")[0] is data.x_train
    assert data.split("test")[1].tolist() == [1]
    assert repr(data) == "Dataset('small', classification, train 4, validation 0, test 1, input (2,), 2 classes)"


def test_an_empty_or_unknown_split_is_an_error():
    with pytest.raises(DataError, match=r"small: expected validation rows, got 'none'.*validation_fraction above 0"):
        dataset().split("validation")
    with pytest.raises(DataError, match=r"split: expected one of train, validation, test, got 'tset'.*'test'"):
        dataset().split("tset")


def test_equal_content_has_an_equal_fingerprint():
    first, other_name = dataset(), dataset(name="other", feature_names=("u", "v"))
    assert first.fingerprint() == other_name.fingerprint() == first.fingerprint()
    assert len(first.fingerprint()) == 64
    fortran = dataset(x_train=np.asfortranarray(first.x_train), y_train=first.y_train.astype(np.int32))
    assert fortran.fingerprint() == first.fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"x_train": np.arange(8.0).reshape(4, 2) + 1e-12},
        {"y_train": np.array([1, 0, 0, 1])},
        {"x_test": np.zeros((1, 2))},
        {"classes": ("a", "c")},
        {"task": "regression", "classes": ()},
        {"x_validation": np.ones((1, 2)), "y_validation": np.array([1]),
         "x_test": np.empty((0, 2)), "y_test": np.empty(0, dtype=np.int64)},
    ],
)  # fmt: skip
def test_other_content_has_another_fingerprint(changes):
    assert dataset(**changes).fingerprint() != dataset().fingerprint()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"y_train": np.array([0, 1])}, ShapeError, "y_train: expected 4 rows as in x_train, got 2"),
        ({"x_test": np.ones((1, 3))}, ShapeError, "test: expected rows of the same shape"),
        (
            {"y_train": np.array([0, 1, 2, 1])},
            DataError,
            "y_train: expected class indices 0 to 1, got `0` to `2`",
        ),
        ({"task": "clustering"}, DataError, "task: expected classification or regression, got 'clustering'"),
        (
            {"x_train": np.empty((0, 2)), "y_train": np.empty(0)},
            DataError,
            "x_train: expected at least one row",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        dataset(**changes)
