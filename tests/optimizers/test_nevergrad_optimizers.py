"""Optimizers of nevergrad by name: its own steps, exact replay, and what stays as it was."""

from __future__ import annotations

import warnings

import nevergrad
import numpy as np
import pytest
import torch

from gfopt.errors import ConfigError
from gfopt.optimizers import options_of
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make, same

DIM, SIZE, GENERATIONS = 5, 8, 5
F64 = torch.float64
ALGORITHMS = ("DiagonalCMA", "TwoPointsDE", "OnePlusOne", "TBPSA", "PSO")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_candidates_are_those_of_nevergrad(algorithm: str) -> None:
    start = driving.starts(SIZE, DIM, F64)
    origin = start[driving.rugged(start).argmin()]
    optimizer = make("nevergrad", dim=DIM, size=SIZE, dtype=F64, start=start, algorithm=algorithm, deviation=0.7)
    got = drive(optimizer, driving.rugged, [0] * (1 + GENERATIONS))[1:]
    seed = int(np.random.default_rng(0).integers(2**32))
    with GlobalStreams(seed).active(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        genes = nevergrad.p.Array(init=np.zeros(DIM)).set_mutation(sigma=0.7)
        genes.random_state = np.random.RandomState(seed)
        theirs = nevergrad.optimizers.registry[algorithm](genes, budget=None, num_workers=SIZE)
        for rows, loss in got:
            candidates = [theirs.ask() for _ in range(SIZE)]
            expected = torch.from_numpy(np.stack([candidate.value for candidate in candidates]))
            assert torch.equal(rows, origin + driving.SCALE * expected)
            for candidate, value in zip(candidates, loss.tolist(), strict=True):
                theirs.tell(candidate, value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_state_is_the_losses_and_repeating_them_is_exact(algorithm: str) -> None:
    given = {"dim": DIM, "size": SIZE, "algorithm": algorithm}
    whole = drive(make("nevergrad", **given), driving.broken, [0] * 8)
    first, second = make("nevergrad", **given), make("nevergrad", **{**given, "seed": 9})
    before = drive(first, driving.broken, [0] * 5)
    first.ask(0)
    state = first.state_dict()
    assert state["told"].shape == (4, SIZE)
    second.load_state_dict(state)
    assert same(whole, before + drive(second, driving.broken, [0] * 3))


def test_one_gene_spoils_nothing_for_the_next_run() -> None:
    options = {"algorithm": "DiagonalCMA"}
    trace = drive(make("nevergrad", dim=1, size=8, **options), driving.sphere, [0] * 20)
    assert trace[-1][1].min() < 1e-3
    drive(make("nevergrad", **options), driving.sphere, [0] * 2)


def test_an_unknown_algorithm_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="algorithm: expected an algorithm of nevergrad's, got 'TwoPointDE'"):
        options_of("nevergrad", {"algorithm": "TwoPointDE"})
    with pytest.raises(ConfigError, match="Did you mean 'TwoPointsDE'"):
        options_of("nevergrad", {"algorithm": "TwoPointsDe"})


def test_it_keeps_its_warnings_to_itself() -> None:
    before = list(warnings.filters)
    drive(make("nevergrad", algorithm="TBPSA"), lambda rows, batch: rows[:, 0] * torch.inf, [0] * 4)
    assert warnings.filters == before


def test_more_genes_than_objects_are_good_for_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 100000 parameters"):
        make("nevergrad", dim=100_001, size=2)
