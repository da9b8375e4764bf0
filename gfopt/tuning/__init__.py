"""Equal-effort tuning: options chosen on validation data, with the same number of trials and the same budget each.

Importing this package imports neither torch nor optuna; `tune` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfopt.tuning.tuner import Tuned, tune

__all__ = ["Tuned", "tune"]


def __getattr__(name: str) -> object:
    """`tune` and `Tuned`, imported when they are asked for."""
    if name in __all__:
        from gfopt.tuning.tuner import Tuned, tune

        return {"Tuned": Tuned, "tune": tune}[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
