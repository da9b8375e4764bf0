"""Calling a user's function: with tensors or numpy arrays, all rows at once or one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gfopt.errors import ConfigError, ShapeError, expectation

ObjectiveFunction: TypeAlias = "Callable[[Tensor], object] | Callable[[np.ndarray], object]"


class Objective:
    """A function of points, with one way of calling it.

    How it wants to be called is found out on test rows, in this order; it is called at most three times:

    1. with a tensor that requires a gradient: fine if the result carries one;
    2. with a tensor: fine unless it fails, or numpy has to convert the tensor to compute with it;
    3. with a float64 numpy array.

    Args:
        f: the function; it gets a copy, so that it may change its argument.
        name: used in messages.
        vectorized: `f` maps `(P, D)` to `(P,)`, otherwise `(D,)` to one number.
        differentiable: `True` insists on a gradient, `False` wants none, `None` takes what is there.
        rows: `(P, D)` test rows, `P` different from `D` and at least 2.

    Raises:
        ConfigError: if a gradient is insisted on and there is none.
        ShapeError: if the result has another shape.
        Exception: whatever `f` itself raises, with a note on how it was called.
    """

    def __init__(
        self, f: ObjectiveFunction, name: str, *, vectorized: bool, differentiable: bool | None, rows: Tensor
    ) -> None:
        self._f = f
        self._name = name
        self._vectorized = vectorized
        self._numpy = False
        self.differentiable = differentiable is not False and self._carries_gradient(rows)
        if differentiable and not self.differentiable:
            fix = "Compute with torch operations only, or leave differentiable out."
            raise ConfigError(f"function {name}: " + expectation("a result that carries a gradient", "none", fix))
        if not self.differentiable:
            self._numpy = not self._takes_tensors(rows)

    def values(self, rows: Tensor) -> Tensor:
        """`(P,)` values of rows `(P, D)`."""
        with torch.no_grad():
            return self._call(rows)

    def values_and_gradients(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """`(P,)` values and `(P, D)` gradients of rows `(P, D)`."""
        with torch.enable_grad():
            leaf = rows.detach().clone().requires_grad_()
            values = self._call(leaf)
            if not values.requires_grad:
                return values, torch.zeros_like(rows)
            (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True, materialize_grads=True)
        return values.detach(), gradient

    def _call(self, rows: Tensor) -> Tensor:
        if len(rows) == 0:
            return rows.new_zeros(0)
        # A copy: a function that changes its argument must not change the optimizer's population.
        given = rows.detach().cpu().double().numpy().copy() if self._numpy else rows.clone()
        if self._vectorized:
            return self._value(given, (len(rows),), rows)
        return torch.stack([self._value(row, (), rows) for row in given])

    def _value(self, given: Tensor | np.ndarray, shape: tuple[int, ...], like: Tensor) -> Tensor:
        try:
            value = self._f(given)  # type: ignore[arg-type]  # which of the two it takes was found out before
        except Exception as error:
            kind = "a numpy array" if self._numpy else f"a {like.dtype} tensor"
            error.add_note(f"raised by the function {self._name!r}, called with {kind} of shape {tuple(given.shape)}")
            raise
        wanted = f"values of shape {shape}, one a row" if self._vectorized else "one number"
        if not isinstance(value, Tensor | np.ndarray | np.generic | float | int):
            raise ShapeError(f"function {self._name}: " + expectation(wanted, value))
        values = torch.as_tensor(value, device=like.device).to(like.dtype)
        if values.shape != shape:
            fix = "Reduce over the last dimension only, or pass vectorized=False." if self._vectorized else ""
            got = f"shape {tuple(values.shape)} for an argument of shape {tuple(given.shape)}"
            raise ShapeError(f"function {self._name}: expected {wanted}, got {got}. {fix}".rstrip(". ") + ".")
        return values

    def _carries_gradient(self, rows: Tensor) -> bool:
        with torch.enable_grad():
            leaf = rows.detach().clone().requires_grad_()
            try:
                values = self._call(leaf)
                if not values.requires_grad:
                    return False
                (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
            except Exception:  # noqa: BLE001  Whatever is really wrong will show when it is called without a gradient.
                return False
        return gradient is not None

    def _takes_tensors(self, rows: Tensor) -> bool:
        """Whether `f` works on tensors; if not, it works on numpy arrays, or its own error is raised."""
        try:
            with warnings.catch_warnings():
                # What numpy says when one of its functions is given a tensor that it converts on the way.
                warnings.filterwarnings("error", message=".*__array_wrap__")
                self.values(rows)
        except Exception as error:  # noqa: BLE001  It is raised below unless numpy arrays work.
            self._numpy = True
            try:
                self.values(rows)
            except Exception as second:
                if isinstance(second, ShapeError):
                    raise
                error.add_note(f"called with a numpy array it raised {type(second).__name__}: {second}")
                raise error from None
            return False
        return True
