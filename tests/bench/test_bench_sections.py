"""Every section, as small as it can be: what is in it, and that it leaves the process as it was."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from gfopt.bench import BenchResults, explain, memory, run_bench, target
from gfopt.bench.floor import Hardware
from gfopt.bench.layers import RECURRENT
from gfopt.bench.options import GPUCase
from gfopt.bench.overhead import COUNTERPARTS, DRAW, KINDS, counterpart
from gfopt.bench.results import Peak


@pytest.fixture(autouse=True)
def given_floor(monkeypatch):
    """The floor is not measured anew for every test."""
    monkeypatch.setattr("gfopt.bench.run.measure_hardware", lambda device: Hardware(1e11, 1e-9, 1e-9))


def test_evaluation_norms_recurrent(tiny):
    results = run_bench(replace(tiny, sections=("evaluation", "norms", "recurrent")))
    (cell,) = results.cells["evaluation"]
    assert cell.labels == {"network": "64-4-10", "batch": 16, "members": 3}
    names = ["gfopt", "module loop", "vmap", "vmap, chunks of 16", "DEAP lists", "pyswarms tutorial", "numpy float32"]
    assert [each.name for each in cell.contenders] == names
    assert [each.name for each in cell.contenders if each.ours] == ["gfopt"]
    assert cell.floor == pytest.approx(2 * 16 * (64 * 4 + 40) / 1e11 + 16 * 14e-9)
    assert all(0 < each.best <= each.median for each in cell.contenders)
    (norms,) = results.cells["norms"]
    assert [each.name for each in norms.contenders] == ["none", "batch"]
    assert len(results.cells["recurrent"]) == len(RECURRENT)
    for cell in results.cells["recurrent"]:
        assert [each.name for each in cell.contenders] == ["gfopt", "module loop"]
    assert BenchResults.from_dict(json.loads(json.dumps(results.as_dict()))) == results
    assert results.settings["threads"] == 1
    assert {"gfopt", "torch", "numba", "python"} <= set(results.versions)
    assert "command" not in results.machine


def test_every_gradient_free_optimizer_has_a_cost(tiny):
    (cell,) = run_bench(replace(tiny, sections=("optimizers",))).cells["optimizers"]
    ours = {each.name: each for each in cell.contenders if each.ours}
    assert {*KINDS, "deap-ga, as eaSimple"} == set(ours)
    for each in ours.values():
        assert cell.named(each.against) is not None
    others = {each.name for each in cell.contenders} - set(ours)
    assert {DRAW, *COUNTERPARTS.values()} <= others
    assert (counterpart("deap-ga"), counterpart("snes")) == ("DEAP eaSimple, arrays", DRAW)


def numpys() -> str:
    """The state of numpy's global generator."""
    return str(np.random.get_state())  # noqa: NPY002 - the one that must not move


def test_nothing_of_the_process_is_changed(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(target, "NETWORK", "64-2-10")
    handlers, level = list(logging.root.handlers), logging.root.level
    before = random.getstate(), numpys(), torch.get_rng_state().tolist(), torch.get_num_threads()
    run_bench(replace(tiny, sections=("optimizers", "target")))
    after = random.getstate(), numpys(), torch.get_rng_state().tolist(), torch.get_num_threads()
    assert before == after
    assert (list(logging.root.handlers), logging.root.level) == (handlers, level)
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_population():
    problem_size = 64 * 4 + 4 + 40 + 10
    peak = memory.measured_here("64-4-10", 5, 16)
    assert peak.genomes == 4 * 5 * problem_size
    assert peak.resident > 50e6  # torch alone
    assert peak.seconds > 0


def test_memory_is_left_out_where_there_is_too_little(tiny, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * 2**30)
    results = run_bench(replace(tiny, sections=("memory",)))
    assert results.peaks == ()
    assert results.skipped == {"memory": "it needs 8 GiB of memory, and 2.0 GiB are free"}


def test_memory_is_measured_where_there_is_enough(tiny, monkeypatch):
    peak = Peak("64-4-10", 2, 16, 10, 20, 0.5)
    monkeypatch.setattr(memory, "available_memory", lambda: 2**40)
    monkeypatch.setattr("gfopt.bench.run.memory_peak", lambda options: peak)
    results = run_bench(replace(tiny, sections=("memory",)))
    assert (results.peaks, results.skipped) == ((peak,), {})


@pytest.mark.slow
def test_memory_of_a_process_of_its_own(tiny):
    waste = np.ones(2**27)  # 1 GiB that the child does not have
    peak = memory.memory_peak(tiny, network="64-4-10", members=5, batch=16)
    assert len(waste) == 2**27
    assert 100e6 < peak.resident < 1e9
    assert peak.members == 5


@pytest.mark.slow
def test_a_process_that_fails_says_why(tiny):
    with pytest.raises(memory.GfoptError, match=r"ended early: .*64-10"):
        memory.memory_peak(tiny, network="64-10")


def test_the_plan_is_explained_for_every_network_and_batch(tiny):
    lines = explain(replace(tiny, networks=("64-4-10", "64-3-10"), batches=(8, 16))).splitlines()
    assert [line.rstrip(":") for line in lines if line.startswith("64-")] == [
        "64-4-10, batch 8",
        "64-4-10, batch 16",
        "64-3-10, batch 8",
        "64-3-10, batch 16",
    ]
    assert sum("batch 16" in line for line in lines) == 4  # the plan's own words beside the heading


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_evaluation_on_a_gpu(tiny):
    cases = (GPUCase("20-8-4", 16, 32),)
    results = run_bench(replace(tiny, sections=("evaluation",), device="cuda", gpu_cases=cases))
    (cell,) = results.cells["evaluation"]
    assert [each.name for each in cell.contenders if each.ours] == ["gfopt", "gfopt, CPU"]
    assert results.machine["gpu"]
