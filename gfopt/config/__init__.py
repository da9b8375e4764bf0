"""Study files: reading, overriding, expanding grids, and saying what is wrong. Loads without torch."""

from gfopt.config.cells import OptimizerCell, ProblemCell
from gfopt.config.checks import check_tasks
from gfopt.config.json_schema import json_schema
from gfopt.config.load import from_mapping, load
from gfopt.config.models import CodeReference, FunctionConfig, ProblemConfig, SupervisedConfig
from gfopt.config.schema import StudyConfig
from gfopt.config.template import template

__all__ = [
    "CodeReference",
    "FunctionConfig",
    "OptimizerCell",
    "ProblemCell",
    "ProblemConfig",
    "StudyConfig",
    "SupervisedConfig",
    "check_tasks",
    "from_mapping",
    "json_schema",
    "load",
    "template",
]
