"""Train one problem with and without gradients, on normalized and unnormalized networks, and compare what it costs.

Names are imported when they are used: `import gfopt` and `gfopt.analysis` load no torch.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfopt import analysis, callbacks, data, diagnostics, engine, nn, optimizers, plot, problems
    from gfopt.data import load_dataset
    from gfopt.errors import GfoptError
    from gfopt.estimators import GradientFreeClassifier, GradientFreeRegressor
    from gfopt.lockstep import minimize_many
    from gfopt.models import load_model, model_info
    from gfopt.nn import build_network
    from gfopt.problems import FunctionProblem, SubspaceProblem, SupervisedProblem
    from gfopt.report import write_report
    from gfopt.results import Results, load_results
    from gfopt.run import Run, minimize
    from gfopt.study import Study, load_study
    from gfopt.trace import Budget
    from gfopt.tuning import Tuned, tune

__version__ = version("gfopt")

_HOMES = {
    "Budget": "gfopt.trace",
    "FunctionProblem": "gfopt.problems",
    "GfoptError": "gfopt.errors",
    "GradientFreeClassifier": "gfopt.estimators",
    "GradientFreeRegressor": "gfopt.estimators",
    "Results": "gfopt.results",
    "Run": "gfopt.run",
    "Study": "gfopt.study",
    "SubspaceProblem": "gfopt.problems",
    "SupervisedProblem": "gfopt.problems",
    "Tuned": "gfopt.tuning",
    "build_network": "gfopt.nn",
    "load_dataset": "gfopt.data",
    "load_model": "gfopt.models",
    "load_results": "gfopt.results",
    "load_study": "gfopt.study",
    "minimize": "gfopt.run",
    "minimize_many": "gfopt.lockstep",
    "model_info": "gfopt.models",
    "tune": "gfopt.tuning",
    "write_report": "gfopt.report",
}
_ROOMS = ("analysis", "callbacks", "data", "diagnostics", "engine", "nn", "optimizers", "plot", "problems")

__all__ = [
    "Budget",
    "FunctionProblem",
    "GfoptError",
    "GradientFreeClassifier",
    "GradientFreeRegressor",
    "Results",
    "Run",
    "Study",
    "SubspaceProblem",
    "SupervisedProblem",
    "Tuned",
    "analysis",
    "build_network",
    "callbacks",
    "data",
    "diagnostics",
    "engine",
    "load_dataset",
    "load_model",
    "load_results",
    "load_study",
    "minimize",
    "minimize_many",
    "model_info",
    "nn",
    "optimizers",
    "plot",
    "problems",
    "tune",
    "write_report",
]


def __getattr__(name: str) -> object:
    """The public name, imported now."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"gfopt.{name}")
    raise AttributeError(f"module 'gfopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
