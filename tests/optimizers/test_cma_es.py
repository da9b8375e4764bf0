"""Covariance matrix adaptation by pycma: its own steps, and what it leaves alone."""

from __future__ import annotations

import warnings
from typing import Any

import cma
import numpy as np
import pytest
import torch

from gfopt import optimizers
from gfopt.errors import ConfigError
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make, same

DIM, SIZE, GENERATIONS = 5, 8, 12
F64 = torch.float64
VARIANTS: list[dict[str, Any]] = [
    {"diagonal": diagonal, "step_size": step} for diagonal in (False, True) for step in ("path", "two-point")
]
STEPS = {"path": cma.sigma_adaptation.CMAAdaptSigmaCSA, "two-point": cma.sigma_adaptation.CMAAdaptSigmaTPA}


def bounds(dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((dim,), -0.4, dtype=F64), torch.full((dim,), 0.5, dtype=F64)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_steps_are_those_of_pycma(options: dict[str, Any]) -> None:
    start = driving.starts(SIZE, DIM, F64)
    origin = start[driving.rugged(start).argmin()]
    optimizer = make("cma", dim=DIM, size=SIZE, dtype=F64, start=start, deviation=0.7, **options)
    got = drive(optimizer, driving.rugged, [0] * (1 + GENERATIONS))[1:]
    settings = {
        "popsize": SIZE,
        "CMA_diagonal": options["diagonal"],
        "AdaptSigma": STEPS[options["step_size"]],
        "seed": np.nan,
        "verbose": -9,
    }
    seed = int(np.random.default_rng(0).integers(2**32))
    with GlobalStreams(seed).active(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy = cma.CMAEvolutionStrategy(np.zeros(DIM), 0.7, settings)
        for rows, loss in got:
            samples = strategy.ask()
            assert torch.equal(rows[:SIZE], origin + driving.SCALE * torch.from_numpy(np.stack(samples)))
            strategy.tell(samples, loss[:SIZE].tolist())


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("size", [3, 8])
def test_a_long_run_resumes_exactly(options: dict[str, Any], bounded: bool, size: int) -> None:
    given: dict[str, Any] = {"dim": DIM, "size": size, "dtype": F64, **options}
    if bounded:
        given |= {"bounds": bounds(DIM), "start": driving.starts(size, DIM, F64).clamp(*bounds(DIM))}
    batches = [0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6]
    alone = make("cma", **given)
    whole = drive(alone, driving.rugged, batches)
    for cut in (3, 12):
        first, second = make("cma", **given), make("cma", **{**given, "seed": 9})
        before = drive(first, driving.rugged, batches[:cut])
        first.ask(batches[cut])  # the state is of before the samples were drawn
        second.load_state_dict(first.state_dict())
        assert same(whole, before + drive(second, driving.rugged, batches[cut:]))
        states = (each.state_dict()["distribution"] for each in (alone, second))
        np.testing.assert_equal(*states)


def test_a_plateau_leaves_the_two_points_for_the_next_generation() -> None:
    options = {"dtype": F64, "step_size": "two-point"}
    one = make("cma", **options)
    drive(one, driving.rugged, [0] * 4)
    waiting = one.state_dict()["distribution"]["injected"]
    drive(one, lambda rows, batch: 0 * rows[:, 0], (0,))
    after = one.state_dict()["distribution"]["injected"]
    assert len(waiting) == 2
    np.testing.assert_array_equal(waiting, after)
    drive(one, driving.rugged, [0] * 3)


def test_losses_enter_as_ranks() -> None:
    optimizer = make("cma", size=5)
    drive(optimizer, driving.rugged, (0, 0))
    losses = torch.tensor([torch.inf, 3.0, 3.0, -1e30, torch.inf, 0.0])  # the last one is the mean's
    drive(optimizer, lambda rows, batch: losses, (0,))
    assert optimizer._strategy.fit.fit == [0, 1, 1, 2, 2]


def test_it_neither_prints_nor_keeps_a_filter_of_warnings(capfd: pytest.CaptureFixture[str]) -> None:
    before = list(warnings.filters)
    narrow = (torch.full((6,), -0.01), torch.full((6,), 0.01))
    drive(make("cma", bounds=narrow, start=torch.zeros(6, 6)), driving.broken, [0] * 5)
    assert warnings.filters == before
    assert capfd.readouterr() == ("", "")


def test_a_full_covariance_learns_that_genes_depend_on_each_other() -> None:
    def valley(rows: torch.Tensor, batch: int) -> torch.Tensor:
        return (rows[:, 0] - rows[:, 1]).square() * 1e4 + (rows[:, 0] + rows[:, 1] - 1).square()

    reached = {}
    for diagonal in (False, True):
        trace = drive(make("cma", dim=2, size=12, dtype=F64, diagonal=diagonal), valley, [0] * 50)
        reached[diagonal] = float(trace[-1][1].min())
    assert reached[False] < 1e-3 * reached[True]


def test_a_diagonal_covariance_has_no_limit_of_parameters() -> None:
    algorithm = optimizers.optimizer_class("cma")
    algorithm.check_dim(optimizers.options_of("cma", {"diagonal": True}), 100_000)
    with pytest.raises(ConfigError, match="at most 2000 parameters, got 100000"):
        algorithm.check_dim(optimizers.options_of("cma"), 100_000)
