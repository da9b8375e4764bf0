"""What looks on while a run trains: rules that end it, and logs; each is imported when it is used.

They go to `gfopt.minimize(..., callbacks=[...])`. They are shown every step in the order of the list, so loggers stand
behind the rules that may end the run, and see its last point. A callback of your own derives from `Callback`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfopt.callbacks.csv_log import CSVLogger
    from gfopt.callbacks.early_stopping import EarlyStopping
    from gfopt.callbacks.mlflow import MLflowLogger
    from gfopt.callbacks.progress import ProgressBar
    from gfopt.callbacks.target import TargetReached
    from gfopt.callbacks.tensorboard import TensorBoardLogger
    from gfopt.callbacks.time_limit import TimeLimit
    from gfopt.types import Callback, Observation

_HOMES = {
    "CSVLogger": "gfopt.callbacks.csv_log",
    "Callback": "gfopt.types",
    "EarlyStopping": "gfopt.callbacks.early_stopping",
    "MLflowLogger": "gfopt.callbacks.mlflow",
    "Observation": "gfopt.types",
    "ProgressBar": "gfopt.callbacks.progress",
    "TargetReached": "gfopt.callbacks.target",
    "TensorBoardLogger": "gfopt.callbacks.tensorboard",
    "TimeLimit": "gfopt.callbacks.time_limit",
}

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "MLflowLogger",
    "Observation",
    "ProgressBar",
    "TargetReached",
    "TensorBoardLogger",
    "TimeLimit",
]


def __getattr__(name: str) -> object:
    """The public name, imported now."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gfopt.callbacks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
