"""`chain: [ga, adam]` names optimizers of the study, with the options that they have there."""

from __future__ import annotations

import pytest

from gfopt.config import from_mapping
from gfopt.errors import ConfigError

OTHERS = {"ga": {"kind": "deap-ga", "population": 8}, "fast": {"kind": "adam", "learning_rate": 0.5}}


def study(entry, **others):
    problem = {"function": {"name": "sphere", "dim": 3}}
    optimizers = {**OTHERS, **others, "hybrid": entry}
    return from_mapping({"problems": {"p": problem}, "optimizers": optimizers, "budget": {"evaluations": 10}})


def cells(entry, **others):
    return [cell for cell in study(entry, **others).optimizer_cells if cell.base == "hybrid"]


def test_names_stand_for_the_entries_with_their_options():
    (cell,) = cells({"chain": ["ga", "fast"]})
    assert cell.kind == "chain"
    first, second = cell.options.stages
    assert (first.kind, first.options["population"], first.share) == ("deap-ga", 8, None)
    assert (second.kind, second.options["learning_rate"]) == ("adam", 0.5)
    assert (cell.kind, cell.options) == (
        "chain",
        cells({"kind": "chain", "stages": [OTHERS["ga"], OTHERS["fast"]]})[0].options,
    )


def test_a_stage_may_have_a_share_and_options_of_its_own_and_name_a_kind():
    (cell,) = cells({"chain": [{"kind": "ga", "share": 0.75, "elites": 1}, {"kind": "sgd", "momentum": 0.5}]})
    first, second = cell.options.stages
    assert (first.share, first.options["population"], first.options["elites"]) == (0.75, 8, 1)
    assert (second.kind, second.options["momentum"]) == ("sgd", 0.5)


def test_a_grid_of_chains_makes_a_cell_of_each():
    found = cells({"chain": {"grid": [["ga", "fast"], ["fast", "ga"]]}})
    assert [[stage.kind for stage in cell.options.stages] for cell in found] == [
        ["deap-ga", "adam"],
        ["adam", "deap-ga"],
    ]


def test_the_study_that_is_written_down_makes_the_same_study():
    made = study({"chain": ["ga", "fast"]})
    assert from_mapping(made.resolved()) == made


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"chain": "ga"}, "optimizers.hybrid.chain: expected a list of optimizers, as [ga, adam], got 'ga'"),
        ({"chain": ["ga"]}, "optimizers.hybrid.stages: expected at least 2"),
        ({"chain": ["ga", "adm"]}, "expected a known optimizer, got 'adm'. Did you mean 'adam'?"),
        ({"chain": ["ga", "hybrid"]}, "optimizers.hybrid.chain[1]: expected an optimizer other than a chain"),
        ({"chain": ["ga", "swept"]}, "optimizers.hybrid.chain[1]: expected an optimizer without a grid, got 'swept'"),
        ({"chain": ["ga", "fast"], "share": 1}, "optimizers.hybrid.share: expected `chain` alone, got `share` beside"),
        ({"chain": ["ga", {"kind": "fast", "learning_rte": 1}]}, "got 'learning_rte'. Did you mean 'learning_rate'?"),
        ({"chain": ["ga", 3]}, "stages"),
    ],
)  # fmt: skip
def test_what_makes_no_chain_is_refused_at_its_place(entry, message):
    with pytest.raises(ConfigError) as caught:
        study(entry, swept={"kind": "adam", "learning_rate": {"grid": [0.1, 0.2]}})
    assert message in str(caught.value)
