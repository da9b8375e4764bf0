"""What estimators are told, as the rest of gfopt wants it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from gfopt.errors import ConfigError, expectation
from gfopt.estimators.rows import WHOLE
from gfopt.run import minimize
from gfopt.trace import Budget

MINIBATCH = 512  # rows of the minibatches of `batch_size="auto"`


def seed_of(random_state: object) -> int:
    """A seed: the number given, one drawn from the generator given, or from the operating system for `None`.

    Unlike elsewhere in scikit-learn, `None` leaves numpy's global random numbers alone.

    Raises:
        ConfigError: for anything else.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    raise ConfigError("random_state: " + expectation("a whole number, a RandomState or None", random_state))


def budget_of(budget: object) -> Budget | Mapping[str, float]:
    """The budget; a number counts evaluations."""
    if isinstance(budget, int | float | np.number):
        return Budget(evaluations=budget.item() if isinstance(budget, np.number) else budget)
    return budget  # type: ignore[return-value] # `minimize` refuses what it is not


def batch_size_of(batch_size: object, count: int) -> int | None:
    """Rows of a minibatch; `None` for all `count` training rows at once."""
    if batch_size == "auto":
        return None if count <= WHOLE else MINIBATCH
    if isinstance(batch_size, int | np.integer) and not isinstance(batch_size, bool):
        return None if batch_size >= count else int(batch_size)
    return batch_size  # type: ignore[return-value] # the problem refuses what it is not


def options_of(options: object) -> dict[str, Any]:
    """The optimizer's options.

    Raises:
        ConfigError: if it is no mapping, or names what the estimator itself decides.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ConfigError("optimizer_options: " + expectation("a mapping from option to value", options))
    for name in options:
        if name in inspect.signature(minimize).parameters:
            raise ConfigError("optimizer_options: " + expectation("an option of the optimizer", name))
    return dict(options)
