# ruff: noqa: SIM905 - one line for each case, words
"""Whatever is given, a study comes back or one error with a sentence; nothing else."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.config import from_mapping
from gfopt.errors import ConfigError

SCALAR = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5)
WORD = st.sampled_from(
    "name seed repeats budget problems optimizers report grid kind network dataset function loss objective subspace "
    "dim hidden norm activation batch_size bn_mode baseline targets module path target mlp digits sphere adam sgd "
    "evaluations steps cross_entropy cost_matrix matrix none batch tanh trainable sample_weight leaky_relu".split()
)
VALUE = st.recursive(
    SCALAR | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD | SCALAR, inner, max_size=4),
    max_leaves=12,
)
STUDY: dict[str, Any] = {
    "budget": {"evaluations": 10},
    "problems": {
        "deep": {
            "dataset": {"name": "moons", "samples": 50},
            "network": {"kind": "mlp", "hidden": [4, {"grid": [2, 3]}], "norm": "batch"},
            "objective": {"loss": "f1_error", "surrogate": "cross_entropy"},
            "subspace": {"dim": 3},
            "batch_size": 16,
        },
        "ball": {"function": {"name": "sphere", "dim": 2}},
    },
    "optimizers": {
        "adam": {"kind": "adam", "learning_rate": {"grid": [0.1, 0.2]}},
        "ga": {"kind": "deap-ga"},
    },
    "report": {"baseline": "ga", "targets": [0.1]},
}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


def read(study: Any) -> None:
    try:
        config = from_mapping(study)
    except ConfigError as error:
        refusal = str(error)
    else:
        assert from_mapping(config.resolved()) == config
        return
    assert all(line.startswith(("study: ", "... and ")) for line in refusal.splitlines())
    assert "expected" in refusal
    assert "pydantic" not in refusal


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(WORD | SCALAR, VALUE, max_size=6))
def test_any_mapping(study: Any) -> None:
    read(study)


@settings(deadline=None, max_examples=50)
@given(VALUE)
def test_anything_at_all(study: Any) -> None:
    read(study)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_good_study_with_any_value_at_any_place(data: st.DataObject) -> None:
    study = copy.deepcopy(STUDY)
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from(paths(study)[1:]))
        here: Any = study
        for part in path:
            here = here[part]
        here[last] = data.draw(VALUE)
    read(study)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(["", "problems", "problems.deep", "problems.deep.network", "optimizers.ga", "report"]),
    VALUE,
    WORD,
)
def test_a_good_study_with_any_key_added(where: str, value: Any, key: str) -> None:
    study = copy.deepcopy(STUDY)
    here: Any = study
    for part in filter(None, where.split(".")):
        here = here[part]
    here[key] = value
    read(study)
