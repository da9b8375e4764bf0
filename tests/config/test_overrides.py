# ruff: noqa: E501 - one line for each case
from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.config import load
from gfopt.config.overrides import apply
from gfopt.errors import ConfigError

FILE = """
budget: {evaluations: 100}
problems:
  ball: {function: {name: sphere, dim: 3}}
  v1.2: {dataset: {name: moons}, network: {kind: mlp, hidden: [8, 4], norm: {grid: [none, weight]}}, batch_size: 64}
optimizers:
  adam: {kind: adam}
  ga: {kind: deap-ga}
"""

DATA: dict[str, Any] = {
    "seed": 1,
    "problems": {
        "shallow": {"network": {"hidden": [32], "norm": {"grid": ["none", "batch"]}}, "batch_size": 256},
        "v1.2": {"batch_size": 1},
    },
    "optimizers": {"ga": {"kind": "deap-ga"}},
}


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=2", ("seed",), 2),
        ("threads=4", ("threads",), 4),
        ("problems.shallow.network.hidden=[64,64]", ("problems", "shallow", "network", "hidden"), [64, 64]),
        ("problems.shallow.network.hidden[0]=8", ("problems", "shallow", "network", "hidden", 0), 8),
        ("problems.shallow.network.hidden.0=8", ("problems", "shallow", "network", "hidden", 0), 8),
        ("problems.shallow.network.norm=layer", ("problems", "shallow", "network", "norm"), "layer"),
        (
            "problems.shallow.network.norm.grid[1]=rms",
            ("problems", "shallow", "network", "norm", "grid", 1),
            "rms",
        ),
        ("problems.shallow.batch_size=", ("problems", "shallow", "batch_size"), None),
        ("problems.shallow.loss=mse", ("problems", "shallow", "loss"), "mse"),
        ("problems.shallow.subspace.dim=5", ("problems", "shallow", "subspace", "dim"), 5),
        ("problems.v1.2.batch_size=9", ("problems", "v1.2", "batch_size"), 9),
        ("optimizers.ga.population=1e2", ("optimizers", "ga", "population"), 100.0),
        ("optimizers.ga.note=a=b", ("optimizers", "ga", "note"), "a=b"),
        ("budget.evaluations=1e6", ("budget", "evaluations"), 1e6),
        ("report={baseline: ga}", ("report",), {"baseline": "ga"}),
    ],
)
def test_a_value_is_put_at_its_path_and_nothing_else_changes(text: str, path: tuple[Any, ...], value: object) -> None:
    data = copy.deepcopy(DATA)
    assert apply(data, [text]) == [(path, text)]
    here: Any = data
    for part in path:
        here = here[part]
    assert here == value

    def without(whole: Any, keys: tuple[Any, ...]) -> Any:
        """`whole` with the value at the path blanked, and what was made on the way there."""
        if len(keys) == 1:
            return (
                {**whole, keys[0]: None}
                if isinstance(whole, dict)
                else [*whole[: keys[0]], None, *whole[keys[0] + 1 :]]
            )
        inner = whole.get(keys[0], {}) if isinstance(whole, dict) else whole[keys[0]]
        return {**whole, keys[0]: without(inner, keys[1:])}

    assert without(data, path) == without(DATA, path)


def test_overrides_apply_in_order() -> None:
    data = copy.deepcopy(DATA)
    apply(data, ["report={targets: auto}", "report.targets=[0.5]", "seed=3", "seed=4"])
    assert data["report"] == {"targets": [0.5]}
    assert data["seed"] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "--set seed: expected KEY=VALUE, as repeats=3, got 'seed'"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("seed=[1", "--set seed=[1: line 1, column 3: expected YAML"),
        ("seed=.nan", "--set seed=.nan: expected a finite number, got nan"),
        ("a..b=1", "expected keys separated by single dots"),
        ("problems.shalow.network.hidden=[1]", "got 'problems.shalow.network.hidden'. Did you mean problems.shallow.network.hidden?"),
        ("problems.other=1", "expected a path that exists in the study, got 'problems.other'"),
        ("optimizers.sgd={kind: sgd}", "expected a path that exists in the study, got 'optimizers.sgd'"),
        ("zzz.x=1", "got 'zzz.x'. Known there: seed, problems, optimizers."),
        ("problems.shallow.nothing.x=1", "expected a path that exists"),
        ("optimizers.ga.inner.x=1", "expected a path that exists"),
        ("problems.shallow.network.hidden[1]=8", "problems.shallow.network.hidden: expected a position below 1, got '1'"),
        ("problems.shallow.network.hidden.x=8", "problems.shallow.network.hidden: expected a position below 1, got 'x'"),
        ("problems.shallow.batch_size.x=8", "problems.shallow.batch_size: expected a mapping or a list to go into, got 256"),
    ],
)  # fmt: skip
def test_a_path_that_does_not_exist_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply(copy.deepcopy(DATA), [text])
    assert message in str(caught.value)


@settings(deadline=None, max_examples=50)
@given(st.text("abdeghinoprstuw.[]0=:{}", max_size=30))
def test_any_text_is_applied_or_refused(text: str) -> None:
    data = copy.deepcopy(DATA)
    try:
        ((path, given),) = apply(data, [text])
    except ConfigError:
        return
    assert given == text
    assert path


def test_a_known_key_that_the_file_leaves_out_can_be_set(written: Any) -> None:
    path = written(FILE)
    study = load(
        path,
        [
            "threads=2",
            "repeats=3",
            "problems.v1.2.bn_mode=reference",
            "optimizers.ga.population=64",
            "report.baseline=ga",
            "problems.ball.budget.steps=7",
            "problems.v1.2.network.norm=batch",
        ],
    )
    assert (study.threads, study.repeats, study.report.baseline) == (2, 3, "ga")
    ball, moons = study.problem_cells
    assert ball.budget.limits() == {"steps": 7}
    assert (moons.config.bn_mode, moons.config.network["norm"]) == ("reference", "batch")
    assert study.optimizer_cells[1].options.population == 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("treads=2", "treads: expected a known key, got 'treads'. Did you mean 'threads'?"),
        (
            "optimizers.ga.popultion=64",
            "optimizers.ga.popultion: expected a known key, got 'popultion'. Did you mean",
        ),
        ("problems.v1.2.batch_size=0", "problems.v1.2.batch_size: expected at least 1, got 0"),
        ("repeats=0", "repeats: expected at least 1, got 0"),
    ],
)
def test_a_wrong_override_is_named_beside_the_file(written: Any, override: str, message: str) -> None:
    path = written(FILE)
    with pytest.raises(ConfigError) as caught:
        load(path, [override])
    assert str(caught.value).startswith(f"{path} with --set {override}: {message}")


def test_an_override_can_mend_a_file(written: Any) -> None:
    path = written(FILE.replace("kind: deap-ga", "kind: deap-gaa"))
    assert load(path, ["optimizers.ga.kind=deap-ga"]).optimizer_cells[1].kind == "deap-ga"
