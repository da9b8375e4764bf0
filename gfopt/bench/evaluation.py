"""Evaluations a second of populations of MLPs, by gfopt and by the ways that users write themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gfopt.bench import peers
from gfopt.bench.floor import Hardware, settle
from gfopt.bench.options import BenchOptions, sizes_of
from gfopt.bench.results import Cell, Contender
from gfopt.bench.tasks import available_memory, evaluator, mlp_problem, population_of, task_of
from gfopt.bench.timing import Entry, in_turn
from gfopt.errors import GfoptError

OURS = "gfopt"
LOOP = "module loop"
VMAP = "vmap"
AT_HOME = "gfopt, CPU"
TOLERANCE = 1e-3  # relative, of losses; float32 sums in another order differ by about 1e-6
TEMPORARIES = 3  # tensors as large as a layer's activations of all members that `vmap` holds at once


@dataclass(frozen=True)
class Way:
    """How a cell is evaluated: what does it, and how many of its members."""

    evaluate: Callable[[], Tensor]
    members: int
    note: str = ""


def evaluation_cells(options: BenchOptions, hardware: Hardware) -> Iterator[Cell]:
    """Cell by cell: network, batch, size of the population."""
    if options.device != "cpu":
        for case in options.gpu_cases:
            yield _cell(case.network, case.batch, case.members, options, hardware)
        return
    for network in options.networks:
        for batch in options.batches:
            for members in options.members:
                yield _cell(network, batch, members, options, hardware)


def _cell(network: str, batch: int, members: int, options: BenchOptions, hardware: Hardware) -> Cell:
    on_cpu = options.device == "cpu"
    ways = (cpu_ways if on_cpu else gpu_ways)(network, batch, members, options)
    contenders = timed(ways, options)
    labels: dict[str, str | int] = {"network": network, "batch": batch, "members": members}
    sizes = sizes_of(network)
    return Cell(labels, contenders, hardware.mlp(sizes, batch), hardware.products(sizes, batch))


def cpu_ways(network: str, batch: int, members: int, options: BenchOptions) -> dict[str, Way]:
    """The contenders on a CPU; loops over members go through some of them only."""
    problem = mlp_problem(network, batch)
    population = population_of(problem, members)
    sizes = sizes_of(network)
    task = task_of(problem, population, sizes)
    some = min(members, options.loop_members)
    note = f"timed on {some} members" if some < members else ""
    ways = {
        OURS: Way(evaluator(problem, population), members),
        LOOP: Way(peers.module_loop(task, some), some, note),
        VMAP: Way(peers.hand_vmap(task), members),
        "vmap, chunks of 16": Way(peers.hand_vmap(task, 16), members),
        "DEAP lists": Way(peers.deap_lists(task, some), some, note),
        "pyswarms tutorial": Way(peers.numpy_loop(task, some, np.float64), some, note),
        "numpy float32": Way(peers.numpy_loop(task, some, np.float32), some, note),
    }
    if TEMPORARIES * 4 * members * batch * max(sizes[1:]) > available_memory():
        del ways[VMAP]
    return ways


def gpu_ways(network: str, batch: int, members: int, options: BenchOptions) -> dict[str, Way]:
    """The contenders on a GPU, and gfopt on the CPU beside it."""
    problem = mlp_problem(network, batch, device=options.device)
    population = population_of(problem, members)
    task = task_of(problem, population, sizes_of(network))
    some = min(members, options.loop_members)
    at_home = mlp_problem(network, batch, device="cpu")
    return {
        OURS: Way(evaluator(problem, population), members),
        LOOP: Way(peers.module_loop(task, some), some, f"timed on {some} members"),
        "vmap, chunks of 256": Way(peers.hand_vmap(task, 256), members),
        AT_HOME: Way(evaluator(at_home, population[:some].cpu()), some, f"timed on {some} members"),
    }


def timed(ways: Mapping[str, Way], options: BenchOptions, *, against: str = "") -> tuple[Contender, ...]:
    """The ways as contenders, once they agree on the losses.

    Raises:
        GfoptError: if a way computes something else than the others.
    """
    check_agreement(ways)
    times = in_turn(
        {name: Entry(way.evaluate, way.members) for name, way in ways.items()},
        options.repeats,
        patience=options.patience,
        settle=settle(options.device),
    )
    return tuple(
        Contender(name, t.median, t.best, t.repeats, ours=name.startswith(OURS), against=against, note=ways[name].note)
        for name, t in times.items()
    )


def check_agreement(ways: Mapping[str, Way]) -> None:
    """Nobody is timed who computes something else: losses of the members that all evaluate, within 0.1 %.

    Raises:
        GfoptError: naming the one that differs from the first.
    """
    found = {name: way.evaluate().detach().double().cpu() for name, way in ways.items()}
    first, expected = next(iter(found.items()))
    for name, losses in found.items():
        shared = min(len(losses), len(expected))
        if not torch.allclose(losses[:shared], expected[:shared], rtol=TOLERANCE, atol=TOLERANCE):
            worst = float((losses[:shared] - expected[:shared]).abs().max())
            raise GfoptError(f"benchmark: {name} and {first} differ by {worst:.2g} in a loss: one of them is wrong")
