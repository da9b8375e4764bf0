from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.draws import Draws, kernels
from gfopt.errors import ConfigError
from gfopt.optimizers._pyswarms import backend, handlers, quiet, topology
from gfopt.optimizers.pso import ParticleSwarm, move
from gfopt.testing.driving import SCALE, drive, make, rugged, sphere, starts
from gfopt.types import Evaluation

WEIGHTS = (0.729, 1.494, 1.2)


def swarm(**options: object) -> ParticleSwarm:
    made = make("pso", **options)
    assert isinstance(made, ParticleSwarm)
    return made


def random_swarm(count: int, dim: int, dtype: torch.dtype) -> list[Tensor]:
    """Position, velocity, personal and neighbourhood best, highest speed."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(count, dim)] * 4 + [(dim,)]
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    tensors[4].abs_()
    return tensors


def test_the_step_is_that_of_pyswarms_for_the_same_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    position, velocity, best, _, fastest = random_swarm(7, 5, torch.float64)
    numbers = torch.rand(7, 2, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    leader = best[2]
    theirs = backend.create_swarm(
        n_particles=7, dimensions=5, init_pos=position.numpy().copy(), options=dict(zip("wcC", WEIGHTS, strict=True))
    )
    theirs.options = {"w": WEIGHTS[0], "c1": WEIGHTS[1], "c2": WEIGHTS[2]}
    theirs.velocity, theirs.pbest_pos, theirs.best_pos = (tensor.numpy().copy() for tensor in (velocity, best, leader))
    fed = iter([numbers[:, 0].numpy(), numbers[:, 1].numpy()])
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: next(fed))
    clamp = (-fastest.numpy(), fastest.numpy())
    with quiet():
        star, handler = topology.Star(), handlers.VelocityHandler(strategy="unmodified")
        border = handlers.BoundaryHandler(strategy="nearest")
    theirs.velocity = star.compute_velocity(theirs, clamp, handler, None)
    theirs.position = star.compute_position(theirs, None, border)

    move(position, velocity, best, leader, fastest, numbers, WEIGHTS)
    assert 0 < (velocity.abs() == fastest).sum() < velocity.numel()  # some genes at their highest speed, some below
    np.testing.assert_allclose(velocity.numpy(), theirs.velocity, rtol=1e-14)
    np.testing.assert_allclose(position.numpy(), theirs.position, rtol=1e-13)


@pytest.mark.parametrize("dim", [1, kernels.PLANE + 3, kernels.WORDS, 2 * kernels.WORDS + 77])
def test_the_compiled_step_is_the_readable_one(dim: int) -> None:
    count = 5
    position, velocity, best, _, fastest = random_swarm(count, dim, torch.float32)
    leaders = torch.tensor([4, 0, 0, 3, 1])
    optimizer = swarm(dim=dim, size=count, inertia=WEIGHTS[0], cognitive=WEIGHTS[1], social=WEIGHTS[2])
    optimizer._position, optimizer._velocity, optimizer._best = position.clone(), velocity.clone(), best
    optimizer._fastest, optimizer._leaders = fastest, lambda: leaders
    draws = Draws(0)
    draws.load_state_dict(optimizer._draws.state_dict())
    optimizer._move()

    draws.reserve(0)  # on to the next whole tile
    tiles = -(-dim // kernels.WORDS)
    numbers = draws.uniform_(torch.empty(count, 2, tiles * kernels.WORDS))[..., :dim]
    move(position, velocity, best, best[leaders], fastest, numbers, WEIGHTS)
    torch.testing.assert_close(optimizer._velocity, velocity, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(optimizer._position, position, rtol=1e-6, atol=1e-6)
    assert draws.state_dict() == optimizer._draws.state_dict()


def test_threads_do_not_change_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    start, traces = torch.randn(5, 100_000, generator=torch.Generator().manual_seed(1)), []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        traces.append(drive(make("pso", start=start, dim=100_000, size=5), sphere, (0, 0))[-1][0])
    assert torch.equal(*traces)


@pytest.mark.parametrize(("topology_option", "neighbors", "leaders"), [
    ("global", 1, [3, 3, 3, 3, 3, 3]),
    ("ring", 1, [5, 1, 3, 3, 3, 5]),
    ("ring", 2, [5, 3, 3, 3, 3, 3]),
    ("ring", 9, [3, 3, 3, 3, 3, 3]),
])  # fmt: skip
def test_leaders_are_the_lowest_of_the_neighbourhood(topology_option: str, neighbors: int, leaders: list[int]) -> None:
    optimizer = swarm(topology=topology_option, neighbors=neighbors)
    optimizer._best_loss = torch.tensor([3.0, 2.0, torch.inf, 0.5, 4.0, 1.0])
    assert optimizer._leaders().tolist() == leaders


def test_personal_bests_are_asked_again_on_a_new_batch_and_only_then() -> None:
    optimizer = swarm()
    first = optimizer.ask(0).clone()
    optimizer.tell(first, Evaluation(torch.arange(6.0), None, 1, 0))
    second = optimizer.ask(0)
    assert len(second) == 6
    optimizer.tell(second, Evaluation(torch.tensor([-1.0, 9, 9, -2, 9, torch.inf]), None, 1, 0))
    again = optimizer.ask(1)
    assert torch.equal(
        again[6:], torch.where(torch.tensor([1, 0, 0, 1, 0, 0], dtype=torch.bool)[:, None], second, first)
    )
    # What the old batch made of a best counts no more: a worse loss on the new one is all there is.
    optimizer.tell(again, Evaluation(torch.cat([torch.full((6,), 50.0), torch.full((6,), 40.0)]), None, 1, 1))
    assert optimizer._best_loss.tolist() == [40.0] * 6


def test_velocities_start_within_the_clamp_and_stay() -> None:
    optimizer = swarm(velocity_clamp=0.1, dim=200)
    before = optimizer.ask(0).clone()
    assert 0.09 * SCALE < optimizer._velocity.abs().max() <= 0.1 * SCALE
    for rows, _ in drive(optimizer, rugged, [0] * 10):
        assert ((rows - before).abs() <= 0.1 * SCALE * (1 + 1e-5)).all()
        before = rows


def test_one_particle_is_a_swarm() -> None:
    trace = drive(make("pso", size=1, start=starts(1, 6)), sphere, [0] * 30)
    assert min(float(loss) for _, loss in trace) < float(trace[0][1])


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="topology: expected one of 'global' or 'ring', got 'star'"):
        make("pso", topology="star")
    with pytest.raises(ConfigError, match="velocity_clamp: expected a number greater than 0, got 0"):
        make("pso", velocity_clamp=0)
