"""The swarms: bit for bit pyswarms' own `optimize()`, quiet, and honest about stale personal bests."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

import numpy as np
import pytest
import torch

from gfopt.optimizers import _pyswarms, pyswarms_pso
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import Step, drive, make

with _pyswarms.quiet():
    from pyswarms.single import GlobalBestPSO, LocalBestPSO

SWARMS = {"pyswarms-gbest": GlobalBestPSO, "pyswarms-lbest": LocalBestPSO}
STEPS, SIZE, DIM = 12, 9, 4
NORMS = {torch.float32: 1, torch.float64: 2}  # of the distance between particles; both are to be tried


def reference(kind: str, dtype: torch.dtype, clamp: float | None, radius: float | None, boundary: str) -> Any:
    """pyswarms' own optimizer after `STEPS` iterations, with the seed that our swarm draws."""
    start = driving.starts(SIZE, DIM, dtype).numpy()
    options = {"c1": 1.494, "c2": 1.494, "w": 0.729}
    if kind == "pyswarms-lbest":
        options |= {"k": 3, "p": NORMS[dtype]}
    speed, bounds = None, None
    if clamp is not None:
        speed = (np.full(DIM, -clamp * driving.SCALE), np.full(DIM, clamp * driving.SCALE))
    if radius is not None:
        center, reach = start.mean(axis=0), radius * np.full(DIM, driving.SCALE, dtype=start.dtype)
        bounds = (center - reach, center + reach)
        start = np.clip(start, *bounds)
    with _pyswarms.quiet(), GlobalStreams(int(np.random.default_rng(0).integers(2**63))).active():
        swarm = SWARMS[kind](
            SIZE, DIM, options, bounds=bounds, bh_strategy=boundary, velocity_clamp=speed, init_pos=start
        )
        swarm.optimize(
            lambda x: driving.rugged(torch.from_numpy(x).to(dtype)).numpy().astype(np.float64),
            STEPS,
            verbose=False,
        )
    return swarm


@pytest.fixture(params=["by pyswarms", "compiled"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves every swarm in one of the two ways."""
    monkeypatch.setattr(pyswarms_pso, "LARGE", 1 if request.param == "compiled" else 2**62)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("kind", SWARMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("clamp", "radius", "boundary"), [
    (None, None, "nearest"), (1.0, None, "nearest"), (None, 0.5, "nearest"),
    (0.8, 0.7, "nearest"), (0.8, 0.7, "periodic"), (None, 0.7, "reflective"),
])  # fmt: skip
def test_positions_are_those_of_pyswarms_bit_for_bit(
    kind: str, dtype: torch.dtype, clamp: float | None, radius: float | None, boundary: str
) -> None:
    options: dict[str, Any] = {"velocity_clamp": clamp, "bounds_radius": radius, "boundary": boundary}
    if kind == "pyswarms-lbest":
        options |= {"neighbors": 3, "norm": NORMS[dtype]}
    own = make(kind, size=SIZE, dim=DIM, dtype=dtype, **options)
    trace = drive(own, driving.rugged, [0] * STEPS)
    their = reference(kind, dtype, clamp, radius, boundary)
    assert len(their.pos_history) == STEPS
    for (rows, _), position in zip(trace, their.pos_history, strict=True):
        np.testing.assert_array_equal(rows.numpy(), position)
    state = own.state_dict()
    np.testing.assert_array_equal(state["velocity"], their.swarm.velocity)
    np.testing.assert_array_equal(state["pbest_cost"], their.swarm.pbest_cost)
    assert state["best_cost"] == their.swarm.best_cost


@pytest.mark.parametrize("kind", SWARMS)
@pytest.mark.parametrize("clamp", [None, 1.0])
def test_both_ways_to_move_go_on_alike_on_new_batches_and_after_resuming(
    kind: str, clamp: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, runs = (0, 0, 1, 1, 2, 0), []
    for large in (1, 2**62):
        monkeypatch.setattr(pyswarms_pso, "LARGE", large)
        # Rows of more genes than a state of the random numbers gives, and no multiple of it.
        optimizer = make(kind, size=5, dim=701, velocity_clamp=clamp)
        trace = drive(optimizer, driving.rugged, batches[:3])
        again = make(kind, size=5, dim=701, velocity_clamp=clamp, seed=9)
        again.load_state_dict(optimizer.state_dict())
        runs.append(trace + drive(again, driving.rugged, batches[3:]))
        state = again.state_dict()
        runs.append(
            [Step(torch.from_numpy(state[name]), torch.empty(0)) for name in ("velocity", "pbest_pos", "leaders")]
        )
        streams = GlobalStreams(0)
        streams.load_state_dict(state["streams"])
        with streams.active():
            runs.append([Step(torch.from_numpy(np.random.random_sample(700)), torch.empty(0))])  # noqa: NPY002
    for one, other in zip(runs[:3], runs[3:], strict=True):
        assert driving.same(one, other)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("kind", SWARMS)
def test_a_new_batch_asks_the_personal_bests_again(kind: str) -> None:
    optimizer = make(kind)
    trace = drive(optimizer, driving.rugged, (0, 0, 0))
    rows, losses = torch.stack([rows for rows, _ in trace]), torch.stack([loss for _, loss in trace])
    best = rows[losses.argmin(dim=0), torch.arange(6)]
    assert len(optimizer.ask(0)) == 6
    asked, loss = drive(optimizer, driving.rugged, (1,))[0]
    assert torch.equal(asked[6:], best)
    state = optimizer.state_dict()
    np.testing.assert_array_equal(state["pbest_cost"], torch.minimum(loss[:6], loss[6:]).numpy())
    assert state["best_cost"] == loss.min()


def test_memory_of_another_batch_does_not_outlive_it() -> None:
    # On batch 0 everything is better than anything on batch 1: kept costs would never be beaten again.
    optimizer = make("pyswarms-gbest")
    drive(optimizer, lambda rows, batch: driving.sphere(rows) - 100 * (batch == 0), (0, 0, 1))
    assert optimizer.state_dict()["best_cost"] > 0


def test_first_velocities_are_symmetric_and_relative_to_the_scale() -> None:
    velocity = make("pyswarms-gbest", size=500, dim=8, velocity_clamp=0.5).state_dict()["velocity"]
    limit = 0.5 * driving.SCALE
    assert abs(velocity).max() <= limit
    assert abs(velocity.mean()) < 0.05 * limit
    np.testing.assert_allclose(velocity.std(), limit / 3**0.5, rtol=0.05)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(("dtype", "steps"), [(torch.float32, 120), (torch.float64, 400)])
def test_a_swarm_that_explodes_stays_finite(dtype: torch.dtype, steps: int) -> None:
    wild: dict[str, Any] = {"velocity_clamp": None, "inertia": 0.99, "cognitive": 50.0, "social": 50.0}
    trace = drive(make("pyswarms-lbest", dtype=dtype, **wild), driving.rugged, [0] * steps)
    assert max(float(rows.abs().max()) for rows, _ in trace) > 1e30
    assert all(torch.isfinite(rows).all() for rows, _ in trace)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("neighbors", [1, 2, 6])
@pytest.mark.parametrize("norm", [1, 2])
def test_any_neighbourhood_works(neighbors: int, norm: int) -> None:
    trace = drive(make("pyswarms-lbest", neighbors=neighbors, norm=norm), driving.sphere, [0] * 40)
    assert trace[-1][1].min() < trace[0][1].min()


@pytest.mark.usefixtures("large")
def test_a_radius_and_bounds_give_the_tighter_box() -> None:
    bounds = (torch.tensor([-9.0, 0.0]), torch.tensor([9.0, 0.1]))
    optimizer = make("pyswarms-gbest", dim=2, bounds=bounds, bounds_radius=1.0, velocity_clamp=None)
    rows = torch.cat([rows for rows, _ in drive(optimizer, driving.rugged, [0] * 30)])
    center = driving.starts(6, 2).mean(dim=0)[0]
    assert rows[:, 0].min() >= center - driving.SCALE
    assert rows[:, 0].max() <= center + driving.SCALE
    assert rows[:, 1].min() >= 0
    assert rows[:, 1].max() <= 0.1


def test_a_swarm_that_starts_outside_the_bounds_is_brought_in() -> None:
    bounds = (torch.full((2,), -0.2), torch.full((2,), 0.1))
    optimizer = make("pyswarms-gbest", start=driving.starts(6, 2) + 9, dim=2, bounds=bounds, bounds_radius=0.1)
    for rows, _ in drive(optimizer, driving.rugged, [0] * 5):
        assert ((rows >= bounds[0]) & (rows <= bounds[1])).all()


@pytest.mark.parametrize("value", [None, "/the/users/own.yaml"])
def test_being_quiet_leaves_the_environment_as_it_was(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOG_CFG", raising=False)
    if value is not None:
        monkeypatch.setenv("LOG_CFG", value)
    before = dict(os.environ)
    with _pyswarms.quiet():
        assert os.environ["LOG_CFG"].endswith("pyswarms_logging.yaml")
    with contextlib.suppress(ZeroDivisionError), _pyswarms.quiet():
        1 / 0  # noqa: B018 # an error inside puts it back too
    assert dict(os.environ) == before


def test_the_packaged_configuration_changes_no_logger(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        before = list(logging.root.handlers), logging.root.level
        with _pyswarms.quiet():
            _pyswarms.topology.Star()
        assert (list(logging.root.handlers), logging.root.level) == before
    finally:
        logging.root.removeHandler(handler)
    assert not list(tmp_path.iterdir())
