"""Whether the parts of a supervised problem fit together, in words that say how to mend it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from gfopt.data import Dataset
from gfopt.engine import statistics_layers
from gfopt.engine.batchnorm import BN_MODES
from gfopt.errors import ConfigError, NetworkError, expectation, suggestion
from gfopt.problems.losses import Loss

BATCH_ORDERS = ("shuffled", "sorted")
SMALLEST_NORM_BATCH = 8  # below it batch statistics say little; with 2 rows they leave only a sign


def checked_batch_size(batch_size: int | None, dataset: Dataset) -> int | None:
    """Rows of a minibatch; `None` for the whole training set.

    Raises:
        ConfigError: for a size that the training rows do not have.
    """
    count = len(dataset.x_train)
    if batch_size is None or batch_size == count:
        return None
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= count:
        wanted = f"between 1 and the {count} training rows of {dataset.name}"
        raise ConfigError("batch_size: " + expectation(wanted, batch_size, "Leave it out to use them all."))
    return batch_size


def fixed_order(batch_order: str, dataset: Dataset) -> np.ndarray | None:
    """`(N,)` the order of the rows in every epoch, `None` to shuffle them.

    Raises:
        ConfigError: for an unknown order.
    """
    if one_of("batch_order", batch_order, BATCH_ORDERS) == "shuffled":
        return None
    y = np.asarray(dataset.y_train).reshape(len(dataset.y_train), -1)
    return np.lexsort(y.T[::-1]).astype(np.int64)


def checked_bn_mode(bn_mode: str, module: nn.Module, rows: int) -> str:
    """Whose statistics a network with batch statistics uses, if so many rows can give any.

    Raises:
        ConfigError: for an unknown mode, or batches too small.
    """
    one_of("bn_mode", bn_mode, BN_MODES)
    if bn_mode == "batch" and statistics_layers(module) and rows < SMALLEST_NORM_BATCH:
        fix = "Use a larger batch, bn_mode: reference, or norm: layer, rms or weight."
        wanted = f"at least {SMALLEST_NORM_BATCH} rows for batch normalization"
        raise ConfigError("batch_size: " + expectation(wanted, rows, fix))
    return bn_mode


def check_outputs(outputs: Tensor, rows: int, loss: Loss, dataset: Dataset) -> None:
    """Refuse a network whose outputs a loss cannot compare with the targets.

    Args:
        outputs: `(1, B, C)`, or `(1, B, T, C)` where there is a target at every step.
        rows: `B`.
        loss: with the number of outputs that it wants.
        dataset: with the number of steps.

    Raises:
        NetworkError: with the shape that would fit.
    """
    expected = loss.out_features(dataset)
    steps = () if dataset.steps is None else (dataset.steps,)
    fits = tuple(outputs.shape[1:-1]) == (rows, *steps) and expected in (None, outputs.shape[-1])
    if fits or not (steps or expected is not None):
        return
    got, needed = (
        ", ".join(map(str, ("B", *shape)))
        for shape in (outputs.shape[2:], (*steps, "C" if expected is None else expected))
    )
    wanted = f"a network whose outputs have shape ({needed}) for {loss.name} on {dataset.name}"
    fix = "It needs an output at every step." if steps else "Change its last layer."
    raise NetworkError(expectation(wanted, f"`({got})`", fix))


def one_of(name: str, value: str, known: Sequence[str]) -> str:
    """`value` if it is one of the names that an option knows.

    Raises:
        ConfigError: with the nearest known one.
    """
    if value not in known:
        raise ConfigError(f"{name}: " + expectation(f"one of {', '.join(known)}", value, suggestion(value, known)))
    return value
