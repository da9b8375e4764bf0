"""Held-out metrics of one network: what a reader judges it by, whatever it was trained on."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gfopt.errors import ConfigError, ShapeError, expectation
from gfopt.problems.loss_decision import class_sums, decisions, macro_f1


def metrics(
    dataset_task: str, outputs: Tensor, targets: Tensor, *, target_scale: float | np.ndarray = 1.0
) -> dict[str, float]:
    """The metrics of a task, never NaN, so that every run keeps its place in a ranking.

    With a target at each of `T` steps, all steps of all rows count alike.

    - classification: `accuracy`; `balanced_accuracy`, the mean recall over the classes among the targets;
      `f1_macro`, the mean F1 over the classes among targets or decisions. A row that allows no decision, such
      as one with NaN, is wrong (see `gfopt.problems.loss_decision.decisions`). With a target at every step also
      `sequence_accuracy`, the share of the rows that are right at all of them.
    - regression: `rmse` and `mae` over all values, in the targets' original units; `r2`, the mean over target
      columns of `1 - residual / total sum of squares`. A prediction that is not finite makes them `inf`,
      `inf` and `-inf`. A column of equal targets has the R2 1 if it is met exactly, else 0.

    Args:
        dataset_task: `classification` or `regression`.
        outputs: `(B, C)`, with `B` at least 1; one column is the logit of class 1. `(B, T, C)` for targets at
            every step.
        targets: `(B,)` or `(B, T)` class indices, or `(B, K)` or `(B, T, K)` values, or `(B,)` of one column.
        target_scale: original units per unit of the targets, one number or one for each column, or `(T, K)`.

    Raises:
        ConfigError: for another task.
        ShapeError: if outputs and targets do not belong together.
    """
    steps = targets.ndim == (2 if dataset_task == "classification" else 3)
    rows = tuple(targets.shape[: 1 + steps])
    if tuple(outputs.shape[:-1]) != rows or 0 in rows:
        wanted = f"({', '.join(map(str, rows))}, C)" if 0 not in rows else "(B, C) with B >= 1"
        raise ShapeError(f"outputs: expected shape {wanted}, got {tuple(outputs.shape)}")
    outputs, targets = outputs.detach().cpu(), targets.detach().cpu()
    if dataset_task == "classification":
        return _classification(outputs, targets.to(torch.int64))
    if dataset_task == "regression":
        scale = torch.as_tensor(np.array(target_scale), dtype=torch.float64)
        return _regression(outputs.to(torch.float64), targets.to(torch.float64), scale)
    raise ConfigError("task: " + expectation("classification or regression", dataset_task))


def _classification(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    decided = decisions(outputs)
    classes = max(2, outputs.shape[-1], int(targets.max()) + 1)
    right = decided == targets
    whole = {"sequence_accuracy": float(right.all(1).double().mean())} if targets.ndim == 2 else {}
    decided, targets = decided.reshape(-1), targets.reshape(-1)
    unit = torch.ones(len(targets), dtype=torch.float64)
    actual, _, hits = class_sums(decided, targets, classes, unit)
    present = actual > 0
    return {
        "accuracy": float(right.double().mean()),
        "balanced_accuracy": float((hits[present] / actual[present]).mean()),
        "f1_macro": float(macro_f1(decided, targets, classes)),
        **whole,
    }


def _regression(outputs: Tensor, targets: Tensor, scale: Tensor) -> dict[str, float]:
    if targets.ndim == 1:
        targets = targets.unsqueeze(1)
    if outputs.shape != targets.shape:
        raise ShapeError(f"outputs: expected shape {tuple(targets.shape)}, got {tuple(outputs.shape)}")
    scale = scale.expand(targets.shape[1:]).expand_as(targets).reshape(-1, targets.shape[-1])
    outputs, targets = outputs.reshape(scale.shape), targets.reshape(scale.shape)
    error = outputs - targets
    if not error.isfinite().all():
        return {"rmse": math.inf, "mae": math.inf, "r2": -math.inf}
    residual = error.square().sum(0)
    total = (targets - targets.mean(0)).square().sum(0)
    r2 = torch.where(total > 0, 1 - residual / total, (residual == 0).to(residual.dtype))
    return {
        "rmse": float((error * scale).square().mean().sqrt()),
        "mae": float((error * scale).abs().mean()),
        "r2": float(r2.mean()),
    }
