"""Schedules of the coefficients and what happens at the border: pyswarms' own where it works, repaired elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gfopt.errors import ConfigError
from gfopt.optimizers import _pyswarms, _pyswarms_schedules, _pyswarms_walls, pyswarms_pso
from gfopt.optimizers._pyswarms_options import SwarmOptions
from gfopt.optimizers._pyswarms_schedules import Schedules
from gfopt.optimizers._pyswarms_walls import Walls
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, evaluate, make

with _pyswarms.quiet():
    from pyswarms.single import GlobalBestPSO

STEPS, SIZE, DIM = 12, 9, 4
LOW, HIGH = np.array([-1.0, -2.0, 0.0]), np.array([1.0, 2.0, 0.5])


@pytest.fixture(params=["by pyswarms", "compiled"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves every swarm in one of the two ways."""
    monkeypatch.setattr(pyswarms_pso, "LARGE", 1 if request.param == "compiled" else 2**62)


def scheduled(strategy: dict[str, str], dtype: torch.dtype, inertia: float) -> Any:
    """pyswarms' own optimizer after `STEPS` iterations, with the seed that our swarm draws."""
    start = driving.starts(SIZE, DIM, dtype).numpy()
    with _pyswarms.quiet(), GlobalStreams(int(np.random.default_rng(0).integers(2**63))).active():
        swarm = GlobalBestPSO(SIZE, DIM, {"c1": 1.494, "c2": 1.494, "w": inertia}, oh_strategy=strategy, init_pos=start)
        swarm.optimize(lambda x: driving.rugged(torch.from_numpy(x)).numpy().astype(np.float64), STEPS, verbose=False)
    return swarm


def drive_to_the_end(optimizer: Any, steps: int = STEPS) -> list[torch.Tensor]:
    """Rows of each step, the share of the budget told as a loop does."""
    trace = []
    for step in range(steps):
        optimizer.spent = step / steps
        rows = optimizer.ask(0)
        optimizer.tell(rows, evaluate(driving.rugged, rows, 0, gradient=False))
        trace.append(rows)
    return trace


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedules", [
    ("exp_decay", "exp_decay", "constant"), ("lin_variation", "lin_variation", "lin_variation"),
    ("nonlin_mod", "nonlin_mod", "nonlin_mod"), ("constant", "nonlin_mod", "lin_variation"),
])  # fmt: skip
def test_a_scheduled_swarm_is_that_of_pyswarms_bit_for_bit(
    schedules: tuple[str, str, str], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pyswarms_schedules, "ITERATIONS", STEPS)
    names = ("inertia_schedule", "cognitive_schedule", "social_schedule")
    chosen: dict[str, Any] = dict(zip(names, schedules, strict=True))
    own = make(
        "pyswarms-gbest", size=SIZE, dim=DIM, dtype=dtype, velocity_clamp=None, inertia=0.9,
        **chosen,
    )  # fmt: skip
    strategy = {name: how for name, how in zip(("w", "c1", "c2"), schedules, strict=True) if how != "constant"}
    their = scheduled(strategy, dtype, 0.9)
    for rows, position in zip(drive_to_the_end(own), their.pos_history, strict=True):
        np.testing.assert_array_equal(rows.numpy(), position)


@pytest.mark.parametrize("spent", [0.0, 0.3, 1.0])
def test_schedules_are_their_formulas(spent: float) -> None:
    chosen: dict[str, Any] = {
        "inertia": 0.9, "inertia_schedule": "exp_decay", "inertia_end": 0.3,
        "cognitive": 2.5, "cognitive_schedule": "lin_variation", "cognitive_end": 0.5,
        "social": 0.5, "social_schedule": "nonlin_mod", "social_end": 2.5,
    }  # fmt: skip
    with _pyswarms.quiet():
        now = Schedules(SwarmOptions(**chosen)).at(spent)
    assert now["w"] == pytest.approx((0.9 - 0.3 - 0.2) * math.exp(1 / (1 + 7 * spent)))
    assert now["c1"] == pytest.approx(2.5 - 2 * spent)
    assert now["c2"] == pytest.approx(2.5 - 2 * (1 - spent) ** 1.2)


@pytest.mark.parametrize("how", ["exp_decay", "lin_variation", "nonlin_mod"])
def test_ends_that_are_not_named_are_pyswarms(how: str) -> None:
    chosen: dict[str, Any] = {"inertia_schedule": how, "cognitive_schedule": how}
    options = SwarmOptions(inertia=0.9, **chosen)
    with _pyswarms.quiet():
        now = Schedules(options).at(0.25)
        their = _pyswarms.handlers.OptionsHandler({"w": how, "c1": how})
    start = {"w": 0.9, "c1": 1.494, "c2": 1.494}
    assert now == pytest.approx(their(start, iternow=25, itermax=100))


@pytest.mark.parametrize(("options", "message"), [
    ({"inertia_schedule": "random"}, "inertia_schedule: expected .*'exp_decay'.*, got 'random'"),
    ({"social_schedule": "exp_decay"}, r"social: expected at least its end \+ 0.2, 1.694, got 1.494. Lower"),
    ({"inertia_schedule": "exp_decay", "inertia": 0.5}, r"inertia: expected at least its end \+ 0.2, 0.6, got 0.5"),
    ({"boundary": "shrink"}, "boundary: expected .*'nearest'.*, got 'shrink'"),
    ({"velocity_boundary": "adjust"}, "velocity_boundary: expected .*'unmodified'.*, got 'adjust'"),
])  # fmt: skip
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("pyswarms-gbest", **options)


@pytest.mark.parametrize("boundary", ["nearest", "reflective", "periodic", "intermediate", "random"])
@pytest.mark.parametrize("velocity", ["unmodified", "invert", "zero"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ways_to_move_agree_at_the_border(
    boundary: str, velocity: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "boundary": boundary, "velocity_boundary": velocity, "bounds_radius": 0.5,
        "inertia_schedule": "lin_variation", "cognitive_schedule": "nonlin_mod",
    }  # fmt: skip
    runs = []
    for large, genes in ((1, 1000), (2**62, 2**16)):  # and the blocks at the border do not matter
        monkeypatch.setattr(pyswarms_pso, "LARGE", large)
        monkeypatch.setattr(_pyswarms_walls, "GENES", genes)
        optimizer = make("pyswarms-gbest", size=5, dim=401, dtype=dtype, **options)
        runs.append(drive_to_the_end(optimizer, 6))
        state = optimizer.state_dict()
        runs[-1] += [torch.from_numpy(state["velocity"])]
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)
    center = driving.starts(5, 401, dtype).mean(dim=0)
    assert max(float((rows - center).abs().max()) for rows in runs[0][:-1]) <= 0.25 * (1 + 1e-6)


@pytest.mark.usefixtures("large")
def test_intermediate_is_that_of_pyswarms() -> None:
    own = make("pyswarms-gbest", size=SIZE, dim=DIM, bounds_radius=0.5, boundary="intermediate", velocity_clamp=None)
    trace = drive(own, driving.rugged, [0] * STEPS)
    start = driving.starts(SIZE, DIM).numpy()
    center, reach = start.mean(axis=0), 0.5 * np.full(DIM, driving.SCALE, dtype=np.float32)
    bounds = (center - reach, center + reach)
    with _pyswarms.quiet(), GlobalStreams(int(np.random.default_rng(0).integers(2**63))).active():
        their = GlobalBestPSO(
            SIZE, DIM, {"c1": 1.494, "c2": 1.494, "w": 0.729}, bounds, bh_strategy="intermediate",
            init_pos=np.clip(start, *bounds),
        )  # fmt: skip
        their.optimize(lambda x: driving.rugged(torch.from_numpy(x)).numpy().astype(np.float64), STEPS, verbose=False)
    for (rows, _), position in zip(trace, their.pos_history, strict=True):
        np.testing.assert_array_equal(rows.numpy(), position)


def bring_back(boundary: str, velocity: str, rows: Any, before: Any = None) -> tuple[NDArray[Any], NDArray[Any]]:
    with _pyswarms.quiet():
        walls = Walls(LOW, HIGH, boundary, velocity)
    position, speed = np.array(rows, dtype=float), np.ones((len(rows), 3))
    with GlobalStreams(0).active():
        walls.bring_back(position, speed, before)
    return position, speed


@pytest.mark.parametrize(("boundary", "expected"), [
    ("nearest", [1.0, 0.3, 0.0]), ("reflective", [0.5, 0.3, 0.2]), ("periodic", [-0.5, 0.3, 0.3]),
    ("intermediate", [0.9, 0.3, 0.05]),
])  # fmt: skip
def test_positions_are_repaired_gene_by_gene(boundary: str, expected: list[float]) -> None:
    position, _ = bring_back(boundary, "unmodified", [[1.5, 0.3, -0.2]], before=np.array([[0.8, 0.0, 0.1]]))
    np.testing.assert_allclose(position, [expected])


def test_a_random_place_is_each_genes_own_and_uniform() -> None:
    position, _ = bring_back("random", "unmodified", [[1.5, 0.3, -0.2]] * 4000)
    assert (position[:, 1] == 0.3).all()
    for gene in (0, 2):
        share = (position[:, gene] - LOW[gene]) / (HIGH[gene] - LOW[gene])
        assert len(np.unique(share)) == 4000
        assert 0 <= share.min() < share.max() <= 1
        np.testing.assert_allclose(np.quantile(share, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04)
    assert abs(np.corrcoef(position[:, 0], position[:, 2])[0, 1]) < 0.06


@pytest.mark.parametrize(("velocity", "factor"), [("unmodified", 1.0), ("invert", -0.5), ("zero", 0.0)])
def test_velocities_change_where_a_gene_leaves(velocity: str, factor: float) -> None:
    _, speed = bring_back("nearest", velocity, [[1.5, 0.3, -0.2], [0.0, 0.0, 0.1]])
    np.testing.assert_array_equal(speed, [[factor, 1.0, factor], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize("strategy", ["invert", "zero"])
def test_pyswarms_own_velocity_handlers_never_act(strategy: str) -> None:
    runs = []
    for chosen in ("unmodified", strategy):
        bounds = (np.full(DIM, -0.3), np.full(DIM, 0.3))
        with _pyswarms.quiet(), GlobalStreams(0).active():
            swarm = GlobalBestPSO(
                SIZE, DIM, {"c1": 1.494, "c2": 1.494, "w": 0.729}, bounds, bh_strategy="nearest", vh_strategy=chosen,
            )  # fmt: skip
            swarm.optimize(lambda x: np.square(x - 1).sum(axis=1), STEPS, verbose=False)
        assert (np.array(swarm.pos_history) == 0.3).any()
        runs.append(np.array(swarm.pos_history))
    np.testing.assert_array_equal(runs[0], runs[1])


@pytest.mark.parametrize("boundary", ["nearest", "reflective", "periodic", "intermediate", "random"])
def test_a_gene_without_room_stays_where_it_may_be(boundary: str) -> None:
    bounds = (torch.tensor([-0.2, 0.1]), torch.tensor([0.2, 0.1]))
    optimizer = make("pyswarms-gbest", dim=2, bounds=bounds, boundary=boundary)
    for rows, _ in drive(optimizer, driving.rugged, [0] * 10):
        assert ((rows >= bounds[0]) & (rows <= bounds[1])).all()
        assert (rows[:, 1] == bounds[0][1]).all()
