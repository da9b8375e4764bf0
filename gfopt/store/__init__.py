"""Runs on disk: a results folder that is whole at every moment and holds nothing that can execute code."""

from gfopt.store.environment import environment
from gfopt.store.folder import SCHEMA_VERSION, ResultsFolder

__all__ = ["SCHEMA_VERSION", "ResultsFolder", "environment"]
