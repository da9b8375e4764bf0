"""The contract that every optimizer keeps, on this package's own."""

from gfopt.testing import OptimizerContract


class TestCompassSearch(OptimizerContract):
    kind = "compass-search"
