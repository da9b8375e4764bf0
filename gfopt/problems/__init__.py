"""What is minimized: a network on data, a plain function, or either in a random subspace."""

from gfopt.problems.base import Cost, Problem
from gfopt.problems.functions import FunctionProblem, TestFunction
from gfopt.problems.losses import Loss, make_loss
from gfopt.problems.metrics import metrics
from gfopt.problems.subspace import SubspaceProblem
from gfopt.problems.supervised import SupervisedProblem

__all__ = [
    "Cost",
    "FunctionProblem",
    "Loss",
    "Problem",
    "SubspaceProblem",
    "SupervisedProblem",
    "TestFunction",
    "make_loss",
    "metrics",
]
