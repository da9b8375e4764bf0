"""A JSON schema of study files, so that editors can complete keys and mark mistakes."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gfopt import registry
from gfopt.config.grid import GRID
from gfopt.config.models import (
    NAME_LENGTH,
    NAME_PATTERN,
    CodeReference,
    EarlyStopping,
    FunctionConfig,
    Range,
    Report,
    Settings,
    SupervisedConfig,
    Tune,
)
from gfopt.diagnostics.kinds import KINDS
from gfopt.trace import BUDGET_UNITS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME: Schema = {"pattern": rf"^(?!.*\.\.){NAME_PATTERN}$", "maxLength": NAME_LENGTH}
_WITHOUT_GRIDS = ("Report", "EarlyStopping", "Tune", "Range", "Budget")
_ANNOTATIONS = ("title", "description", "default", "examples")


def json_schema() -> Schema:
    """The schema of a study file, JSON Schema draft 2020-12.

    Imports every registered optimizer, network and data set for their options; knows nothing of those that cannot be
    imported here. Like `from_mapping` it refuses unknown keys and admits `{grid: [...]}` for any value inside a problem
    or an optimizer; what only a computation can tell (values that do not fit together) it lets pass.
    """
    options = _option_models()
    named: dict[str, type[BaseModel]] = {
        "Settings": Settings,
        "Report": Report,
        "EarlyStopping": EarlyStopping,
        "Tune": Tune,
        "Range": Range,
        "problem.data": SupervisedConfig,
        "problem.function": FunctionConfig,
    }
    definitions = _definitions({**named, **options})
    settings = definitions.pop("Settings")
    _specialize(definitions, options)
    definitions = {
        name: schema if name in _WITHOUT_GRIDS else _with_grids(schema) for name, schema in definitions.items()
    }
    properties = settings["properties"]
    properties["name"] |= _NAME
    properties["budget"] |= {"$ref": "#/$defs/Budget"}
    properties["problems"] |= _section({"anyOf": [_ref("problem.data"), _ref("problem.function")]})
    known = _chosen("optimizer", "kind", registry.optimizers.loadable())
    properties["optimizers"] |= _section({"anyOf": [known, _chain()]})
    properties["diagnostics"]["items"] = {"enum": list(KINDS)}
    for name, model in (("early_stopping", "EarlyStopping"), ("tune", "Tune")):
        properties[name] = {"anyOf": [_ref(model), {"type": "null"}], "description": properties[name]["description"]}
    properties["report"] = _ref("Report") | {"description": properties["report"]["description"]}
    return {"$schema": DIALECT, **settings, "title": "gfopt study", "$defs": definitions}


def _option_models() -> dict[str, type[BaseModel]]:
    """The options of everything that has a name, by `optimizer.adam`."""
    from gfopt.data import FileOptions, ImportanceOptions, named_options

    models: dict[str, type[BaseModel]] = {"dataset file": FileOptions, "importance": ImportanceOptions}
    for known in (registry.optimizers, registry.networks, registry.norms):
        models |= {f"{known.kind}.{name}": known.get(name).options_class for name in known.loadable()}
    return models | {f"dataset.{name}": named_options(name) for name in registry.datasets.loadable()}


def _definitions(models: dict[str, type[BaseModel]]) -> dict[str, Schema]:
    """The models' schemas under their keys, and those that they refer to under pydantic's."""
    unique = list(dict.fromkeys(models.values()))
    references, made = models_json_schema([(model, "validation") for model in unique], ref_template="#/$defs/{model}")
    found: dict[str, Schema] = made["$defs"]
    result = {}
    for key, model in models.items():
        name = str(references[model, "validation"]["$ref"]).rpartition("/")[2]
        result[key] = _described(found[name], model)
    # pydantic lists the models behind an option that says its own schema too, though nothing refers to them.
    text = json.dumps(made)
    inner = {name: schema for name, schema in found.items() if f'"#/$defs/{name}"' in text}
    return {**result, **{name: schema for name, schema in inner.items() if name not in {m.__name__ for m in unique}}}


def _described(schema: Schema, model: type[BaseModel]) -> Schema:
    """A copy of `schema` whose properties carry what the docstrings say of them."""
    notes: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        document = inspect.cleandoc(owner.__dict__.get("__doc__") or "")
        section = document.partition("Attributes:\n")[2].partition("\n\n")[0]
        for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, flags=re.MULTILINE):
            notes |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    properties = {
        key: {**({"description": notes[key]} if key in notes else {}), **value}
        for key, value in schema.get("properties", {}).items()
    }
    summary = inspect.cleandoc(model.__doc__ or model.__name__).partition("\n")[0]
    return {**schema, "properties": properties, "description": summary}


def _specialize(definitions: dict[str, Schema], options: Iterable[str]) -> None:
    """Say what pydantic cannot know: which names exist, and what stands behind each."""
    for key in options:
        kind, _, name = key.partition(".")
        if kind in ("optimizer", "network", "norm"):
            schema = definitions[key]
            schema["properties"] = {**schema["properties"], "kind": {"const": name}}
            schema["required"] = sorted({"kind", *schema.get("required", [])})
        if kind == "network" and "norm" in definitions[key]["properties"]:
            definitions[key]["properties"]["norm"] |= _norm()
    definitions["Function"]["properties"]["name"]["enum"] = list(registry.functions.loadable())
    definitions["Report"]["properties"]["axis"]["enum"] = list(BUDGET_UNITS)
    definitions["EarlyStopping"]["properties"]["unit"]["enum"] = list(BUDGET_UNITS)
    definitions["Budget"] = _budget()
    definitions["Tune"]["properties"]["budget"] |= _ref("Budget")
    definitions["problem.function"]["properties"]["budget"] |= _ref("Budget")
    definitions["problem.data"]["properties"]["budget"] |= _ref("Budget")
    weights = definitions["importance"]["properties"]["weights"]
    weights["enum"] = [*weights["enum"], True]  # YAML reads `true` as a truth value
    del weights["type"]
    _specialize_problem(definitions["problem.data"]["properties"], definitions["Objective"]["properties"])


def _chain() -> Schema:
    """Optimizers of the study, or kinds, one after the other."""
    stage = {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}
    stages = {"type": "array", "minItems": 2, "items": {"anyOf": [{"type": "string"}, stage]}}
    properties = {"chain": _or_grid({**stages, "description": "optimizers that hand the best over, in their order"})}
    return {"type": "object", "properties": properties, "required": ["chain"], "additionalProperties": False}


def _norm() -> Schema:
    """A norm in any of its spellings: one for all layers, or a list."""
    names = list(registry.norms.loadable())
    one = [{"enum": names}, _chosen("norm", "kind", names)]
    return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]}


def _specialize_problem(problem: Schema, objective: Schema) -> None:
    """The same for the values that are of several kinds."""
    del problem["sample_weight"]  # from Python only
    data = registry.datasets.loadable()
    problem["dataset"] |= {"anyOf": [{"enum": list(data)}, _chosen("dataset", "name", data), _ref("dataset file")]}
    module = CodeReference.model_json_schema()["properties"]["module"]
    code = {
        "type": "object",
        "properties": {"module": module},
        "required": ["module"],
        "not": {"required": ["kind"]},
    }
    problem["network"] |= {"anyOf": [_chosen("network", "kind", registry.networks.loadable()), code]}
    losses = [{"enum": list(registry.losses.loadable())}, _table("kind", registry.losses.loadable())]
    problem["loss"] |= {"anyOf": losses}
    objective["loss"] |= {"anyOf": losses}
    objective["surrogate"] |= {"anyOf": [*losses, {"type": "null"}]}
    problem["importance"] |= {"anyOf": [_ref("importance"), {"type": "null"}]}
    patterns = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    problem["trainable"] |= {"anyOf": [{"type": "string"}, patterns, {"type": "null"}]}


def _budget() -> Schema:
    limit = {"type": "number", "exclusiveMinimum": 0}
    return {
        "description": "upper limits of a run's cost; with several, whichever comes first",
        "type": ["object", "null"],
        "properties": {unit: {**limit, "description": f"most {unit.replace('_', ' ')}"} for unit in BUDGET_UNITS},
        "additionalProperties": False,
        "minProperties": 1,
    }


def _section(entry: Schema) -> Schema:
    return {"type": "object", "minProperties": 1, "propertyNames": _NAME, "additionalProperties": entry}


def _chosen(owner: str, key: str, names: Iterable[str]) -> Schema:
    """A mapping whose value at `key` says which definition it follows; a grid of names may follow several."""
    branches = [
        {"if": {"properties": {key: {"const": name}}, "required": [key]}, "then": _ref(f"{owner}.{name}")}
        for name in names
    ]
    return {**_table(key, names), "allOf": branches}


def _table(key: str, names: Iterable[str]) -> Schema:
    return {"type": "object", "properties": {key: _or_grid({"enum": list(names)})}, "required": [key]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name.replace(' ', '%20')}"}


def _with_grids(schema: Schema) -> Schema:
    """`schema` where every property and every item may be a grid instead."""
    changed = dict(schema)
    if "properties" in schema:
        changed["properties"] = {key: _or_grid(_with_grids(value)) for key, value in schema["properties"].items()}
    if "items" in schema:
        changed["items"] = _or_grid(_with_grids(schema["items"]))
    if "anyOf" in schema:
        changed["anyOf"] = [_with_grids(alternative) for alternative in schema["anyOf"]]
    return changed


def _or_grid(schema: Schema) -> Schema:
    """`schema`, or a grid of values that fit it; what describes the key stays outside, where editors look."""
    if any(GRID in one.get("properties", {}) for one in schema.get("anyOf", ())):
        return schema
    value = {key: part for key, part in schema.items() if key not in _ANNOTATIONS}
    grid = {
        "type": "object",
        "properties": {GRID: {"type": "array", "minItems": 1, "uniqueItems": True, "items": value}},
        "required": [GRID],
        "additionalProperties": False,
    }
    return {**{key: schema[key] for key in _ANNOTATIONS if key in schema}, "anyOf": [value, grid]}
