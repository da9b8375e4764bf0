"""Small data, and estimators whose fits are short."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_iris

from gfopt import GradientFreeClassifier, GradientFreeRegressor


@pytest.fixture(scope="session")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="session")
def plane():
    """`(60, 3)` inputs of unequal sizes and a noiseless linear target in large units."""
    x = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 1e3, 1e-3] + [0.0, 5e4, 0.0]
    return x, 1e3 * (x[:, 0] + (x[:, 1] - 5e4) / 1e3 - 2e3 * x[:, 2]) + 7e5


@pytest.fixture
def classifier():
    """Makes a classifier that is fitted with 1000 evaluations."""
    return partial(GradientFreeClassifier, hidden=(4,), budget=1000, random_state=0)


@pytest.fixture
def regressor():
    """Makes a linear regressor that is fitted with 1000 evaluations."""
    return partial(GradientFreeRegressor, hidden=(), budget=1000, random_state=0)
