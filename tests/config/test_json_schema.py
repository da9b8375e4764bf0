from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gfopt import registry
from gfopt.config import json_schema, template
from gfopt.config.yaml_text import parse

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


@pytest.fixture(scope="module")
def valid(schema: dict[str, Any]):
    validator = jsonschema.Draft202012Validator(schema)
    return validator.is_valid


def test_it_is_a_valid_schema_of_its_dialect(schema) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(schema) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    defined = {f"#/$defs/{name.replace(' ', '%20')}" for name in schema["$defs"]}
    assert references(schema) <= defined
    assert defined - references(schema) == set()


def test_everything_registered_is_in_it(schema) -> None:
    for known in (registry.optimizers, registry.networks, registry.datasets):
        for name in known.names():
            options = schema["$defs"][f"{known.kind}.{name}"]
            assert options["additionalProperties"] is False
            assert options["description"]
    adam = schema["$defs"]["optimizer.adam"]["properties"]["learning_rate"]
    assert adam["description"]
    assert adam["default"] == 0.01


@pytest.mark.parametrize(
    "text",
    [template(), *(path.read_text() for path in CONFIGS)],
    ids=["template", *(p.name for p in CONFIGS)],
)
def test_studies_of_the_project_fit(valid, text: str) -> None:
    assert valid(parse(text))


def test_the_small_study_fits(valid, edited) -> None:
    assert valid(edited())


@pytest.mark.parametrize(
    "changes",
    [
        {"problems.deep.network": {"grid": [{"kind": "mlp"}, {"kind": "mlp", "hidden": [3]}]}},
        {"problems.deep.network.hidden": [{"grid": [8, 16]}, 4]},
        {"problems.deep.network.activation": {"kind": "leaky_relu", "slope": {"grid": [0.1, 0.2]}}},
        {"problems.deep.network": {"module": "pkg.mod:make", "depth": 3}},
        {"problems.deep.dataset": "moons"},
        {"problems.deep.dataset": {"path": "x.csv", "target": "label"}},
        {"problems.deep.loss": {"kind": "cost_matrix", "matrix": [[0, 1], [1, 0]]}},
        {"problems.deep.objective": {"loss": "f1_error", "surrogate": "cross_entropy"}},
        {"problems.deep.trainable": ["head.*"]},
        {"problems.deep.budget": {"flops": 1e9}},
        {"optimizers.ga": {"kind": {"grid": ["sgd", "adam"]}, "learning_rate": 0.1}},
        {"report.targets": [0.5, 0.1]},
        {"diagnostics": ["gradient-flow", "internal-covariate-shift"]},
        {"diagnostics": []},
    ],
)
def test_what_a_study_may_say_fits(valid, study, edited, changes) -> None:
    study(changes, allow_code=True)
    assert valid(edited(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"treads": 2},
        {"repeats": 0},
        {"repeats": {"grid": [1, 2]}},
        {"name": "a..b"},
        {"budget": {"evaluatons": 3}},
        {"budget": {"evaluations": -3}},
        {"problems": {}},
        {"problems.deep.network.kind": "mpl"},
        {"problems.deep.network.hiden": [3]},
        {"problems.deep.network.norm": "bathc"},
        {"problems.deep.network.norm": {"grid": []}},
        {"problems.deep.network.norm": {"grid": ["none", "none"]}},
        {"problems.deep.dataset.name": "digit"},
        {"problems.deep.dataset.test_fractoin": 0.1},
        {"problems.deep.loss": "cross_entrpy"},
        {"problems.deep.bn_mode": "refrence"},
        {"problems.deep.sample_weight": [1]},
        {"problems.ball.function.name": "spher"},
        {"optimizers.ga.kind": "deap-g"},
        {"optimizers.ga.popualtion": 8},
        {"optimizers.adam.learning_rate": {"grid": [0.1, -1]}},
        {"report.axis": "secs"},
        {"diagnostics": ["gradient-folw"]},
        {"diagnostics": "updates"},
    ],
)
def test_what_a_study_may_not_say_does_not_fit(valid, refused, edited, changes) -> None:
    refused(changes)
    assert not valid(edited(changes))
