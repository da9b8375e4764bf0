"""The gradient of every layer at the starts of a study: what normalization changes before any training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from gfopt.config import StudyConfig
from gfopt.diagnostics import LayerGradient, gradient_flow
from gfopt.errors import NetworkError, NotDifferentiableError
from gfopt.problems import Problem, SubspaceProblem, SupervisedProblem
from gfopt.rng import derive
from gfopt.study.spec import grid_columns


def gradient_flow_rows(config: StudyConfig, problems: Mapping[str, Problem]) -> list[dict[str, Any]]:
    """One row per problem cell, repeat and layer: the gradient with respect to its pre-activations.

    Taken at member 0 of the repeat's starts, where every optimizer begins, on the repeat's first minibatch; problems
    without a network, without layers of a known kind or without a gradient have no rows.
    """
    rows = []
    for cell in config.problem_cells:
        problem = problems[cell.label]
        while isinstance(problem, SubspaceProblem):
            problem = problem.problem
        if not isinstance(problem, SupervisedProblem) or not problem.differentiable:
            continue
        columns = grid_columns(cell)
        for repeat in range(config.repeats):
            start = problem.initial(1, derive(config.seed, cell.name, repeat, "init"))[0]
            stream = derive(config.seed, cell.name, repeat, "data")
            for layer in _layers(problem, start, stream, f"{cell.label}, repeat {repeat}"):
                rows.append(
                    {
                        "problem": cell.name,
                        **columns,
                        "repeat": repeat,
                        "quantity": "gradient_norm",
                        "layer": layer.layer,
                        "name": layer.name,
                        "value": layer.norm,
                    }
                )
    return rows


def _layers(problem: SupervisedProblem, start: Tensor, stream: int, where: str) -> list[LayerGradient]:
    """The layers' gradients at a start; none where there are no such layers, or the network fails."""
    try:
        module, inputs, loss_of = problem.training_view(start, 0, seed=stream)
        return gradient_flow(module, inputs, inputs, partial(_of_outputs, loss_of))
    except (NetworkError, NotDifferentiableError):  # no layer that is known, or none that the loss depends on
        return []
    except Exception as error:  # noqa: BLE001 - a user's network may raise anything; the runs are done and stay
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"{where}: no gradient of the layers at the start, because of {reason}", stacklevel=3)
        return []


def _of_outputs(loss_of: Callable[[Tensor], Tensor], outputs: Tensor, _targets: Tensor) -> Tensor:
    """The problem's own map from outputs to the loss, which knows the targets already."""
    return loss_of(outputs)
