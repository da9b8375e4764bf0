"""What evaluating a population needs beside the population itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from torch import nn

import gfopt
from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.criterion import Criterion
from gfopt.nn import ParameterLayout

STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MIB = 2**20


def resident(name):
    """Bytes: `VmRSS` now, or `VmHWM`, the highest since `forget_peak`."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def available():
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])


needs_proc = pytest.mark.skipif(not PEAK.exists(), reason="needs Linux, which tells a process its peak of memory")


def cross_entropy(outputs, targets, weight):
    del weight
    return -torch.log_softmax(outputs, -1).gather(-1, targets.expand(outputs.shape[:-1])[..., None])[..., 0].mean(-1)


@needs_proc
@pytest.mark.parametrize("strategy", ["fused", "native", "vmap"])
def test_evaluating_needs_no_second_copy_of_the_population(strategy):
    module = prepare(nn.Sequential(nn.Linear(256, 512), nn.Tanh(), nn.Linear(512, 10)), "batch")
    layout = ParameterLayout.of(module)
    generator = torch.Generator().manual_seed(0)
    population = torch.empty(256, layout.dim).uniform_(-0.1, 0.1, generator=generator)
    inputs = torch.randn(16, 256, generator=generator)
    criterion = Criterion(cross_entropy, torch.arange(16) % 10, kind="cross_entropy")
    engine = PopulationEngine(module, layout, inputs, strategy=strategy)
    size = population.numel() * population.element_size()
    assert size > 128 * MIB
    engine.losses(population[:2], inputs, criterion)  # what the first call loads and compiles
    PEAK.write_text("5")  # the peak is from now on
    before = resident("VmRSS")
    engine.losses(population, inputs, criterion)
    assert resident("VmHWM") - before < size / 4


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [("openai-es", {"population": 8}), ("deap-ga", {"population": 8}), ("pyswarms-gbest", {"particles": 8})],
)
def test_a_run_is_as_large_at_its_end_as_at_a_quarter(kind, options):
    problem = gfopt.SupervisedProblem({"kind": "mlp", "hidden": [8]}, "iris", batch_size=32, device="cpu")
    shares, traced, held = [], [], []

    def look(share, _record):
        shares.append(share)
        traced.append(tracemalloc.get_traced_memory()[0])
        held.append(resident("VmRSS"))

    gfopt.minimize(problem, kind, budget={"steps": 2}, seed=0, **options)  # what it loads and compiles
    tracemalloc.start()
    try:
        run = gfopt.minimize(problem, kind, budget={"steps": 200}, seed=0, progress=look, **options)
    finally:
        tracemalloc.stop()
    assert run.ledger.steps == 200
    quarter = next(i for i, share in enumerate(shares) if share >= 0.25)
    assert shares[-1] == 1.0
    assert traced[-1] - traced[quarter] < MIB / 4  # the curve's own rows
    assert held[-1] - held[quarter] < 8 * MIB


LARGE = """
import json, resource, sys
import numpy as np, torch
import gfopt

torch.set_num_threads(2)
rng = np.random.default_rng(0)
data = gfopt.data.from_arrays(rng.normal(size=(64, 784)).astype(np.float32), np.arange(64) % 10, test_fraction=0.0)
problem = gfopt.SupervisedProblem({"kind": "mlp", "hidden": [720, 600]}, data, device="cpu")
population = torch.empty(1024, problem.dim).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
population *= problem.scale
losses = problem.evaluate(population).loss
assert torch.isfinite(losses).all()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"dim": problem.dim, "members": len(losses), "peak": peak}))
"""


@pytest.mark.slow
def test_1024_networks_of_a_million_weights_stay_within_six_gibibytes():
    if Path("/proc/meminfo").exists() and available() < 6 * 2**30:
        pytest.skip(f"needs 6 GiB of free memory; {available() / 2**30:.1f} GiB are free")
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["members"] == 1024
    assert found["dim"] > 1_000_000
    assert found["peak"] < 6 * 2**30
