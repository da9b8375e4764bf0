from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gfopt.data import load_dataset
from gfopt.data.idx import FASHION, FASHION_SUMS, read_idx
from gfopt.errors import ConfigError, DataError

TYPES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def encoded(values: np.ndarray) -> bytes:
    """The bytes of an IDX file after the description on the page of MNIST, number by number."""
    header = struct.pack(">BBBB", 0, 0, TYPES[str(values.dtype)], values.ndim)
    header += b"".join(struct.pack(">I", size) for size in values.shape)
    code = {"uint8": "B", "int8": "b", "int16": "h", "int32": "i", "float32": "f", "float64": "d"}[str(values.dtype)]
    return header + b"".join(struct.pack(f">{code}", value) for value in values.ravel().tolist())


def write(folder: Path, name: str, values: np.ndarray, *, packed: bool = False) -> Path:
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(encoded(values)) if packed else encoded(values))
    return path


@pytest.fixture
def mnist_like(tmp_path: Path) -> Path:
    """60 training and 20 test pictures of 3 x 4 pixels, the training part packed."""
    stream = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = stream.integers(0, 256, (count, 3, 4)).astype(np.uint8)
        images[:, 0, 0] = labels  # so that a picture knows its label
        write(tmp_path, f"{prefix}-images-idx3-ubyte", images, packed=prefix == "train")
        write(tmp_path, f"{prefix}-labels-idx1-ubyte", labels, packed=prefix == "train")
    return tmp_path


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(TYPES)).flatmap(
        lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=1, max_dims=4, max_side=4))
    ),
    st.booleans(),
)
def test_what_was_written_is_read(tmp_path_factory, values, packed):
    path = write(tmp_path_factory.mktemp("idx"), "values", values, packed=packed)
    found = read_idx(path)
    assert found.dtype == values.dtype
    assert np.array_equal(found, values, equal_nan=values.dtype.kind == "f")


GOOD = encoded(np.arange(6, dtype=np.uint8).reshape(2, 3))
BROKEN = {
    "empty": (b"", r"expected an IDX file: two zero bytes, a known type, got `bytes `"),
    "another format": (b"\x89PNG....", r"expected an IDX file.*got `bytes 89 50 4e 47`"),
    "unknown type": (GOOD[:2] + b"\x0a" + GOOD[3:], r"expected an IDX file.*got `bytes 00 00 0a 02`"),
    "no dimensions": (b"\0\0\x08\0", r"expected a header with the size of every dimension, got `4 bytes`"),
    "header cut off": (GOOD[:9], r"expected a header with the size of every dimension, got `9 bytes`"),
    "cut off": (GOOD[:-1], r"expected 18 bytes for shape \(2, 3\), got `17`"),
    "too long": (GOOD + b"\0", r"expected 18 bytes for shape \(2, 3\), got `19`"),
    "a size that no file has": (b"\0\0\x08\x02" + b"\xff" * 8, r"expected 18446744065119617037 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_cannot_be_read(tmp_path, case):
    content, message = BROKEN[case]
    path = tmp_path / "some-idx2-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^some-idx2-ubyte: {message}"):
        read_idx(path)


def test_packed_files_that_cannot_be_unpacked(tmp_path):
    path = tmp_path / "some.gz"
    for content in (GOOD, gzip.compress(GOOD)[:-9]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"^some.gz: expected a readable file"):
            read_idx(path)


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch, tmp_path):
    path = write(tmp_path, "some", np.zeros((40, 40), dtype=np.uint8), packed=True)
    monkeypatch.setattr("gfopt.data.idx._LARGEST", 1000)
    with pytest.raises(DataError, match=r"^some.gz: expected at most 1000 bytes, got `more`"):
        read_idx(path)


def test_the_checksum_is_that_of_the_unpacked_file(tmp_path):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for packed in (False, True):
        path = write(tmp_path, "some", values, packed=packed)
        assert np.array_equal(read_idx(path, hashlib.sha256(GOOD).hexdigest()), values)
        with pytest.raises(DataError, match=r"expected the sha256 000000000000…, got `[0-9a-f]{12}…`.*name: idx"):
            read_idx(path, "0" * 64)


@pytest.mark.parametrize(("part", "rows"), [("both", 80), ("train", 60), ("test", 20)])
@pytest.mark.parametrize(("shape", "expected"), [("flat", (12,)), ("image", (1, 3, 4)), ("rows", (3, 4))])
def test_pictures_from_a_folder(mnist_like, part, rows, shape, expected):
    data = load_dataset("idx", folder=str(mnist_like), part=part, shape=shape, scale=False, validation_fraction=0)
    x, y = (np.concatenate([data.split(name)[index] for name in ("train", "test")]) for index in (0, 1))
    assert x.shape == (rows, *expected)
    assert data.classes == tuple(range(10))
    assert np.array_equal(x.reshape(rows, -1)[:, 0], y)


def test_fewer_rows_drawn_with_the_seed(mnist_like):
    options = {"folder": str(mnist_like), "samples": 40, "test_fraction": 0, "validation_fraction": 0, "scale": False}
    first, again, other = (load_dataset("idx", seed=seed, **options) for seed in (1, 1, 2))
    assert len(first.x_train) == 40
    assert first.fingerprint() == again.fingerprint()
    assert first.fingerprint() != other.fingerprint()
    assert np.array_equal(first.x_train[:, 0], np.array(first.classes)[first.y_train])


def test_labels_need_not_be_all_digits(mnist_like):
    write(mnist_like, "t10k-labels-idx1-ubyte", np.resize(np.array([3, 200], dtype=np.uint8), 20))
    assert load_dataset("idx", folder=str(mnist_like), part="test").classes == (3, 200)


def test_fashion_mnist_is_read_with_its_names_and_refused_if_it_is_something_else(mnist_like, monkeypatch):
    with pytest.raises(
        DataError, match=r"^fashion_mnist: train-images-idx3-ubyte.gz: expected the sha256 c59f468a2f67"
    ):
        load_dataset("fashion_mnist", folder=str(mnist_like))
    assert set(FASHION_SUMS) == {f"{p}-{k}-ubyte" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1")}
    monkeypatch.setattr("gfopt.data.idx.FASHION_SUMS", {})
    data = load_dataset("fashion_mnist", folder=str(mnist_like))
    assert data.classes == FASHION
    assert data.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("train-labels-idx1-ubyte.gz", None),
            r"expected a file train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz",
        ),
        (("t10k-labels-idx1-ubyte", np.zeros(19, dtype=np.uint8)), "test: expected 20 labels, one a picture, got `19`"),
        (("t10k-labels-idx1-ubyte", np.zeros((20, 1), dtype=np.uint8)), r"1 dimension\(s\) of bytes, got `2 of uint8`"),
        (("t10k-images-idx3-ubyte", np.zeros((20, 3, 4))), r"3 dimension\(s\) of bytes, got `3 of float64`"),
        (
            ("t10k-images-idx3-ubyte", np.zeros((20, 2, 4), dtype=np.uint8)),
            r"expected training and test pictures of one size, got \[\(2, 4\), \(3, 4\)\]",
        ),
    ],
)
def test_folders_that_cannot_be_used(mnist_like, change, message):
    name, values = change
    if values is None:
        (mnist_like / name).unlink()
    else:
        write(mnist_like, name, values)
    with pytest.raises(DataError, match=message):
        load_dataset("idx", folder=str(mnist_like))


def test_where_to_get_fashion_mnist(monkeypatch, tmp_path):
    monkeypatch.setattr("gfopt.data.idx.SYSTEM_FOLDER", str(tmp_path))
    with pytest.raises(DataError, match=r"folder: DIR, or install Debian's package dataset-fashion-mnist\.$"):
        load_dataset("fashion_mnist", folder=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "folder: expected a value"),
        ({"folder": "x", "part": "all"}, ConfigError, "part: expected one of 'train', 'test' or 'both', got 'all'"),
        ({"folder": "x", "samples": 3}, ConfigError, "samples: expected a number of at least 10, got 3"),
        ({"samples": 81}, DataError, "samples: expected at most the 80 pictures, got 81"),
    ],
)
def test_options_out_of_range(mnist_like, options, error, message):
    given = {"folder": str(mnist_like), **options} if options.get("folder") or "samples" in options else options
    with pytest.raises(error, match=f"^idx: {message}"):
        load_dataset("idx", **given)
