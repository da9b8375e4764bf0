"""Dropout in a population: shared masks, and masks of each member that no tile changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import gfopt
from gfopt.engine import PopulationEngine
from gfopt.engine.dropout import MemberDropout, drops, give_members_masks, member_keys, still
from gfopt.errors import ConfigError, NetworkError
from gfopt.nn import ParameterLayout


def network(p=0.5):
    return nn.Sequential(nn.Linear(5, 40), nn.Dropout(p), nn.Linear(40, 3)).double()


def criterion(outputs):
    return outputs.square().mean((-1, -2))


@pytest.fixture
def rows():
    return torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def engine_of(module, rows, **options):
    give_members_masks(module)
    return PopulationEngine(module, ParameterLayout.of(module), rows, **options)


def test_members_with_the_same_genome_have_masks_of_their_own(rows):
    engine = engine_of(network(), rows)
    same = ParameterLayout.of(engine.module).flatten(engine.module).expand(20, -1)
    losses = engine.losses(same, rows, criterion, seed=3)
    assert len(losses.unique()) == 20
    assert torch.equal(engine.losses(same, rows, criterion, seed=3), losses)
    assert not torch.equal(engine.losses(same, rows, criterion, seed=4), losses)


def test_neither_tile_nor_strategy_changes_a_mask(rows):
    torch.manual_seed(0)
    module = network()
    whole = engine_of(module, rows)
    population = torch.randn(9, whole.layout.dim, dtype=torch.float64)
    expected = whole.losses(population, rows, criterion, seed=7)
    for tile in (1, 2, 4):
        whole.tile = tile
        torch.testing.assert_close(whole.losses(population, rows, criterion, seed=7), expected, rtol=1e-12, atol=0)
    loop = PopulationEngine(module, whole.layout, rows, strategy="loop")
    torch.testing.assert_close(loop.losses(population, rows, criterion, seed=7), expected, rtol=1e-12, atol=0)
    found, gradients = whole.gradients(population, rows, criterion, seed=7)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(loop.gradients(population, rows, criterion, seed=7)[1], gradients)


def test_it_drops_the_share_that_it_is_told_and_keeps_the_mean():
    layer = MemberDropout(0.3, 0)
    layer.dropout_key = member_keys(5, 0, 1, torch.device("cpu"))[0]
    out = layer(torch.ones(400, 500))
    dropped = float((out == 0).double().mean())
    assert dropped == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 200_000))  # four standard errors
    torch.testing.assert_close(out.max(), torch.tensor(1 / 0.7))
    rows, columns = (out == 0).double().mean(1), (out == 0).double().mean(0)
    assert rows.std() == pytest.approx(np.sqrt(0.21 / 500), rel=0.2)  # no row and no column is favoured
    assert columns.std() == pytest.approx(np.sqrt(0.21 / 400), rel=0.2)
    assert torch.equal(layer.eval()(torch.ones(3)), torch.ones(3))


def test_layers_and_members_do_not_share_a_mask():
    key = member_keys(1, 0, 2, torch.device("cpu"))
    masks = []
    for member in key:
        for place in (1, 2):
            layer = MemberDropout(0.5, place)
            layer.dropout_key = member
            masks.append(layer(torch.ones(1000)) == 0)
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert float((one == other).double().mean()) == pytest.approx(0.5, abs=0.08)


def test_a_problem_has_either_kind_of_mask():
    spec = {"kind": "mlp", "hidden": [20], "dropout": 0.5}
    for kind, distinct in (("shared", 1), ("member", 4)):
        problem = gfopt.SupervisedProblem(spec, "iris", dropout=kind)
        same = problem.initial(1, 0).expand(4, -1)
        # What batches differently may round differently.
        assert len(problem.evaluate(same).loss.round(decimals=4).unique()) == distinct
        assert len(problem.probe(same).loss.round(decimals=5).unique()) == 1
        assert not drops(problem.module(same[0]))


def test_dropout_of_zero_is_none():
    module = network(0.0)
    assert not drops(module)
    give_members_masks(module)
    assert type(module[1]) is nn.Dropout


def test_still_turns_both_kinds_off():
    module = network()
    give_members_masks(module)
    assert drops(module)
    still(module)
    assert not drops(module)


def test_what_is_not_understood_is_refused():
    with pytest.raises(NetworkError, match=r"nn.Dropout for masks of each member, got 'AlphaDropout'"):
        give_members_masks(nn.Sequential(nn.Linear(2, 2), nn.AlphaDropout(0.5)))
    with pytest.raises(ConfigError, match=r"dropout: expected one of shared, member, got 'each'"):
        gfopt.SupervisedProblem({"kind": "mlp"}, "iris", dropout="each")


def test_a_shared_mask_is_that_of_a_member_alone_whatever_its_layout():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.drop, self.head = nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.drop(self.body(x).T).T)

    problem = gfopt.SupervisedProblem(Turned(), "iris")
    rows = problem.initial(33, 0)  # a last tile of one
    together = problem.evaluate(rows, gradient=True)
    alone = torch.cat([problem.evaluate(row[None]).loss for row in rows])
    torch.testing.assert_close(problem.evaluate(rows).loss, alone)
    torch.testing.assert_close(together.loss, alone)
