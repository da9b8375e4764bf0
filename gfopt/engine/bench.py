"""Batched evaluation against a Python loop over modules, timed in one run: only the ratios mean something."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gfopt.engine.batchnorm import prepare
from gfopt.engine.population import PopulationEngine, Strategy
from gfopt.nn import ParameterLayout, build_network

ARCHITECTURES = {"64-32-10": (32,), "64-128-128-10": (128, 128), "64-[64]x10-10": (64,) * 10}
ROWS = (256, 1437)  # a minibatch, and a training set of digits
LOOP_MEMBERS = 64  # the loop's rate does not depend on how many it goes through


@dataclass(frozen=True)
class Rates:
    """Evaluations a second of one network and batch, by each way."""

    network: str
    norm: str
    rows: int
    loop: float
    vmap: float
    native: float

    def as_dict(self) -> dict[str, str | int | float]:
        """For JSON."""
        return asdict(self)


def measure(members: int, threads: int, repeats: int, norms: tuple[str, ...] = ("none", "batch")) -> list[Rates]:
    """Rates of every architecture, norm and batch; torch's thread count is put back.

    Args:
        members: networks in the population.
        threads: torch's threads.
        repeats: timed repeats of each, in turn; the median counts.
        norms: of the hidden layers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return [
            _rates(name, hidden, norm, rows, members, repeats)
            for name, hidden in ARCHITECTURES.items()
            for norm in norms
            for rows in ROWS
        ]
    finally:
        torch.set_num_threads(before)


def _rates(name: str, hidden: tuple[int, ...], norm: str, rows: int, members: int, repeats: int) -> Rates:
    generator = torch.Generator().manual_seed(0)
    spec = {"kind": "mlp", "in_features": 64, "hidden": list(hidden), "out_features": 10, "norm": norm}
    module = prepare(build_network(spec), "batch")
    layout = ParameterLayout.of(module)
    inputs = torch.randn(rows, 64, generator=generator)
    targets = torch.randint(0, 10, (rows,), generator=generator)
    population = 0.2 * torch.randn(members, layout.dim, generator=generator)

    def criterion(outputs: Tensor) -> Tensor:
        logits = torch.log_softmax(outputs, dim=-1)
        return -logits.gather(-1, targets.expand(outputs.shape[:-1])[..., None])[..., 0].mean(dim=-1)

    def batched(strategy: Strategy) -> Callable[[], int]:
        engine = PopulationEngine(module, layout, inputs, strategy=strategy)

        def go() -> int:
            engine.losses(population, inputs, criterion)
            return members

        return go

    def loop() -> int:
        count = min(members, LOOP_MEMBERS)
        with torch.no_grad():
            for vector in population[:count]:
                layout.assign(module, vector)
                F.cross_entropy(module(inputs), targets)
        return count

    ways = {"loop": loop, "vmap": batched("vmap"), "native": batched("native")}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(repeats + 1):  # the first round warms up
        for way, go in ways.items():
            start = time.perf_counter()
            done = go()
            if repeat:
                times[way].append(done / (time.perf_counter() - start))
    rates = {way: statistics.median(found) for way, found in times.items()}
    return Rates(name, norm, rows, **rates)
