"""A chain is its stages, one after the other, on the budget's clock."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gfopt
from gfopt import optimizers
from gfopt.errors import ConfigError
from gfopt.optimizers.chain import SPREAD
from gfopt.types import Evaluation

DIM = 5


def chain(stages, seed=0, rows=8, bounds=None):
    start = torch.randn(rows, DIM, generator=torch.Generator().manual_seed(1))
    generator, scale = np.random.default_rng(seed), torch.full((DIM,), 0.5)
    return optimizers.build("chain", {"stages": stages}, start, generator, scale=scale, bounds=bounds)


def step(optimizer, spent, batch=0):
    optimizer.spent = spent
    gradient = optimizer.wants_gradient
    rows = optimizer.ask(batch)
    evaluation = Evaluation(rows.square().sum(1), 2 * rows if gradient else None, 1, batch)
    if len(rows):
        optimizer.tell(rows.clone(), evaluation)
    return rows, gradient, evaluation.loss


GA_ADAM = [{"kind": "ga", "population": 8, "share": 0.5}, {"kind": "adam", "population": 3}]


def test_the_first_stage_is_that_optimizer_alone():
    alone = optimizers.build(
        "ga",
        {"population": 8},
        chain(GA_ADAM).ask(0),
        np.random.default_rng(int(np.random.default_rng(0).integers(2**63))),
        scale=torch.full((DIM,), 0.5),
    )
    both = chain(GA_ADAM)
    for spent in (0.0, 0.1, 0.2, 0.3):
        rows, gradient, _ = step(both, spent)
        assert not gradient
        asked = alone.ask(0)
        alone.tell(asked, Evaluation(asked.square().sum(1), None, 1, 0))
        assert torch.equal(rows, asked)


def test_the_next_stage_starts_from_the_best_with_the_others_around_it():
    optimizer = chain(GA_ADAM)
    seen = [step(optimizer, spent) for spent in (0.0, 0.2, 0.4)]
    rows, losses = torch.cat([rows for rows, _, _ in seen]), torch.cat([loss for _, _, loss in seen])
    after, gradient, _ = step(optimizer, 0.5)
    assert gradient
    assert torch.equal(after[0], rows[losses.argmin()])
    assert len(after) == 3
    away = (after[1:] - after[0]).abs()
    assert (away > 0).all()
    assert away.max() < 5 * SPREAD * 0.5


def test_on_changing_batches_the_best_of_the_last_one_is_handed_over():
    optimizer = chain(GA_ADAM)
    step(optimizer, 0.0, batch=0)
    rows, _, losses = step(optimizer, 0.4, batch=1)
    after, _, _ = step(optimizer, 0.6, batch=2)
    assert torch.equal(after[0], rows[losses.argmin()])


def test_a_stage_sees_its_own_share_of_the_budget():
    optimizer = chain([{"kind": "ga", "population": 8, "share": 0.5}, {"kind": "ga", "population": 8}, "adam"])
    seen = []
    for spent in (0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0):
        step(optimizer, spent)
        seen.append((optimizer._place, round(optimizer._stage.spent, 9)))
    assert seen == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (2, 0.0), (2, 0.5), (2, 1.0)]


def test_a_stage_may_be_skipped_when_a_step_is_as_large_as_its_share():
    optimizer = chain([{"kind": "ga", "population": 8}, {"kind": "ga", "population": 8}, "adam"])
    step(optimizer, 0.0)
    assert step(optimizer, 0.9)[1]


def test_rows_that_are_handed_over_stay_within_bounds():
    bounds = torch.full((DIM,), -0.01), torch.full((DIM,), 0.01)
    optimizer = chain([{"kind": "random-search", "population": 8}, {"kind": "ga", "population": 40}], bounds=bounds)
    step(optimizer, 0.0)
    rows, _, _ = step(optimizer, 0.7)
    assert rows.abs().max() <= 0.01


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_resuming_in_any_stage_equals_going_on(cut):
    clock = [(0.0, 0), (0.3, 0), (0.5, 0), (0.6, 1), (0.8, 1), (0.9, 2)]
    whole = chain(GA_ADAM)
    rows = [step(whole, *now)[0] for now in clock]
    first = chain(GA_ADAM)
    for now in clock[:cut]:
        step(first, *now)
    second = chain(GA_ADAM, seed=9)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, step(second, *now)[0]) for a, now in zip(rows[cut:], clock[cut:], strict=True))


def test_a_chain_beats_its_first_stage_and_is_charged_for_both():
    problem = gfopt.FunctionProblem.named("rosenbrock", 10, dtype="float64")
    ga = gfopt.minimize(problem, "ga", budget={"evaluations": 4000})
    both = gfopt.minimize(problem, "chain", budget={"evaluations": 4000}, stages=["ga", "adam"])
    assert both.best_loss < ga.best_loss
    assert 1500 < both.ledger.backward_samples < 2100
    assert 4000 <= both.ledger.evaluations < 4064


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["ga"], "a list of at least 2 values"),
        (["ga", "adm"], "expected a known optimizer, got 'adm'. Did you mean 'adam'?"),
        (["ga", "chain"], "expected an optimizer other than a chain, got 'chain'"),
        (["ga", {"kind": "adam", "learning_rat": 1}], "learning_rat: expected a known option, got 'learning_rat'"),
        (["ga", {"kind": "adam", "learning_rate": -1}], "learning_rate: expected a number greater than 0, got -1"),
        ([{"kind": "ga", "share": 0.5}, {"kind": "adam", "share": 0.4}], "shares of 1 together, got 0.9"),
        ([{"kind": "ga", "share": 1.0}, "adam"], "shares below 1 together, as some stages have none, got 1.0"),
    ],
)
def test_stages_that_make_no_sense_are_refused(stages, message):
    with pytest.raises(ConfigError) as caught:
        optimizers.options_of("chain", {"stages": stages})
    assert message in str(caught.value)


def test_options_of_a_stage_are_written_out_with_their_defaults():
    options = optimizers.options_of("chain", {"stages": ["ga", {"kind": "adam", "learning_rate": 0.5}]})
    dumped = options.model_dump(mode="json")["stages"]
    assert dumped[1]["options"]["learning_rate"] == 0.5
    assert dumped[0]["options"]["population"] == 64
    assert optimizers.options_of("chain", options.model_dump()) == options
