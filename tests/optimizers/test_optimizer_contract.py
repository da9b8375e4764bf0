"""What every optimizer of the registry has to keep, whoever wrote it."""

from __future__ import annotations

import copy
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optimizer_driving as driving
import pytest
import torch
from optimizer_driving import drive, evaluate, make, same

from gfopt import optimizers
from gfopt.errors import ShapeError

# Evaluations that each may spend on the sphere in 10 dimensions, and the mean squared distance to reach.
CONVERGENCE = {
    "sgd": (300, 1e-6, {}),
    "rmsprop": (1000, 1e-4, {}),
    "adam": (1000, 1e-6, {}),
    "adamw": (1000, 1e-5, {}),
    "deap-ga": (6400, 5e-3, {"size": 64}),
    "pyswarms-gbest": (6400, 1e-6, {"size": 32}),
    "pyswarms-lbest": (6400, 1e-3, {"size": 32}),
    "pso": (6400, 1e-6, {"size": 32}),
    "ga": (6400, 5e-3, {"size": 64}),
    "openai-es": (6400, 1e-3, {"size": 32}),
    "snes": (6400, 1e-6, {"size": 32}),
    "random-search": (6400, 0.1, {"size": 64}),  # it learns nothing: the nearest of 6400 guesses
}
BATCHES = (0, 0, 1, 1, 2, 3)


class TestContract:
    @pytest.mark.parametrize(("size", "dim"), [(6, 6), (2, 6), (6, 1), (2, 1)])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_rows_have_the_shape_dtype_and_device_of_the_start(
        self, kind: str, size: int, dim: int, dtype: torch.dtype
    ) -> None:
        optimizer = make(kind, dim=dim, size=size, dtype=dtype, **_few(kind, size))
        for rows, _ in drive(optimizer, driving.rugged, BATCHES):
            assert rows.shape[1:] == (dim,)
            assert 0 <= len(rows) <= 2 * size
            assert rows.dtype is dtype
            assert rows.device.type == "cpu"
            assert not rows.requires_grad

    def test_the_first_rows_are_the_start(self, kind: str) -> None:
        optimizer = make(kind)
        assert torch.equal(optimizer.ask(0), driving.starts(6, 6))

    def test_same_seed_same_trace(self, kind: str) -> None:
        assert same(drive(make(kind), driving.rugged, BATCHES), drive(make(kind), driving.rugged, BATCHES))

    def test_another_seed_gives_another_trace_unless_it_draws_nothing(self, kind: str) -> None:
        one, other = (drive(make(kind, seed=seed), driving.rugged, BATCHES) for seed in (0, 1))
        assert same(one, other) == optimizers.optimizer_class(kind).needs_gradient

    def test_interleaved_runs_do_not_disturb_each_other(self, kind: str) -> None:
        alone = drive(make(kind), driving.rugged, BATCHES)
        one, other = make(kind), make(kind, seed=1)
        together = []
        for batch in BATCHES:
            together += drive(one, driving.rugged, (batch,))
            drive(other, driving.rugged, (batch,))
        assert same(alone, together)

    def test_what_it_is_given_and_hands_out_is_not_shared(self, kind: str) -> None:
        start = driving.starts(6, 6)
        optimizer, trace = make(kind, start=start), []
        for batch in BATCHES:
            rows = optimizer.ask(batch)
            trace.append((rows.clone(), rows))
            evaluation = evaluate(driving.rugged, rows, batch, optimizer.wants_gradient)
            optimizer.tell(rows, evaluation)
            for tensor in (rows, evaluation.loss, evaluation.gradient):
                if tensor is not None:
                    tensor.fill_(123.0)
        assert torch.equal(start, driving.starts(6, 6))
        start.fill_(123.0)
        assert same(trace, drive(make(kind), driving.rugged, BATCHES))

    def test_rows_beyond_the_population_are_not_used(self, kind: str) -> None:
        more = make(kind, start=driving.starts(9, 6))
        assert same(drive(more, driving.rugged, BATCHES), drive(make(kind), driving.rugged, BATCHES))

    @pytest.mark.parametrize("batch", [0, 1])
    def test_asking_twice_gives_the_same_rows_even_if_the_first_were_overwritten(self, kind: str, batch: int) -> None:
        optimizer = make(kind)
        drive(optimizer, driving.rugged, (0, 0))
        first = optimizer.ask(batch)
        kept = first.clone()
        first.fill_(123.0)
        assert torch.equal(optimizer.ask(batch), kept)

    def test_no_row_is_asked_twice_on_the_same_batch(self, kind: str) -> None:
        rows = torch.cat([rows for rows, _ in drive(make(kind), driving.rugged, [0] * 8)])
        assert len(torch.unique(rows, dim=0)) == len(rows)

    @pytest.mark.parametrize("cut", range(len(BATCHES)))
    def test_resuming_equals_going_on(self, kind: str, cut: int) -> None:
        whole = drive(make(kind), driving.rugged, BATCHES)
        first = make(kind)
        before = drive(first, driving.rugged, BATCHES[:cut])
        state = first.state_dict()
        drive(first, driving.rugged, BATCHES[cut:])  # the state is a copy: going on does not change it
        state = _through_a_file(state)
        second = make(kind, seed=99, start=torch.zeros(6, 6))
        second.load_state_dict(state)
        assert same(whole, before + drive(second, driving.rugged, BATCHES[cut:]))

    def test_a_state_can_be_loaded_twice(self, kind: str) -> None:
        first = make(kind)
        drive(first, driving.rugged, BATCHES)
        state = first.state_dict()
        runs = []
        for _ in range(2):
            again = make(kind)
            again.load_state_dict(state)
            runs.append(drive(again, driving.rugged, BATCHES))
        assert same(*runs)

    def test_a_failed_row_is_worse_than_any_finite_loss(self, kind: str) -> None:
        infinite = drive(make(kind), driving.broken, BATCHES)
        assert any(torch.isinf(loss).any() and torch.isfinite(loss).any() for _, loss in infinite)
        assert same(infinite, drive(make(kind), driving.broken, BATCHES, worst=1e30))

    def test_generations_that_fail_completely_do_not_crash(self, kind: str) -> None:
        trace = drive(make(kind), driving.hopeless, (0, 0, 0, 1, 1, 2))
        assert all(torch.isfinite(rows).all() for rows, _ in trace)
        assert torch.isfinite(trace[-1][1]).all()

    def test_equal_losses_do_not_crash(self, kind: str) -> None:
        trace = drive(make(kind), lambda rows, batch: 0 * rows.sum(dim=1), BATCHES)
        assert all(torch.isfinite(rows).all() for rows, _ in trace)

    def test_rows_stay_within_bounds(self, kind: str) -> None:
        bounds = (torch.full((6,), -0.2), torch.full((6,), 0.1))
        optimizer = make(kind, bounds=bounds, start=driving.starts(6, 6).clamp(*bounds))
        for rows, _ in drive(optimizer, driving.sphere, [0] * 20):
            assert ((rows >= bounds[0]) & (rows <= bounds[1])).all()

    def test_wrong_shapes_are_refused(self, kind: str) -> None:
        with pytest.raises(ShapeError, match="at least 6 rows, one a member, got 5"):
            make(kind, start=driving.starts(5, 6))
        with pytest.raises(ShapeError, match=r"expected shape \(P, D\)"):
            make(kind, start=torch.zeros(6))
        with pytest.raises(ShapeError, match=r"scale: expected shape \(7,\), got \(6,\)"):
            make(kind, start=driving.starts(6, 7))

    def test_convergence_on_the_sphere(self, kind: str) -> None:
        evaluations, tolerance, options = CONVERGENCE[kind]
        optimizer = make(kind, dim=10, **{"size": 1, **options})
        best, spent = np.inf, 0
        while spent < evaluations:
            ((rows, loss),) = drive(optimizer, driving.sphere, (0,))
            best, spent = min(best, float(loss.min())), spent + len(rows)
        assert best < tolerance


def test_the_table_of_convergence_names_every_optimizer() -> None:
    assert set(CONVERGENCE) == set(optimizers.names())


_OTHER_PROCESS = """
import json, logging, os, random, sys
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
numpy_state = lambda: [v.tolist() if hasattr(v, "tolist") else v for v in np.random.get_state()]
watch = lambda: [random.getstate(), numpy_state(), torch.get_rng_state().tolist(), torch.get_num_threads(),
                 [repr(h) for h in logging.root.handlers], logging.root.level, dict(os.environ), os.listdir()]
before = watch()
import optimizer_driving as driving
from gfopt import optimizers
digests = {kind: driving.fingerprint(kind) for kind in optimizers.names()}
after = watch()
names = "random numpy torch threads handlers level environ files".split()
print(json.dumps([digests, [name for name, a, b in zip(names, before, after) if a != b]]))
"""


@pytest.fixture(scope="module")
def other_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[str], str]:
    """Digests of all optimizers in a fresh interpreter, what they changed there, and their stderr."""
    # A variable that torch sets when it is first needed: it would be there already.
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    command = [sys.executable, "-W", "error", "-c", _OTHER_PROCESS, str(Path(__file__).parent)]
    done = subprocess.run(
        command,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONHASHSEED": "12345"},
    )
    assert done.returncode == 0, done.stderr
    digests, changed = json.loads(done.stdout)
    return digests, changed, done.stderr


def test_the_trace_is_the_same_in_another_process(kind: str, other_process: Any) -> None:
    assert other_process[0][kind] == driving.fingerprint(kind)


def test_importing_and_running_all_leaves_the_process_as_it_was(other_process: Any) -> None:
    assert other_process[1:] == ([], "")


def test_running_leaves_the_process_as_it_was(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_CFG", "the user's own")
    before = _globals()
    drive(make(kind), driving.rugged, BATCHES)
    assert _globals() == before
    assert not list(tmp_path.iterdir())


def _globals() -> list[Any]:
    numpy_state = copy.deepcopy(np.random.get_state(legacy=False))  # noqa: NPY002
    return [
        random.getstate(),
        json.dumps(numpy_state, default=lambda v: v.tolist()),
        torch.get_rng_state().tolist(),
        list(logging.root.handlers),
        logging.root.level,
        dict(os.environ),
    ]


def _few(kind: str, size: int) -> dict[str, int]:
    """Options that fit a tiny population."""
    return {"elites": 1} if kind in ("deap-ga", "ga") and size < 3 else {}


def _through_a_file(state: Any) -> Any:
    """A copy that only keeps what a file can: plain values under text keys, and arrays."""
    if isinstance(state, dict):
        assert all(type(key) is str for key in state)
        return {key: _through_a_file(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_through_a_file(value) for value in state]
    if isinstance(state, np.ndarray):
        return np.frombuffer(state.tobytes(), dtype=state.dtype).reshape(state.shape)  # read-only, as from a file
    assert state is None or type(state) in (str, int, float, bool), type(state)
    return json.loads(json.dumps(state))
