"""Results with given figures, and options that take no time."""

from __future__ import annotations

import pytest

from gfopt.bench import BenchOptions, BenchResults
from gfopt.bench.results import Cell, Contender, Peak, Race, Reach, Reached


@pytest.fixture
def tiny() -> BenchOptions:
    """Everything as small as it can be."""
    return BenchOptions(
        networks=("64-4-10",),
        members=(3,),
        batches=(16,),
        norms=("none", "batch"),
        norm_network="64-4-10",
        norm_members=3,
        overhead_networks=("64-4-10",),
        overhead_members=8,
        repeats=1,
        threads=1,
        patience=0.01,
        loop_members=2,
        limit=0.01,
    )


@pytest.fixture
def given() -> BenchResults:
    """Figures that are easy to compute with."""
    evaluation = Cell(
        {"network": "64-32-10", "batch": 256, "members": 64},
        (
            Contender("gfopt", 0.001, 0.0005, 7, ours=True),
            Contender("module loop", 0.004, 0.003, 7, note="timed on 16 members"),
            Contender("vmap", 0.005, 0.004, 7),
        ),
        floor=0.0008,
        products=0.0004,
    )
    alone = Cell({"network": "64-32-10", "batch": 1437, "members": 64}, (Contender("gfopt", 0.01, 0.01, 2, ours=True),))
    norms = Cell(
        {"network": "64-4-10", "batch": 256, "members": 8},
        (
            Contender("none", 0.002, 0.002, 3, ours=True, against="none"),
            Contender("batch", 0.003, 0.003, 3, ours=True, against="none"),
        ),
    )
    own = Cell(
        {"network": "64-4-10", "weights": 26122, "members": 256},
        (Contender("draw", 0.04, 0.04, 3), Contender("snes", 0.05, 0.05, 3, ours=True, against="draw")),
    )
    races = (
        Race(
            "ours", {"0.9": Reached(2.0, 100), "0.95": Reached(4.0, 200)}, 0.95, 4.0, 200, ours=True, against="theirs"
        ),
        Race("theirs", {"0.9": Reached(10.0, 900)}, 0.93, 60.0, 5000, note="as its tutorial has it"),
    )
    return BenchResults(
        machine={
            "date": "2026-01-02T03:04:05+00:00",
            "platform": "Linux",
            "cpu": {"model": "A processor", "count": 4, "usable": 2},
            "memory": 8 * 2**30,
            "git": None,
        },
        versions={"python": "CPython 3.11.0", "gfopt": "0.1.0", "torch": "2.13.0"},
        settings={"threads": 2, "repeats": 7},
        hardware={"gemm": 150e9, "tanh": 0.2e-9, "exp": 0.5e-9},
        cells={"evaluation": (evaluation, alone), "norms": (norms,), "optimizers": (own,)},
        races=races,
        peaks=(Peak("500-1000-494-10", 1024, 256, 4_097_818_624, 4_800_000_000, 3.25),),
        reaches=(
            Reach("random-search", "sphere", 4.0, 8.0, "it only guesses"),
            Reach("adam", "sphere", 1e-9, 0.01),
            Reach("adam", "iris", 0.9, 0.5),
        ),
        skipped={"memory": "it needs 8 GiB of memory"},
    )
