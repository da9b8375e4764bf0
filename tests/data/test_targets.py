from __future__ import annotations

import numpy as np
import pytest

from gfopt.data.targets import encode_target
from gfopt.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["cat", "dog", "cat"], "classification"),
        ([True, False, True], "classification"),
        ([3, 1, 3], "classification"),
        (list(range(20)), "classification"),
        (list(range(21)), "regression"),
        ([0.0, 1.0, 0.0], "regression"),
        ([[1.0, 2.0], [3.0, 4.0]], "regression"),
    ],
)
def test_the_rule_that_chooses_the_task(y, task):
    assert encode_target(np.array(y)).task == task


def test_labels_are_numbered_in_sorted_order():
    target = encode_target(np.array(["dog", "ant", "cat", "ant"]))
    assert target.values.tolist() == [2, 0, 1, 0]
    assert target.values.dtype == np.int64
    assert target.classes == ("ant", "cat", "dog")
    assert {type(label) for label in target.classes} == {str}


@pytest.mark.parametrize(("y", "classes"), [([7, 3, 7], (3, 7)), ([True, False], (False, True)), ([2.0, 1.0], (1, 2))])
def test_labels_are_plain_python_values(y, classes):
    target = encode_target(np.array(y), "classification")
    assert target.classes == classes
    assert {type(label) for label in target.classes} == {type(classes[0])}


def test_integers_can_be_a_quantity():
    target = encode_target(np.array([3, 1, 3]), "regression")
    assert target.values.tolist() == [3.0, 1.0, 3.0]
    assert target.classes == ()


def test_one_column_is_a_vector():
    assert encode_target(np.array([[1.0], [2.0]])).values.shape == (2,)
    assert encode_target(np.array([[1], [2]])).values.tolist() == [0, 1]


def test_held_out_rows_use_the_known_classes():
    target = encode_target(np.array(["cat", "cat"]), "classification", ("ant", "cat"))
    assert target.values.tolist() == [1, 1]
    with pytest.raises(DataError, match=r"classes \('ant', 'cat'\), got `'emu'` in row 2"):
        encode_target(np.array(["cat", "emu"]), "classification", ("ant", "cat"))


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        ([4, 4, 4], None, "at least two classes, got `4` in every row.*task='regression'"),
        ([4.0, 4.0], None, "a target that differs between rows, got 4.0"),
        ([1.0, 2.5], "classification", "class labels.*got `2.5` in row 2.*task='regression'"),
        (["a", "b"], "regression", "numbers for a regression, got 'a'.*task='classification'"),
        ([[0, 1], [1, 0]], None, r"shape \(N,\), got `\(2, 2\)` of int.*argmax"),
        ([[0, 1], [1, 0]], "classification", r"one class label a row.*argmax"),
        ([[[1.0]]], None, r"shape \(N,\), or \(N, K\)"),
        (np.empty((3, 0)), None, r"shape \(N,\), or \(N, K\)"),
    ],
)
def test_targets_that_cannot_be_used(y, task, message):
    with pytest.raises(DataError, match=message):
        encode_target(np.array(y), task)


def test_labels_at_every_step():
    y = np.array([["b", "a", "b"], ["c", "b", "b"]])
    target = encode_target(y, "classification", steps=3)
    assert target.values.tolist() == [[1, 0, 1], [2, 1, 1]]
    assert target.classes == ("a", "b", "c")
    held_out = encode_target(y[:, ::-1], "classification", ("a", "b", "c"), steps=3)
    assert held_out.values.tolist() == [[1, 0, 1], [1, 1, 2]]
    with pytest.raises(DataError, match=r"classes \('a', 'b'\), got `'c'` in row 2"):
        encode_target(y, "classification", ("a", "b"), steps=3)
    with pytest.raises(DataError, match=r"class labels.*got `0.5` in row 2"):
        encode_target(np.array([[0.0, 1.0], [1.0, 0.5]]), "classification", steps=2)


def test_numbers_at_every_step():
    y = np.arange(12.0).reshape(2, 3, 2)
    target = encode_target(y, steps=3)
    assert target.task == "regression"
    assert np.array_equal(target.values, y)
    assert np.array_equal(encode_target(y.astype(int), steps=3).values, y)


@pytest.mark.parametrize(
    ("y", "steps", "message"),
    [
        ([[0, 1, 0], [1, 0, 0]], 3, "one class label a row.*argmax"),  # one-hot, as many classes as steps
        ([[0, 1, 1], [1, 0, 0]], 4, "one class label a row.*argmax"),
        ([[0, 1, 1], [1, 0, 0]], None, "one class label a row.*argmax"),
        ([[[0.0], [1.0]]], 3, r"shape \(N,\), or \(N, K\)"),
    ],
)
def test_targets_of_another_length_than_the_sequences(y, steps, message):
    with pytest.raises(DataError, match=message):
        encode_target(np.array(y), "classification", steps=steps)


def test_an_unknown_task():
    with pytest.raises(ConfigError, match="task: expected classification or regression, got 'ranking'"):
        encode_target(np.array([1, 2]), "ranking")
