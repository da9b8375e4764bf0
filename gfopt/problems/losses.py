"""All losses in one place, and the step from a name, a table or a function to a `Loss`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from gfopt import registry
from gfopt.data.dataset import Dataset
from gfopt.errors import ConfigError, expectation
from gfopt.problems.loss_base import Loss, SampleLoss
from gfopt.problems.loss_callable import CallableLoss, LossFunction
from gfopt.problems.loss_decision import AUCError, ClassificationError, CostMatrix, F1Error
from gfopt.problems.loss_smooth import BinaryCrossEntropy, CrossEntropy, MeanSquaredError

__all__ = [
    "AUCError",
    "BinaryCrossEntropy",
    "CallableLoss",
    "ClassificationError",
    "CostMatrix",
    "CrossEntropy",
    "F1Error",
    "Loss",
    "LossSpec",
    "MeanSquaredError",
    "SampleLoss",
    "make_loss",
    "network_outputs",
]

LossSpec: TypeAlias = "str | Mapping[str, object] | Loss | type[Loss] | LossFunction"


def make_loss(spec: LossSpec) -> Loss:
    """The loss that `spec` names.

    Args:
        spec: a registered name, a table `{kind: name, ...options}`, a `Loss`, or a function of one network's
            outputs `(B, C)` and the targets (see `CallableLoss`).

    Raises:
        ConfigError: for an unknown name, unknown or missing options, or another kind of value.
    """
    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, str):
        return _build(registry.losses.get(spec), spec, {})
    if isinstance(spec, Mapping):
        options = dict(spec)
        if "kind" not in options:
            raise ConfigError("loss: " + expectation("a table with the key kind", spec, "As in {kind: mse}."))
        kind = options.pop("kind")
        return _build(registry.losses.get(registry.losses.check(kind)), str(kind), options)
    if isinstance(spec, type) and issubclass(spec, Loss):
        return _build(spec, spec.__name__, {})
    if callable(spec) and not isinstance(spec, type):
        return CallableLoss(spec)
    raise ConfigError("loss: " + expectation("a name, a table {kind: ...}, a Loss or a function", spec))


def network_outputs(dataset: Dataset, *losses: Loss) -> int:
    """Outputs of a network built for `losses`: what the first one fixes, else one per class or column."""
    fixed = (loss.out_features(dataset) for loss in losses)
    return next((size for size in fixed if size is not None), len(dataset.classes) or dataset.targets)


def _build(factory: Callable[..., Any], name: str, options: dict[str, object]) -> Loss:
    """The registered loss with its options; another package may also register a `Loss` that has them."""
    if not isinstance(factory, type):
        if options:
            raise ConfigError(f"loss {name}: " + expectation("no options", options))
        return make_loss(factory)
    known = inspect.signature(factory).parameters
    required = [key for key, parameter in known.items() if parameter.default is parameter.empty]
    unknown = [key for key in options if key not in known]
    missing = [key for key in required if key not in options]
    if unknown or missing:
        wanted = f"the options {', '.join(known)}" if known else "no options"
        raise ConfigError(f"loss {name}: " + expectation(wanted, f"`{', '.join(options) or 'none'}`"))
    return make_loss(factory(**options))
