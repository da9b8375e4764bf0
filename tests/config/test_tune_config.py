"""`tune:` in a study file: its defaults, what is refused, and that it says who the study is."""

from __future__ import annotations

import jsonschema
import pytest

from gfopt.config import from_mapping, json_schema, load
from gfopt.config.models import Range
from gfopt.errors import ConfigError
from gfopt.store.identity import difference

STUDY = {
    "budget": {"evaluations": 10},
    "problems": {"bowl": {"function": {"name": "sphere", "dim": 2}}},
    "optimizers": {"ga": {"kind": "ga", "population": {"grid": [4, 8]}}, "pso": {"kind": "pso"}},
}
FULL = {
    "trials": 3,
    "budget": {"evaluations": 5},
    "sampler": "qmc",
    "seeds": [1, 2],
    "optimizers": ["pso", "ga[population=4]"],
    "spaces": {"ga": {"mutation_strength": {"low": 0.01, "high": 1, "log": True}}, "pso": {"inertia": [0.5, None]}},
}


def study(tune=None, **changes):
    return from_mapping({**STUDY, **changes, **({} if tune is None else {"tune": tune})})


def refused(tune):
    with pytest.raises(ConfigError) as caught:
        study(tune)
    return str(caught.value)


def test_a_study_does_not_tune_by_default_and_then_does_not_spell_it_out():
    assert study().tune is None
    assert "tune" not in study().resolved()


def test_an_empty_section_tunes_with_the_defaults():
    tune = study({}).tune
    assert (tune.trials, tune.budget, tune.sampler, tune.seeds) == (20, None, "tpe", [1000, 1001])
    assert (tune.optimizers, tune.spaces) == (None, {})


def test_what_is_written_comes_back_and_makes_the_same_study():
    config = study(FULL)
    assert config.tune.spaces["ga"]["mutation_strength"] == Range(low=0.01, high=1, log=True)
    assert config.tune.spaces["pso"]["inertia"] == [0.5, None]
    assert config.resolved()["tune"] == FULL
    assert from_mapping(config.resolved()) == config
    assert study({"trials": 20}).resolved() == study({}).resolved()


def test_another_tuning_is_another_study():
    for change in ({"trials": 4}, {"sampler": "tpe"}, {"seeds": [1]}, {"budget": {"evaluations": 6}}, {"spaces": {}}):
        found = difference(study(FULL).resolved(), study({**FULL, **change}).resolved())
        assert found.path.startswith(f"tune.{next(iter(change))}")
    assert difference(study().resolved(), study({}).resolved()).path == "tune"
    assert difference(study(FULL).resolved(), study(FULL).resolved()) is None


def test_who_is_tuned():
    cells = study().optimizer_cells
    assert [study().tunes(cell) for cell in cells] == [False, False, False]
    assert [study({}).tunes(cell) for cell in cells] == [True, True, True]
    assert [study(FULL).tunes(cell) for cell in cells] == [True, False, True]
    assert [study({"optimizers": ["ga"]}).tunes(cell) for cell in cells] == [True, True, False]


def test_it_may_be_set_from_the_command_line(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "budget: {evaluations: 10}\nproblems: {bowl: {function: {name: sphere, dim: 2}}}\n"
        "optimizers: {ga: {kind: ga}}\n"
    )
    assert load(file).tune is None
    assert load(file, ["tune.trials=3", "tune.budget.evaluations=4"]).tune.budget == {"evaluations": 4}
    assert load(file, ["tune={}"]).tune.trials == 20


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        (3, "study: tune: expected a mapping, as {key: value}, got 3"),
        ({"trails": 3}, "tune.trails: expected a known key, got 'trails'. Did you mean 'trials'?"),
        ({"trials": 0}, "tune.trials: expected at least 1, got 0"),
        ({"trials": "3"}, "tune.trials: expected a whole number, got '3'. Write it without quotes."),
        ({"trials": {"grid": [1, 2]}}, "tune.trials: expected one value, got a grid"),
        ({"sampler": "tep"}, "tune.sampler: expected one of 'tpe', 'random', 'qmc', got 'tep'. Did you mean 'tpe'?"),
        ({"seeds": []}, "tune.seeds: expected at least 1 item(s), got []"),
        ({"seeds": [1, 1]}, "tune.seeds: expected different seeds, got [1, 1]"),
        ({"seeds": [1, -1]}, "tune.seeds[1]: expected at least 0, got -1"),
        ({"budget": {"evals": 3}}, "tune.budget.evals: expected a unit of the ledger, got 'evals'"),
        ({"budget": 3}, "tune.budget: expected a mapping of units to limits"),
        ({"optimizers": ["gaa"]}, "tune.optimizers[0]: expected the name of one of the optimizers, got 'gaa'. Did you"),
        ({"spaces": {"psoo": {}}}, "tune.spaces.psoo: expected the name of one of the optimizers, got 'psoo'. Did you"),
        ({"spaces": {"ga": {"elites": {"low": 1}}}}, "tune.spaces.ga.elites.high: expected a value, got nothing"),
        (
            {"spaces": {"ga": {"elites": {"low": 1, "hihg": 2}}}},
            "elites.hihg: expected a known key, got 'hihg'. Did you",
        ),
        ({"spaces": {"ga": {"elites": 3}}}, "tune.spaces.ga.elites: expected a mapping, as {key: value} or a list"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tune, message):
    assert message in refused(tune)


def test_editors_know_it():
    valid = jsonschema.Draft202012Validator(json_schema()).is_valid
    assert all(valid({**STUDY, "tune": tune}) for tune in (FULL, {}, None))
    wrong = ({"trails": 3}, {"trials": {"grid": [1]}}, {"budget": {"evals": 1}}, {"spaces": {"ga": {"elites": 3}}})
    assert not any(valid({**STUDY, "tune": tune}) for tune in wrong)
    section = json_schema()["$defs"]["Tune"]["properties"]
    assert all(section[name]["description"] for name in section)
