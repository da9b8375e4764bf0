"""Batched evaluation of a population of networks: strategies, tiles of members, statistics of BatchNorm, cost."""

from gfopt.engine.batchnorm import calibrate, prepare, statistics_layers
from gfopt.engine.cost import measure_cost
from gfopt.engine.device import resolve_device, resolve_dtype
from gfopt.engine.population import PopulationEngine

__all__ = [
    "PopulationEngine",
    "calibrate",
    "measure_cost",
    "prepare",
    "resolve_device",
    "resolve_dtype",
    "statistics_layers",
]
