"""Training on a GPU: every optimizer, and populations that stay where they are evaluated."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import gfopt
from gfopt import optimizers
from gfopt.types import Evaluation

pytestmark = pytest.mark.gpu

NATIVE = ("pso", "ga", "openai-es", "snes")
SPEC = {"kind": "mlp", "hidden": [8], "norm": "batch"}


def problem(device, **options):
    return gfopt.SupervisedProblem(SPEC, "iris", device=str(device), batch_size=32, **options)


@pytest.mark.parametrize("kind", optimizers.names(usable=True))
def test_every_optimizer_trains(kind, device):
    p = problem(device)
    run = gfopt.minimize(p, kind, budget={"steps": 4}, seed=0)
    assert run.status == "ok"
    assert np.isfinite(run.best_loss)
    assert run.best_loss <= run.curve["loss"].iloc[0]
    assert run.ledger.steps == 4
    assert run.ledger.peak_memory > 0


@pytest.mark.parametrize("kind", ["adam", "deap-ga"])
def test_a_gpu_is_told_apart_from_a_cpu_by_rounding_alone(kind, device):
    """The first generations, until rounding has had the time to grow."""
    curves = [gfopt.minimize(problem(where), kind, budget={"steps": 3}, seed=0).curve for where in (device, "cpu")]
    np.testing.assert_allclose(curves[0]["loss"], curves[1]["loss"], rtol=1e-3)


def test_scores_are_computed_on_the_device(device):
    p, q = problem(device), problem("cpu")
    vector = q.initial(1, 0)[0]
    assert p.initial(1, 0).device.type == device.type
    for name, value in q.score(vector).items():
        assert p.score(vector.to(device))[name] == pytest.approx(value, rel=1e-3)


class HostCopies(TorchDispatchMode):
    """Notes copies of at least `least` numbers from a GPU to the CPU."""

    def __init__(self, least):
        super().__init__()
        self.least, self.found = least, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sources = [a for a in args if isinstance(a, torch.Tensor)]
        if isinstance(result, torch.Tensor) and result.device.type == "cpu" and result.numel() >= self.least:
            self.found += [str(function) for source in sources if source.is_cuda]
        return result


@pytest.mark.parametrize("kind", NATIVE)
def test_native_optimizers_copy_nothing_to_the_host(kind, device):
    p = problem(device)
    start = p.initial(64, 0)
    optimizer = optimizers.build(
        kind, {}, start, np.random.default_rng(0), scale=p.scale, bounds=p.bounds, groups=p.groups
    )
    with HostCopies(least=p.dim) as copies:
        for batch in range(3):
            rows = optimizer.ask(batch)
            assert rows.device.type == device.type
            evaluation = p.evaluate(rows, batch) if len(rows) else Evaluation(rows.new_empty(0), None, 32, batch)
            optimizer.tell(rows, evaluation)
    assert copies.found == []


@pytest.mark.parametrize("kind", NATIVE)
def test_a_native_run_goes_on_from_its_state(kind, device):
    p = problem(device)
    start = p.initial(64, 0)

    def fresh():
        return optimizers.build(
            kind, {}, start.clone(), np.random.default_rng(0), scale=p.scale, bounds=p.bounds, groups=p.groups
        )

    def step(optimizer, batch):
        rows = optimizer.ask(batch)
        optimizer.tell(rows, p.evaluate(rows, batch))
        return rows

    one = fresh()
    for batch in range(2):
        step(one, batch)
    other = fresh()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    torch.testing.assert_close(step(one, 2), step(other, 2), rtol=0, atol=0)


def test_less_exact_products_still_train(cuda):
    for precision in ("tf32", "bf16"):
        run = gfopt.minimize(problem(cuda, precision=precision), "adam", budget={"steps": 60}, learning_rate=0.05)
        assert run.best_loss < 0.3
