"""Generations of DEAP's and pyswarms' own loops, as their documentation has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import numpy as np
from deap import algorithms, base, creator, tools
from numpy.typing import NDArray

from gfopt.rng import undisturbed

Rows = NDArray[Any]
Objective = Callable[[Rows], Rows]  # (P, D) -> (P,)
CROSSOVER, MUTATION = 0.5, 0.2  # probabilities per pair and per individual
GENE, BLEND, STRENGTH = 0.05, 0.1, 0.1  # probability of a gene; alpha; standard deviation
TOURNAMENT = 3


class Evolution:
    """DEAP's `eaSimple`, some generations at a time.

    Draws from the global generators of `random` and `numpy.random`, as DEAP does: call it inside
    `gfopt.rng.GlobalStreams.active()`.

    Args:
        toolbox: holds `evaluate`, `mate`, `mutate`, `select`.
        individuals: the first generation.
    """

    def __init__(self, toolbox: Any, individuals: list[Any], mutation: float = MUTATION) -> None:
        self.toolbox, self.individuals, self.mutation = toolbox, individuals, mutation
        self.evaluations = 0

    def advance(self, generations: int = 1) -> None:
        """So many generations."""
        self.individuals, book = algorithms.eaSimple(
            self.individuals, self.toolbox, CROSSOVER, self.mutation, generations, verbose=False
        )
        self.evaluations += sum(book.select("nevals"))

    @property
    def best(self) -> Any:
        """The individual of the lowest loss."""
        return tools.selBest(self.individuals, 1)[0]


def evolution_of_lists(rows: Rows, evaluate: Callable[[list[float]], float], gene: float = GENE, **how: Any) -> Any:
    """DEAP as its tutorials have it: individuals are lists, operators are `cxBlend` and `mutGaussian`."""
    made = _class("GfoptBenchList", list)
    toolbox = base.Toolbox()
    toolbox.register("evaluate", lambda individual: (evaluate(individual),))
    toolbox.register("mate", tools.cxBlend, alpha=BLEND)
    toolbox.register("mutate", tools.mutGaussian, mu=0.0, sigma=STRENGTH, indpb=gene)
    toolbox.register("select", tools.selTournament, tournsize=TOURNAMENT)
    return Evolution(toolbox, [made(row) for row in rows.tolist()], **how)


def evolution_of_arrays(rows: Rows, evaluate: Callable[[Rows], float], generator: np.random.Generator) -> Evolution:
    """DEAP with float32 arrays as individuals and operators that a careful user writes in numpy."""
    made = _class("GfoptBenchArray", np.ndarray)

    def mate(first: Rows, second: Rows) -> tuple[Rows, Rows]:
        weight = generator.random(len(first), dtype=np.float32)
        weight *= 1 + 2 * BLEND
        weight -= BLEND
        weight *= second - first
        first += weight
        second -= weight
        return first, second

    def mutate(individual: Rows) -> tuple[Rows]:
        genes = np.flatnonzero(generator.random(len(individual), dtype=np.float32) < GENE)
        individual[genes] += STRENGTH * generator.standard_normal(len(genes), dtype=np.float32)
        return (individual,)

    toolbox = base.Toolbox()
    toolbox.register("evaluate", lambda individual: (evaluate(individual),))
    toolbox.register("mate", mate)
    toolbox.register("mutate", mutate)
    toolbox.register("select", tools.selTournament, tournsize=TOURNAMENT)
    return Evolution(toolbox, [made(row) for row in rows.astype(np.float32)])


def _class(name: str, kind: type) -> Any:
    """DEAP's class of that name; its factory writes into a module, where a second one of a name would be refused."""
    if not hasattr(creator, "GfoptBenchLoss"):
        creator.create("GfoptBenchLoss", base.Fitness, weights=(-1.0,))
    if not hasattr(creator, name):
        creator.create(name, kind, fitness=creator.GfoptBenchLoss)
    return getattr(creator, name)


class Swarm:
    """An optimizer of pyswarms with its own `optimize()`.

    Draws from numpy's global generator: call it inside `gfopt.rng.GlobalStreams.active()`.

    Args:
        rows: `(P, D)` first positions.
        ring: `LocalBestPSO` with a quarter of the swarm as neighbours instead of `GlobalBestPSO`.
    """

    def __init__(self, rows: Rows, *, ring: bool = False) -> None:
        options = {"c1": 1.494, "c2": 1.494, "w": 0.729}  # the constriction coefficients of Clerc and Kennedy
        if ring:
            options |= {"k": max(2, len(rows) // 4), "p": 2}
        with quiet_pyswarms():
            from pyswarms import single

            make = single.LocalBestPSO if ring else single.GlobalBestPSO
            self._optimizer = make(
                n_particles=rows.shape[0], dimensions=rows.shape[1], options=options, init_pos=rows.astype(np.float64)
            )

    def advance(self, objective: Objective, iterations: int = 1) -> None:
        """So many iterations from where it stands; the history that pyswarms keeps of all positions is dropped."""
        optimizer = self._optimizer
        optimizer.optimize(objective, iters=iterations, verbose=False)
        optimizer.pos_history.clear()
        optimizer.velocity_history.clear()


@contextmanager
def quiet_pyswarms() -> Iterator[None]:
    """Inside, importing and making a swarm writes no `report.log` and leaves logging as it is."""
    configuration = resources.files("gfopt.optimizers") / "pyswarms_logging.yaml"
    with undisturbed(), resources.as_file(configuration) as file:
        os.environ["LOG_CFG"] = str(file)
        yield
