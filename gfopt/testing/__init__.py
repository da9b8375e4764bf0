"""Tests for optimizers of your own: inherit `OptimizerContract`, name the kind, run pytest.

`gfopt.testing.driving` has what they use: small objectives, and a bare loop. It needs no pytest; the class does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfopt.errors import MissingExtraError, expectation

if TYPE_CHECKING:
    from gfopt.testing.optimizer_contract import OptimizerContract

__all__ = ["OptimizerContract"]


def __getattr__(name: str) -> object:
    """`OptimizerContract`, imported now.

    Raises:
        MissingExtraError: if pytest is not installed.
    """
    if name != "OptimizerContract":
        raise AttributeError(f"module 'gfopt.testing' has no attribute {name!r}")
    try:
        import pytest
    except ModuleNotFoundError as error:
        fix = "Install it with: pip install pytest"
        raise MissingExtraError("gfopt.testing: " + expectation("the package pytest", "`none`", fix)) from error
    # A failing `assert` then shows the values that it compared, as in a test file.
    pytest.register_assert_rewrite("gfopt.testing.optimizer_contract", "gfopt.testing.rules")
    from gfopt.testing.optimizer_contract import OptimizerContract

    return OptimizerContract
