"""Operators of `deap.tools` that a user names: which are admitted, with which arguments, and what they are given."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch
from scipy import stats

from gfopt import optimizers
from gfopt.errors import ConfigError, SlowPathWarning
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

LOWEST = 1e-3  # p-value below which a sample is not of a distribution; the seeds are fixed
NAMED = "ignore::gfopt.errors.SlowPathWarning"


@pytest.mark.parametrize(("option", "given", "message"), [
    ("selection", "tools.selBes", "expected an operator of deap.tools whose name begins with sel, got 'selBes'. "
                                  "Did you mean 'selBest'?"),
    ("selection", "tools.cxBlend", "expected an operator of deap.tools whose name begins with sel, got 'cxBlend'."),
    ("crossover", {"tool": "initRepeat"}, "expected an operator of deap.tools whose name begins with cx, "
                                          "got 'initRepeat'."),
    ("mutation", {"tool": "mutation"}, "expected an operator of deap.tools whose name begins with mut, "
                                        "got 'mutation'."),
    ("mutation", {"tool": "mutGaussian.__globals__"}, "whose name begins with mut"),
    ("selection", {"tool": "selDoubleTournament", "fitness_size": 3}, "expected the arguments parsimony_size, "
     "fitness_first of selDoubleTournament, got `none`. Write {tool: selDoubleTournament, parsimony_size: ..., "
     "fitness_first: ...}."),
    ("selection", {"tool": "selTournament", "fit_attr": "row"}, "fit_attr: expected an argument of selTournament"),
    ("crossover", {"tool": "cxBlend", "alfa": 1}, "alfa: expected an argument of cxBlend, got 'alfa'. "
                                                  "Did you mean 'alpha'?"),
    ("crossover", "tools.cxOrdered", "not cxOrdered, which is for permutations, not for real numbers"),
    ("mutation", "tools.mutESLogNormal", "use `mutation: self-adaptive`"),
    ("selection", "tools.selRoulette", "use `selection: roulette`"),
    ("mutation", {"eta": 3}, "expected the name of an operator of deap.tools under `tool`, got {'eta': 3}. "
                             "For example {tool: mutFlipBit}."),
    ("mutation", "gausian", "got 'gausian'. Did you mean 'gaussian'? The default is 'gaussian'."),
    ("mutation", 3, "expected one of 'gaussian', 'polynomial', 'uniform' or 'self-adaptive', or an operator of "
                    "deap.tools as {tool: mut..., ...}, got 3."),
])  # fmt: skip
def test_wrong_names_and_arguments_are_refused_with_the_nearest(option: str, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{option}: .*{re.escape(message)}"):
        optimizers.options_of("deap-ga", {option: given})


def test_named_operators_survive_being_written_down() -> None:
    given = {"selection": "tools.selBest", "mutation": {"tool": "tools.mutGaussian", "sigma": [0.1, 0.2], "indpb": 1}}
    options = optimizers.options_of("deap-ga", given)
    written = options.model_dump()
    assert written["selection"] == {"tool": "selBest"}
    assert written["mutation"] == {"tool": "mutGaussian", "sigma": [0.1, 0.2], "indpb": 1}
    assert optimizers.options_of("deap-ga", written) == options


@pytest.mark.filterwarnings(NAMED)
def test_what_an_operator_cannot_cope_with_is_explained() -> None:
    def breed(**options: Any) -> None:
        optimizer = make("deap-ga", **options)
        drive(optimizer, driving.sphere, (0, 0))

    with pytest.raises(ConfigError, match=r"tools\.selDoubleTournament: .*AssertionError: Parsimony tournament size"):
        breed(selection={"tool": "selDoubleTournament", "fitness_size": 2, "parsimony_size": 9, "fitness_first": True})
    with pytest.raises(ConfigError, match=r"tools\.mutGaussian: .*IndexError: sigma must be at least the size"):
        breed(mutation={"tool": "mutGaussian", "sigma": [0.1, 0.1]})
    with pytest.raises(
        ConfigError, match=r"crossover: cxSimulatedBinaryBounded\.low: expected a value, or a problem with"
    ):
        breed(crossover="tools.cxSimulatedBinaryBounded")


@pytest.mark.filterwarnings(NAMED)
def test_arguments_that_are_not_given_come_from_the_options() -> None:
    start = torch.zeros(2000, 3)
    optimizer = make("deap-ga", dim=3, size=2000, elites=0, start=start, mutation="tools.mutGaussian",
                     mutation_strength=0.4, gene_probability=0.5)  # fmt: skip
    drive(optimizer, driving.sphere, (0,))
    optimizer.ask(0)
    changed = optimizer._genomes[optimizer._genomes != 0]  # type: ignore[attr-defined]
    assert stats.kstest(changed / (0.4 * driving.SCALE), "norm").pvalue > LOWEST
    assert stats.binomtest(len(changed), 6000, 0.5).pvalue > LOWEST


@pytest.mark.filterwarnings(NAMED)
def test_bounded_operators_take_genes_that_lie_outside() -> None:
    start = torch.full((6, 6), 3.0)  # where DEAP's formula would give complex numbers
    mutation = {"tool": "mutPolynomialBounded", "low": -1, "up": 1, "eta": 2.5}
    optimizer = make("deap-ga", start=start, elites=0, mutation=mutation)
    drive(optimizer, driving.sphere, (0,))
    asked = optimizer.ask(0)
    assert ((asked >= -1) & (asked <= 1)).all()


@pytest.mark.parametrize("kind", ["deap-ga", "deap-islands", "deap-mu-plus-lambda"])
def test_named_crossover_and_mutation_are_slow_and_say_so_once(kind: str) -> None:
    with pytest.warns(
        SlowPathWarning, match=r"deap\.tools\.cxBlend and deap\.tools.mutGaussian: works gene by gene"
    ) as said:
        make(kind, crossover="tools.cxBlend", mutation="tools.mutGaussian")
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(kind, selection="tools.selBest")  # it sees no genes: as fast as any
