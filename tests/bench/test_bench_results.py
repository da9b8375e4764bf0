"""Ratios of given figures, and results through JSON."""

from __future__ import annotations

import json

import pytest

from gfopt.bench import BenchResults
from gfopt.bench.results import Cell, Contender, Lead
from gfopt.errors import ConfigError


def test_ratios_of_medians(given):
    cell, alone = given.cells["evaluation"]
    ours, loop, vmap = cell.contenders
    assert cell.rival(ours) is loop
    assert cell.speedup(ours) == pytest.approx(4)
    assert cell.over(ours, "vmap") == pytest.approx(5)
    assert cell.over(ours, "nobody") is None
    assert cell.speedup(loop) == pytest.approx(1.25)
    assert cell.rival(loop) is vmap
    assert cell.share_of_floor(ours) == pytest.approx(0.8)
    assert cell.share_of_products(ours) == pytest.approx(0.4)
    lonely = alone.contenders[0]
    assert (alone.speedup(lonely), alone.share_of_floor(lonely), alone.share_of_products(lonely)) == (None,) * 3


def test_a_named_rival_counts_even_if_it_is_ours(given):
    cell = given.cells["norms"][0]
    assert cell.speedup(cell.contenders[1]) == pytest.approx(2 / 3)


def test_who_never_arrived_is_at_least_so_much_slower(given):
    ours, theirs = given.races
    assert given.lead(ours, "0.9") == Lead(5.0, at_least=False)
    assert given.lead(ours, "0.95") == Lead(15.0, at_least=True)  # stopped after 60 s
    assert given.lead(theirs, "0.95") is None
    assert given.lead(theirs, "0.9") is None  # held against nobody


def test_json_and_back(given):
    plain = json.loads(json.dumps(given.as_dict()))
    assert BenchResults.from_dict(plain) == given
    row = plain["cells"]["evaluation"][0]["contenders"][0]
    assert row["speedup"] == pytest.approx(4)
    assert row["share_of_floor"] == pytest.approx(0.8)


@pytest.mark.parametrize("plain", [[], {}, {"format": 99}, {"format": 1}, {"format": 1, "cells": 3}])
def test_something_else_is_refused(plain):
    with pytest.raises(ConfigError, match="gfopt bench --json"):
        BenchResults.from_dict(plain)


def test_a_row_that_lacks_a_figure_is_refused(given):
    plain = json.loads(json.dumps(given.as_dict()))
    del plain["cells"]["evaluation"][0]["contenders"][0]["median"]
    with pytest.raises(ConfigError, match="median"):
        BenchResults.from_dict(plain)


def test_of_several_others_the_fastest_is_the_rival():
    others = [Contender(str(seconds), seconds, seconds, 1) for seconds in (3.0, 1.0, 2.0)]
    ours = Contender("gfopt", 0.5, 0.5, 1, ours=True)
    also = Contender("gfopt, CPU", 0.1, 0.1, 1, ours=True)
    assert Cell({}, (*others, ours, also)).rival(ours).name == "1.0"
