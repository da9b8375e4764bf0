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
        y: `(N,)` class indices from 0, or `(N,)` or `(N, K)` targets; with a target at each of `T` steps
            `(N, T)` class indices or `(N, T, K)` targets.
        classes: labels in the order of their indices; empty for a regression.
        feature_names: names of the columns of two-dimensional inputs; empty where there are none.
        shared: axes of one row along which all entries have one mean and one scale, as `(0,)` for the steps of a
            sequence `(T, F)`: a network that does the same at every step must see the same units there.
        gap: for rows in the order of time, how many are left out between two parts of the split; `None` for rows
            without an order.
        test: inputs and targets of test rows of the data's own, from another distribution than the others; they
            are the test part unless `test_fraction` is 0.
        importance: `(N,)` true ratios of the density of inputs among test rows to that among these rows.
    """

    task: Task
    x: Inputs = field(repr=False)
    y: Targets = field(repr=False)
    classes: tuple[str | int | float | bool, ...] = ()
    feature_names: tuple[str, ...] = ()
    shared: tuple[int, ...] = ()
    gap: int | None = None
    test: tuple[Inputs, Targets] | None = field(default=None, repr=False)
    importance: Inputs | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Source(Generic[O]):
    """A data set that has a name.

    Attributes:
        name: its name in the registry and in study files.
        task: `classification` or `regression`; `None` where the data decide.
        description: one line for `gfopt list datasets`.
        options_class: the options of `load`.
        load: the rows, from options and a seed; only generated data depend on the seed.
        needs: what must be there beside gfopt itself, as an extra or a folder; empty for nothing.
    """

    name: str
    task: Task | None
    description: str
    options_class: type[O]
    load: Callable[[O, int], RawData]
    needs: str = ""
