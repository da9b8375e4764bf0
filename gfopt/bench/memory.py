"""Peak memory of a population of large networks, in a process of its own: `python -m gfopt.bench.memory`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict

import torch

from gfopt.bench.floor import threads
from gfopt.bench.options import BenchOptions
from gfopt.bench.results import Peak
from gfopt.bench.tasks import SEED, available_memory, mlp_problem
from gfopt.errors import GfoptError
from gfopt.memory import peak_resident

NETWORK = "500-1000-494-10"  # 1,000,444 weights
MEMBERS, BATCH = 1024, 256
NEEDED = 8 * 2**30  # bytes: the bar of 6 GiB and room for the system


def why_not() -> str:
    """Why this machine cannot measure it; empty if it can."""
    free = available_memory()
    if free >= NEEDED:
        return ""
    return f"it needs {NEEDED / 2**30:.0f} GiB of memory, and {free / 2**30:.1f} GiB are free"


def memory_peak(options: BenchOptions, *, network: str = NETWORK, members: int = MEMBERS, batch: int = BATCH) -> Peak:
    """Evaluate the population in a new process, and read how much memory that one ever held.

    Raises:
        GfoptError: if it does not come back, with its last words.
    """
    arguments = [network, str(members), str(batch), str(options.threads)]
    command = [sys.executable, "-m", "gfopt.bench.memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        reason = words[-1] if words else f"exit status {done.returncode}"
        raise GfoptError(f"benchmark: the process that measures memory ended early: {reason}")
    return Peak(**json.loads(done.stdout))


def measured_here(network: str, members: int, batch: int) -> Peak:
    """The same in this process, which must not have held more before."""
    problem = mlp_problem(network, batch)
    population = torch.empty(members, problem.dim)
    population.normal_(generator=torch.Generator().manual_seed(SEED)).mul_(problem.scale)
    problem.evaluate(population[:2])  # what the first call compiles is not in the seconds
    start = time.perf_counter()
    problem.evaluate(population)
    seconds = time.perf_counter() - start
    return Peak(network, members, batch, population.numel() * population.element_size(), peak_resident(), seconds)


if __name__ == "__main__":
    network_name, *numbers = sys.argv[1:]
    count, rows, cores = map(int, numbers)
    with threads(cores):
        sys.stdout.write(json.dumps(asdict(measured_here(network_name, count, rows))))
