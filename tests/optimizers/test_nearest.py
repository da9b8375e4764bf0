"""Neighbours from a matrix of distances are those that a k-d tree finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from gfopt.optimizers import _nearest
from gfopt.optimizers._nearest import nearest


def swarm(name: str, kind: Any = np.float32) -> NDArray[Any]:
    """Twelve particles in 300 dimensions."""
    rows = np.random.default_rng(0).standard_normal((12, 300))
    if name == "far away":
        rows += 1e4
    if name == "collapsed, one left behind":
        rows[:11] *= 1e-5
        rows[11] *= 1e5
    if name == "twins":
        rows[6:] = rows[:6]
    return rows.astype(kind)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["spread", "far away", "collapsed, one left behind"])
@pytest.mark.parametrize("count", [2, 5, 12])
def test_they_are_those_of_the_tree_in_its_order(
    name: str, kind: Any, norm: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_nearest, "COLUMNS", 128)
    rows = swarm(name, kind)
    before = rows.copy()
    expected = cKDTree(rows).query(rows, k=count, p=norm)[1]
    np.testing.assert_array_equal(nearest(rows, count, norm), expected)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("norm", [1, 2])
def test_rows_that_are_equally_far_away_are_in_the_trees_order(norm: int) -> None:
    generator = np.random.default_rng(0)
    for rows in (swarm("twins"), np.zeros((12, 300)), *generator.integers(0, 2, (20, 12, 6)).astype(np.float64)):
        expected = cKDTree(rows).query(rows, k=5, p=norm)[1]
        np.testing.assert_array_equal(nearest(rows, 5, norm), expected)


def test_a_tree_is_planted_only_where_rounding_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Tree(cKDTree):
        def query(self, rows: NDArray[Any], **options: Any) -> Any:
            asked.append(len(rows))
            return super().query(rows, **options)

    monkeypatch.setattr(_nearest, "cKDTree", Tree)
    nearest(swarm("spread"), 5, 2)
    nearest(swarm("far away"), 5, 2)
    assert not asked
    rows = swarm("spread")
    rows[3] = rows[4]
    nearest(rows, 12, 2)
    assert asked == [12]


@pytest.mark.parametrize("norm", [1, 2])
def test_the_number_of_threads_does_not_matter(norm: int) -> None:
    rows, before = np.random.default_rng(1).standard_normal((64, 3000)), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(nearest(rows, 16, norm))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("norm", [1, 2])
def test_beyond_the_range_of_squares_a_row_has_itself(norm: int) -> None:
    rows = swarm("spread", np.float64) * (1e200 if norm == 2 else 2e307)
    assert nearest(rows, 4, norm).tolist() == [[row] * 4 for row in range(12)]
