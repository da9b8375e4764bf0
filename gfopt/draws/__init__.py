"""Cheap random numbers for whole populations, where they are needed: on the CPU's caches or on a GPU."""

from gfopt.draws.generator import Draws

__all__ = ["Draws"]
