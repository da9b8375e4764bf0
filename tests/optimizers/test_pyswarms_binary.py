"""The swarm of signs: bit for bit pyswarms' `BinaryPSO`, as rows of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.optimizers import _pyswarms
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

with _pyswarms.quiet():
    from pyswarms.discrete import BinaryPSO

STEPS, SIZE, DIM = 12, 9, 40


def parity(rows: Tensor, batch: int = 0) -> Tensor:
    """Differs for almost any two rows of signs."""
    return ((rows > 0).double() @ torch.linspace(-1, 1.3, rows.shape[1], dtype=torch.float64).sin()).sin()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("inertia", "clamp", "neighbors", "norm"), [
    (1.0, 6.0, 3, 2), (0.729, None, 3, 1), (0.9, 1.0, 9, 2), (1.0, 2.0, 1, 1),
])  # fmt: skip
def test_bits_are_those_of_pyswarms(
    dtype: torch.dtype, inertia: float, clamp: float | None, neighbors: int, norm: int
) -> None:
    chosen: dict[str, Any] = {"inertia": inertia, "velocity_clamp": clamp, "neighbors": neighbors, "norm": norm}
    own = make("pyswarms-binary", size=SIZE, dim=DIM, dtype=dtype, **chosen)
    trace = drive(own, parity, [0] * STEPS)
    options = {"c1": 1.494, "c2": 1.494, "w": inertia, "k": neighbors, "p": norm}
    bits = (driving.starts(SIZE, DIM, dtype) > 0).numpy().astype(int)
    with _pyswarms.quiet(), GlobalStreams(int(np.random.default_rng(0).integers(2**63))).active():
        their = BinaryPSO(SIZE, DIM, options, bits, None if clamp is None else (-clamp, clamp))
        their.optimize(lambda x: parity(torch.from_numpy(x)).numpy(), STEPS, verbose=False)
    for (rows, _), position in zip(trace, their.pos_history, strict=True):
        np.testing.assert_array_equal((rows > 0).numpy(), position)
    state = own.state_dict()
    np.testing.assert_array_equal(state["velocity"], their.swarm.velocity)
    np.testing.assert_array_equal(state["pbest_cost"], their.swarm.pbest_cost)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_signs_times_the_scale_and_begin_with_those_of_the_start(dtype: torch.dtype) -> None:
    optimizer = make("pyswarms-binary", dim=DIM, dtype=dtype)
    optimizer.scale = torch.linspace(0.1, 2, DIM, dtype=dtype)  # as given, this is the same for all genes
    again = type(optimizer)(
        driving.starts(6, DIM, dtype), optimizer.options, np.random.default_rng(0), scale=optimizer.scale
    )
    assert torch.equal(again.ask(0), torch.where(driving.starts(6, DIM, dtype) > 0, again.scale, -again.scale))
    for rows, _ in drive(again, parity, (0, 0, 1, 1)):
        assert torch.equal(rows.abs(), again.scale.expand_as(rows))


def test_a_new_batch_asks_the_personal_bests_again() -> None:
    optimizer = make("pyswarms-binary", dim=DIM)
    trace = drive(optimizer, parity, (0, 0, 0))
    rows, losses = torch.stack([rows for rows, _ in trace]), torch.stack([loss for _, loss in trace])
    best = rows[losses.argmin(dim=0), torch.arange(6)]
    asked, _ = drive(optimizer, parity, (1,))[0]
    assert torch.equal(asked[6:], best)


@pytest.mark.parametrize("shared", [True, False])
def test_a_bit_is_one_as_often_as_the_sigmoid_says(shared: bool) -> None:
    # No pull: velocities stay what they are, and every particle's bits are drawn anew.
    still: dict[str, Any] = {"cognitive": 0, "social": 0, "shared_draw": shared}
    optimizer = make("pyswarms-binary", size=4, dim=50, neighbors=2, **still)
    likely = 1 / (1 + np.exp(-optimizer.state_dict()["velocity"]))
    rows = torch.stack([rows for rows, _ in drive(optimizer, parity, [0] * 301)][1:]) > 0
    np.testing.assert_allclose(rows.double().mean(dim=0), likely, atol=5 * (0.25 / 300) ** 0.5)
    # With one number for all, a bit that is 1 where it is unlikely is 1 wherever it is likelier.
    order = np.argsort(likely, axis=0)
    ordered = torch.gather(rows, 1, torch.from_numpy(order).expand(300, -1, -1)).int()
    assert bool((ordered.diff(dim=1) >= 0).all()) == shared


def test_it_finds_the_best_signs() -> None:
    target = torch.sign(torch.randn(30, generator=torch.Generator().manual_seed(5)))
    optimizer = make("pyswarms-binary", size=32, dim=30)
    trace = drive(optimizer, lambda rows, _: (rows.sign() != target).double().mean(dim=1), [0] * 150)
    assert min(float(loss.min()) for _, loss in trace) == 0


def test_it_says_that_its_genome_is_not_continuous() -> None:
    assert not type(make("pyswarms-binary")).continuous
