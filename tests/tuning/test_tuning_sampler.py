"""Optuna's samplers: reproducible, inside the space, quiet, and named when they are missing."""

from __future__ import annotations

import logging
import random
import sys

import numpy as np
import optuna
import pytest

from gfopt.errors import ConfigError, MissingExtraError
from gfopt.optimizers.space import Choice, Integer, Real
from gfopt.tuning.sampler import SAMPLERS, Sampler, check_sampler
from gfopt.tuning.spaces import contains

SPACE = {
    "rate": Real(1e-4, 1.0, log=True),
    "share": Real(0.0, 1.0),
    "size": Integer(4, 100, log=True),
    "even": Integer(2, 20, step=2),
    "kind": Choice(("a", None, True, 3)),
}
DEFAULTS = {"rate": 0.01, "share": 0.5, "size": 10, "even": 4, "kind": "a"}


def proposals(name, seed=0, trials=12, first=DEFAULTS):
    sampler = Sampler(name, SPACE, seed, trials)
    sampler.know(first, 1.0)
    found = []
    for _ in range(trials):
        found.append(sampler.ask())
        sampler.tell(abs(np.log10(found[-1]["rate"]) + 2) if len(found) % 4 else float("inf"))
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_seed_proposes_the_same_and_another_seed_something_else(name):
    assert proposals(name) == proposals(name)
    assert proposals(name) != proposals(name, seed=1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_lie_in_the_space(name):
    for values in proposals(name, trials=20):
        assert values.keys() == SPACE.keys()
        assert all(contains(SPACE[option], value) for option, value in values.items())


def test_qmc_covers_a_range_more_evenly_than_chance():
    """Of the 16 first points of a Sobol' sequence each sixteenth holds exactly one, whatever the scrambling."""
    for first in (DEFAULTS, {**DEFAULTS, "rate": None}):  # the defaults may lie outside the space
        values = [one["share"] for one in proposals("qmc", trials=16, first=first)]
        assert sorted(int(16 * value) for value in values) == list(range(16))
    assert len({int(16 * one["share"]) for one in proposals("random", trials=16)}) < 16


def test_tpe_goes_where_it_was_good():
    """After 30 trials the median distance from the optimum is well below that of random draws."""

    def late(name):
        return np.median([abs(np.log10(one["rate"]) + 2) for one in proposals(name, trials=40)[-10:]])

    assert late("tpe") < 0.7 * late("random")


def test_a_proposal_without_an_answer_is_forgotten():
    sampler = Sampler("tpe", SPACE, 0, 5)
    first = sampler.ask()
    assert sampler.ask() != first
    sampler.tell(1.0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_is_quiet_and_leaves_everything_as_it_was(name, capfd):
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    before = random.getstate(), str(np.random.get_state()), list(logging.root.handlers)  # noqa: NPY002
    proposals(name, trials=3)
    assert (random.getstate(), str(np.random.get_state()), list(logging.root.handlers)) == before  # noqa: NPY002
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    assert capfd.readouterr() == ("", "")
    optuna.logging.set_verbosity(optuna.logging.INFO)


def test_an_unknown_sampler_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"sampler: expected one of tpe, random, qmc, got 'tep'\. Did you mean 'tpe'"):
        check_sampler("tep")


def test_missing_optuna_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"the package optuna.*pip install 'gfopt\[tune\]'"):
        check_sampler("random")
