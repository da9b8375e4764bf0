"""What stands behind a data set's name: a description, typed options, and a function that loads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from gfopt.data.dataset import Inputs, Targets, Task


class SourceOptions(BaseModel):
    """A source's own options: typed, frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


O = TypeVar("O", bound=SourceOptions)


@dataclass(frozen=True, eq=False)
class RawData:
    """Rows in their original units, before they are split and scaled.

    Attributes:
        task: `classification` or `regression`.
        x: `(N, ...)` inputs.
        y: `(N,)` class indices from 0, or `(N,)` or `(N, K)` targets.
        classes: labels in the order of their indices; empty for a regression.
        feature_names: names of the columns of two-dimensional inputs; empty where there are none.
    """

    task: Task
    x: Inputs = field(repr=False)
    y: Targets = field(repr=False)
    classes: tuple[str | int | float | bool, ...] = ()
    feature_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source(Generic[O]):
    """A data set that has a name.

    Attributes:
        name: its name in the registry and in study files.
        task: `classification` or `regression`.
        description: one line for `gfopt list datasets`.
        options_class: the options of `load`.
        load: the rows, from options and a seed; only generated data depend on the seed.
    """

    name: str
    task: Task
    description: str
    options_class: type[O]
    load: Callable[[O, int], RawData]
