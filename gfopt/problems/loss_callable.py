"""A user's own function as a loss: examined once, then applied to whole populations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from gfopt.data.dataset import Dataset
from gfopt.errors import ConfigError, SlowPathWarning, expectation
from gfopt.problems.loss_base import (
    CLASSIFICATION,
    REGRESSION,
    Loss,
    class_targets,
    mean_over_samples,
    value_targets,
)

VALUE_TYPES = (Tensor, np.ndarray, np.generic, float, int)
LossFunction: TypeAlias = "Callable[[Tensor, Tensor], object]"  # the result is checked when it is there


class CallableLoss(Loss):
    """A function of one network's outputs and the targets.

    `function(outputs (B, C), targets)` returns either `(B,)` losses, one a sample, or one number for the
    whole set; as a tensor, a numpy array or a plain number. Targets are `(B,)` int64 class indices or
    `(B, K)` values. It must not depend on anything else that changes, and lower must be better.

    What it can do is found out by `examine`, on real outputs: whether it is per sample, whether a gradient
    flows through it, and whether torch can apply it to all members at once.

    Args:
        function: the user's function; its `__name__` becomes the loss's name.
        out_features: outputs that a network must have; `None` if the function takes any.

    Raises:
        ConfigError: if `function` cannot be called.
    """

    tasks = CLASSIFICATION | REGRESSION

    def __init__(self, function: LossFunction, out_features: int | None = None) -> None:
        if not callable(function):
            raise ConfigError("loss: " + expectation("a function (outputs, targets)", function))
        self.function = function
        self.name = _name(function)
        self._out_features = out_features
        self._examined = False
        self._slow_because = ""
        self._warned = False

    def __repr__(self) -> str:
        return f"CallableLoss({self.name})"

    def out_features(self, dataset: Dataset) -> int | None:
        """What the constructor was given."""
        del dataset
        return self._out_features

    def targets(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        """`(N,)` int64 where `y` holds integers (classes), else `(N, K)` values."""
        return class_targets(y) if np.asarray(y).dtype.kind in "iub" else value_targets(y, dtype)

    def examine(self, outputs: Tensor, targets: Tensor) -> None:
        """Set `per_sample`, `differentiable` and the way to apply the function to a population.

        The function is called a few times: plainly, with outputs that require a gradient, under `torch.vmap`.

        Args:
            outputs: `(B, C)` of one member, real ones, so that the function sees what it will see later.
            targets: `(B,)` or `(B, K)`.

        Raises:
            ConfigError: if it returns neither `(B,)` losses nor one number.
            Exception: whatever the function itself raises, with a note on how it was called.
        """
        outputs = outputs.detach()
        value = self._plain(outputs, targets, differentiable=False)
        self.per_sample = self.accepts_weight = self._is_per_sample(value, len(targets))
        self.differentiable = self._carries_gradient(outputs, targets)
        self._slow_because = self._why_not_batched(outputs, targets)
        self._examined = True

    def __call__(self, outputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """`(...)` losses of outputs `(..., B, C)`; see `Loss.__call__`.

        Raises:
            ConfigError: if weights are given to a function that returns one number for the whole set.
        """
        if 0 in outputs.shape[:-2]:
            return outputs.new_zeros(outputs.shape[:-2])
        members = outputs.reshape(-1, *outputs.shape[-2:])
        if not self._examined:
            self.examine(members[0], targets)
        if weight is not None and not self.accepts_weight:
            fix = "Let it return one loss a sample, or leave the weights out."
            got = "one number for the whole set"
            raise ConfigError(f"loss {self.name}: " + expectation("`(B,)` losses to weight", f"`{got}`", fix))
        values = self._batched(members, targets)
        loss = mean_over_samples(values, weight) if self.per_sample else values
        return loss.reshape(outputs.shape[:-2])

    def _batched(self, members: Tensor, targets: Tensor) -> Tensor:
        """`(P, B)` or `(P,)` values of members `(P, B, C)`."""
        if len(members) > 1 and not self._slow_because:
            values = self._vmapped(members, targets)
            self._check(values[0], len(targets))
            return values
        if len(members) > 1 and not self._warned:
            self._warned = True
            message = f"loss {self.name}: evaluated one member at a time, because {self._slow_because}. "
            message += "Written with torch operations that torch.vmap knows, it takes all members at once."
            warnings.warn(message, SlowPathWarning, stacklevel=3)
        single = [self._plain(member, targets, differentiable=self.differentiable) for member in members]
        for value in single:
            self._check(value, len(targets))
        return torch.stack(single)

    def _vmapped(self, members: Tensor, targets: Tensor) -> Tensor:
        values = torch.vmap(self.function, in_dims=(0, None))(members, targets)
        return cast(Tensor, values).to(members.dtype)

    def _plain(self, outputs: Tensor, targets: Tensor, *, differentiable: bool) -> Tensor:
        """The function's value for one member, as a tensor of the outputs' type and place."""
        try:
            # A tensor that requires a gradient cannot be turned into a numpy array.
            value = self.function(outputs if differentiable else outputs.detach(), targets)
        except Exception as error:
            error.add_note(
                f"raised by the loss {self.name!r}, called with outputs {tuple(outputs.shape)} and targets "
                f"{tuple(targets.shape)} {targets.dtype} of one network, on {outputs.device}"
            )
            raise
        if not isinstance(value, VALUE_TYPES):
            expected = "a tensor, a numpy array or a number"
            raise ConfigError(f"loss {self.name}: " + expectation(f"{expected} from the function", value))
        return torch.as_tensor(value, device=outputs.device).to(outputs.dtype)

    def _is_per_sample(self, value: Tensor, rows: int) -> bool:
        if value.shape in ((rows,), ()):
            return value.ndim == 1
        raise self._wrong_shape(value, f"losses of shape ({rows},), one a sample, or one number")

    def _check(self, value: Tensor, rows: int) -> None:
        """Refuse a value of another shape than the function had when it was examined."""
        if value.shape != ((rows,) if self.per_sample else ()):
            was = f"losses of shape ({rows},)" if self.per_sample else "one number"
            raise self._wrong_shape(value, f"{was}, as when it was examined")

    def _wrong_shape(self, value: Tensor, wanted: str) -> ConfigError:
        fix = "Reduce over the output columns, for example with .mean(-1)." if value.ndim > 1 else ""
        return ConfigError(f"loss {self.name}: " + expectation(wanted, f"`shape {tuple(value.shape)}`", fix))

    def _carries_gradient(self, outputs: Tensor, targets: Tensor) -> bool:
        with torch.enable_grad():
            leaf = outputs.clone().requires_grad_()
            try:
                value = self.function(leaf, targets)
                if not isinstance(value, Tensor) or not value.requires_grad:
                    return False
                (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
            except Exception:  # noqa: BLE001  The plain call went through: what fails here is the gradient.
                return False
        return gradient is not None

    def _why_not_batched(self, outputs: Tensor, targets: Tensor) -> str:
        """Empty if `torch.vmap` gives what single calls give, else the reason."""
        if not isinstance(self.function(outputs, targets), Tensor):
            return "it returns something else than a tensor"
        pair = torch.stack((outputs, outputs.roll(1, dims=0)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # torch warns where it has no batched form of an operation
                batched = self._vmapped(pair, targets)
        except Exception as error:  # noqa: BLE001  A user's function may fail in any way when it is given a batch.
            return f"torch cannot batch it ({_first_line(error)})"
        single = torch.stack([self._plain(member, targets, differentiable=False) for member in pair])
        if batched.shape != single.shape or not torch.allclose(batched, single, rtol=1e-4, equal_nan=True):
            return "batched by torch it gives other values than one member at a time"
        return ""


def _first_line(error: Exception) -> str:
    """What an error says, for a warning of one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _name(function: object) -> str:
    """The function's name; that of the wrapped function for a `functools.partial`, else its class's."""
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(inner).__name__))
