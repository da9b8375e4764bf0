"""What optimizers cost themselves: a generation of ask and tell on an objective that costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfopt import optimizers
from gfopt.bench.options import BenchOptions
from gfopt.bench.peer_optimizers import (
    BLEND,
    CROSSOVER,
    GENE,
    MUTATION,
    TOURNAMENT,
    Rows,
    Swarm,
    evolution_of_arrays,
    evolution_of_lists,
)
from gfopt.bench.results import Cell, Contender
from gfopt.bench.tasks import SEED, mlp_problem
from gfopt.bench.timing import Entry, in_turn
from gfopt.problems import Problem
from gfopt.rng import GlobalStreams, derive, generator
from gfopt.types import Evaluation

DRAW = "torch normal_ (P, D)"
DEAP_ARRAYS, DEAP_LISTS = "DEAP eaSimple, arrays", "DEAP eaSimple, lists"
SWARM, RING = "pyswarms GlobalBestPSO", "pyswarms LocalBestPSO"
AS_EASIMPLE = "deap-ga, as eaSimple"  # by default deap-ga changes every gene of every individual
EASIMPLE = {
    "elites": 0,
    "tournament_size": TOURNAMENT,
    "crossover": "blend",
    "blend_alpha": BLEND,
    "crossover_probability": CROSSOVER,
    "mutation_probability": MUTATION,
    "gene_probability": GENE,
}
# Those that somebody would otherwise write a loop of their own for; the time of the others is the methods' own.
KINDS = ("deap-ga", "pyswarms-gbest", "pyswarms-lbest", "pso", "ga", "openai-es", "snes", "random-search")
GENES = 8  # that the objective looks at
SIZE_OPTIONS = ("population", "particles")
COUNTERPARTS = {"deap-": DEAP_ARRAYS, "pyswarms-lbest": RING, "pyswarms-": SWARM}  # by how a name begins


def overhead_cells(options: BenchOptions) -> Iterator[Cell]:
    """A cell for each number of weights: every optimizer of `KINDS` beside what it is held against."""
    for network in options.overhead_networks:
        problem = mlp_problem(network, 64)
        members = options.overhead_members
        start = problem.initial(members, SEED)
        entries = {DRAW: Entry(_draw(start)), **_peers(start.numpy())}
        ours = {kind: Entry(generation(kind, problem, members)) for kind in KINDS}
        ours[AS_EASIMPLE] = Entry(generation("deap-ga", problem, members, **EASIMPLE))
        entries |= {name: ours[name] for name in sorted(ours)}
        times = in_turn(entries, options.repeats, patience=options.patience)
        contenders = tuple(
            Contender(name, t.median, t.best, t.repeats, ours=name in ours, against=counterpart(name))
            for name, t in times.items()
        )
        labels: dict[str, str | int] = {"network": network, "weights": problem.dim, "members": members}
        yield Cell(labels, contenders)


def counterpart(name: str) -> str:
    """What the cost of `name` is held against: the library's own loop, else drawing the normals."""
    return next((other for start, other in COUNTERPARTS.items() if name.startswith(start)), DRAW)


def sized(kind: str, members: int) -> dict[str, Any]:
    """Options that give the optimizer a generation of so many rows, where it has such an option."""
    fields = optimizers.optimizer_class(kind).options_class.model_fields
    return {name: members for name in SIZE_OPTIONS if name in fields}


def generation(kind: str, problem: Problem, members: int, **given: Any) -> Callable[[], None]:
    """One ask and tell of an optimizer, with its default options where none are given."""
    options = optimizers.options_of(kind, {**sized(kind, members), **given})
    rows = optimizers.optimizer_class(kind).population_size(options)
    optimizer = optimizers.build(
        kind,
        options,
        problem.initial(rows, SEED),
        generator(SEED, kind),
        scale=problem.scale,
        bounds=problem.bounds,
        groups=problem.groups,
    )

    def go() -> None:
        asked = optimizer.ask(0)
        if len(asked):
            optimizer.tell(asked, Evaluation(_objective(asked), None, 1, 0))

    return go


def _objective(rows: Tensor) -> Tensor:
    return rows[:, :GENES].square().mean(dim=1)


def _draw(like: Tensor) -> Callable[[], Tensor]:
    stream = torch.Generator().manual_seed(SEED)
    return lambda: torch.empty_like(like).normal_(generator=stream)


def _peers(rows: Rows) -> dict[str, Entry]:
    def one(individual: Any) -> float:
        return float(np.square(individual[:GENES]).mean())

    def every(positions: Rows) -> Rows:
        found: Rows = np.square(positions[:, :GENES]).mean(axis=1)
        return found

    streams = GlobalStreams(derive(SEED, "peers"))
    arrays = evolution_of_arrays(rows, one, generator(SEED, DEAP_ARRAYS))
    lists = evolution_of_lists(rows, one)
    with streams.active():
        swarm, ring = Swarm(rows), Swarm(rows, ring=True)
    work: dict[str, Callable[[], None]] = {
        SWARM: lambda: swarm.advance(every),
        RING: lambda: ring.advance(every),
        DEAP_ARRAYS: arrays.advance,
        DEAP_LISTS: lists.advance,
    }

    def isolated(advance: Callable[[], None]) -> Callable[[], None]:
        def go() -> None:
            with streams.active():
                advance()

        return go

    return {name: Entry(isolated(advance)) for name, advance in work.items()}
