"""Separable covariance matrix adaptation: the library's own steps, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cmaes import SepCMA

from gfopt.errors import MissingExtraError
from gfopt.optimizers import sep_cma
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

DIM, SIZE, GENERATIONS = 5, 8, 12
F64 = torch.float64


def test_the_steps_are_those_of_the_library() -> None:
    start = driving.starts(SIZE, DIM, F64)
    origin = start[driving.rugged(start).argmin()]
    seed = int(np.random.default_rng(0).integers(2**32))
    strategy = SepCMA(np.zeros(DIM), 0.7, seed=seed, population_size=SIZE)
    optimizer = make("sep-cma", dim=DIM, size=SIZE, dtype=F64, start=start, deviation=0.7)
    got = drive(optimizer, driving.rugged, [0] * (1 + GENERATIONS))[1:]
    for rows, loss in got:
        samples = [strategy.ask() for _ in range(SIZE)]
        assert torch.equal(rows[:SIZE], origin + driving.SCALE * torch.from_numpy(np.stack(samples)))
        strategy.tell(list(zip(samples, loss[:SIZE].tolist(), strict=True)))


def test_one_gene_is_searched_beside_one_that_no_loss_sees() -> None:
    optimizer = make("sep-cma", dim=1, size=8)
    trace = drive(optimizer, driving.sphere, [0] * 30)
    assert trace[-1][1].min() < 1e-6
    assert optimizer.state_dict()["distribution"]["_mean"].shape == (2,)


def test_it_learns_a_deviation_for_each_gene() -> None:
    steepness = torch.tensor([1.0, 100.0], dtype=F64)
    optimizer = make("sep-cma", dim=2, size=32, dtype=F64)
    drive(optimizer, lambda rows, batch: (steepness * rows.square()).sum(dim=1), [0] * 40)
    one, other = optimizer.state_dict()["distribution"]["_C"]
    np.testing.assert_allclose(one / other, 100, rtol=0.9)


def test_its_state_is_a_few_vectors_and_no_samples() -> None:
    optimizer = make("sep-cma", dim=1000, size=50)
    drive(optimizer, driving.sphere, (0, 0))
    optimizer.ask(0)
    state = optimizer.state_dict()
    sizes = [
        value.size for value in (*state["distribution"].values(), state["origin"]) if isinstance(value, np.ndarray)
    ]
    assert sum(sizes) == 5 * 1000


def test_samples_outside_the_bounds_are_put_on_them_and_learned_from_there() -> None:
    bounds = (torch.full((2,), -0.1), torch.full((2,), 0.1))
    optimizer = make("sep-cma", dim=2, size=20, bounds=bounds, start=torch.zeros(20, 2), deviation=2.0)
    drive(optimizer, driving.sphere, (0,))
    rows = optimizer.ask(0)
    assert (rows.abs() == 0.1).any()
    assert np.abs(optimizer._samples).max() <= 0.1 / driving.SCALE + 1e-6


def test_a_release_that_names_its_state_otherwise_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Renamed(SepCMA):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            del self._p_sigma

    monkeypatch.setattr(sep_cma, "SepCMA", Renamed)
    with pytest.raises(MissingExtraError, match=r"attributes \['_p_sigma'\], got `none`. Install"):
        make("sep-cma")
