"""From a study file to finished runs on disk: run specs, their parts, executing them, collecting the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfopt.study.study import Study, load_study

__all__ = ["Study", "load_study"]


def __getattr__(name: str) -> object:
    """`Study` and `load_study`, imported when they are asked for: the worker processes do not need them."""
    if name in __all__:
        from gfopt.study import study

        return getattr(study, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
