"""What tests of optimizers drive them with; it lives in the package, for other packages' tests."""

from gfopt.testing.driving import *  # noqa: F403
