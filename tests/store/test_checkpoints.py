"""A checkpoint comes back bit for bit, or is refused by name."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest

from gfopt.errors import StoreError
from gfopt.store.checkpoints import read_checkpoint, write_checkpoint

STATE = {
    "text": "ä\n",
    "numbers": [1, 2**200, -0.0, 0.1, math.inf, None, True],
    "nested": {"deeper": [{"array": np.arange(6, dtype=np.float32).reshape(2, 3)}], "none": {}},
    "whole": np.array([2**63], dtype=np.uint64),
    "flags": np.array([True, False]),
    "scalar": np.array(1.5),
    "empty": np.empty((0, 4)),
}


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


def test_a_state_comes_back_as_it_was(tmp_path):
    write_checkpoint(tmp_path / "c", STATE)
    assert same(read_checkpoint(tmp_path / "c"), STATE)


def test_nan_comes_back(tmp_path):
    write_checkpoint(tmp_path / "c", {"loss": math.nan, "array": np.array([math.nan])})
    found = read_checkpoint(tmp_path / "c")
    assert math.isnan(found["loss"])
    assert np.isnan(found["array"]).all()


def test_a_state_without_arrays_comes_back(tmp_path):
    write_checkpoint(tmp_path / "c", {"a": [1]})
    assert read_checkpoint(tmp_path / "c") == {"a": [1]}


def test_an_array_that_is_not_contiguous_comes_back(tmp_path):
    write_checkpoint(tmp_path / "c", {"a": np.arange(12).reshape(3, 4).T[::2]})
    assert read_checkpoint(tmp_path / "c")["a"].tolist() == np.arange(12).reshape(3, 4).T[::2].tolist()


@pytest.mark.parametrize("value", [object(), np.array(["text"]), {1: 2}, {"__array__": "0"}, 1 + 2j])
def test_what_is_not_plain_is_refused_and_the_old_file_stays(tmp_path, value):
    write_checkpoint(tmp_path / "c", {"old": 1})
    with pytest.raises(StoreError, match=str(tmp_path)):
        write_checkpoint(tmp_path / "c", {"value": value})
    assert read_checkpoint(tmp_path / "c") == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_every_damage_is_refused_by_name(tmp_path):
    write_checkpoint(tmp_path / "c", STATE)
    whole, stream = (tmp_path / "c").read_bytes(), random.Random(0)
    for place in stream.sample(range(len(whole)), 300):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << stream.randrange(8)
        (tmp_path / "c").write_bytes(flipped)
        if whole[place : place + 1] == b" ":  # a blank may fill up the header, and mean nothing
            continue
        with pytest.raises(StoreError, match=re.escape(str(tmp_path / "c"))):
            read_checkpoint(tmp_path / "c")
    for length in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "c").write_bytes(whole[:length])
        with pytest.raises(StoreError, match="expected a whole checkpoint"):
            read_checkpoint(tmp_path / "c")


def test_another_safetensors_file_and_another_schema_are_refused(tmp_path):
    import safetensors.numpy

    (tmp_path / "c").write_bytes(safetensors.numpy.save({"a": np.ones(2)}, {"gfopt": "{}"}))
    with pytest.raises(StoreError, match="expected a whole checkpoint"):
        read_checkpoint(tmp_path / "c")
    metadata = {"gfopt_checkpoint": "7", "state": "{}", "sha256": ""}
    (tmp_path / "c").write_bytes(safetensors.numpy.save({"a": np.ones(2)}, metadata))
    with pytest.raises(StoreError, match="expected a checkpoint of schema 1, got `schema 7`"):
        read_checkpoint(tmp_path / "c")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        read_checkpoint(tmp_path / "c")
