"""The sections of a benchmark, one after the other, and what they ran on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, TypeVar

import torch

from gfopt.bench.convergence import reaches
from gfopt.bench.evaluation import evaluation_cells
from gfopt.bench.floor import Hardware, measure_hardware, threads
from gfopt.bench.layers import norm_cells, recurrent_cells
from gfopt.bench.memory import memory_peak, why_not
from gfopt.bench.options import BenchOptions, sizes_of
from gfopt.bench.overhead import overhead_cells
from gfopt.bench.results import BenchResults, Cell, Peak, Race, Reach
from gfopt.bench.target import races
from gfopt.bench.tasks import mlp_problem
from gfopt.engine import PopulationEngine, prepare
from gfopt.store import environment

Heard = Callable[[str], None]
Found = TypeVar("Found")


def run_bench(options: BenchOptions, heard: Heard = lambda _: None) -> BenchResults:
    """Measure; torch's threads and all global random numbers are left as they were.

    Args:
        options: what to measure.
        heard: told what was measured last.
    """
    cells: dict[str, tuple[Cell, ...]] = {}
    raced: tuple[Race, ...] = ()
    peaks: tuple[Peak, ...] = ()
    reached: tuple[Reach, ...] = ()
    skipped: dict[str, str] = {}
    with threads(options.threads):
        heard("the floor of this machine")
        hardware = measure_hardware(device=options.device)
        for section in options.sections:
            heard(section)
            if section == "target":
                raced = _gather(races(options), lambda race: heard(f"past {race.name}"))
            elif section == "convergence":
                reached = _gather(reaches(), lambda reach: heard(f"past {reach.kind}, {reach.task}"))
            elif section == "memory":
                if reason := why_not():
                    skipped[section] = reason
                else:
                    peaks = (memory_peak(options),)
            else:
                found = _cells(section, options, hardware)
                cells[section] = _gather(found, lambda cell: heard(f"past {_title(cell)}"))
    machine, versions = about(options.device)
    settings = json.loads(json.dumps(asdict(options)))  # lists for tuples, as they come back from a file
    return BenchResults(machine, versions, settings, asdict(hardware), cells, raced, peaks, reached, skipped)


def _cells(section: str, options: BenchOptions, hardware: Hardware) -> Iterable[Cell]:
    if section == "evaluation":
        return evaluation_cells(options, hardware)
    if section == "recurrent":
        return recurrent_cells(options, hardware)
    return norm_cells(options) if section == "norms" else overhead_cells(options)


def _gather(found: Iterable[Found], tell: Callable[[Found], None]) -> tuple[Found, ...]:
    kept = []
    for each in found:
        kept.append(each)
        tell(each)
    return tuple(kept)


def _title(cell: Cell) -> str:
    return ", ".join(f"{name} {value}" for name, value in cell.labels.items())


def about(device: str = "cpu") -> tuple[dict[str, Any], dict[str, str]]:
    """The machine, and versions of what was timed; nothing of who runs it or where."""
    found = environment()
    machine = {name: found[name] for name in ("date", "platform", "cpu", "memory", "git")}
    if torch.device(device).type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine, {"python": found["python"], **found["packages"], "numba": version("numba")}


def explain(options: BenchOptions) -> str:
    """How the engine means to evaluate each network and batch of the benchmark; times nothing."""
    lines = []
    if options.device == "cpu":
        cases = [(network, batch) for network in options.networks for batch in options.batches]
    else:
        cases = [(case.network, case.batch) for case in options.gpu_cases]
    with threads(options.threads):
        for network, batch in cases:
            lines += [f"{network}, batch {batch}:", plan_of(network, batch, options.device), ""]
    return "\n".join(lines[:-1])


def plan_of(network: str, batch: int, device: str = "cpu") -> str:
    """The engine's own words for how it evaluates a network, and why not faster."""
    problem = mlp_problem(network, batch, device=device)
    rows = torch.zeros(batch, sizes_of(network)[0], device=problem.device)
    module = prepare(problem.template(), "batch").to(problem.device)
    return str(PopulationEngine(module, problem.layout, rows).plan)
