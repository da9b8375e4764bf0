# ruff: noqa: E501 - one line for each case
from __future__ import annotations

import pytest

from gfopt.config.build import MAX_RUNS

BUDGET = "expected a budget, got none for deep. Add one for the whole study, as budget: {forward_equivalents: 1.0e6}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeats": 0}, "s.yaml: repeats: expected at least 1, got 0. Without this key it is 5."),
        ({"repeats": "3"}, "s.yaml: repeats: expected a whole number, got '3'. Write it without quotes."),
        ({"repeats": True}, "s.yaml: repeats: expected a whole number, got True"),
        ({"repeats": {"grid": [1, 2]}}, "s.yaml: repeats: expected one value, got a grid. A grid can stand inside a"),
        ({"seed": -1}, "s.yaml: seed: expected at least 0, got -1. Without this key it is 0."),
        ({"seed": {"grid": [1]}}, "s.yaml: seed: expected one value, got a grid."),
        ({"name": {"grid": ["a"]}}, "s.yaml: name: expected one value, got a grid."),
        ({"threads": 0}, "s.yaml: threads: expected at least 1, got 0."),
        ({"dtype": "float16"}, "s.yaml: dtype: expected one of 'float32', 'float64', got 'float16'. Did you mean"),
        ({"device": "gpu"}, "s.yaml: device: expected one of 'auto', 'cpu', 'cuda', got 'gpu'."),
        ({"treads": 2}, "s.yaml: treads: expected a known key, got 'treads'. Did you mean 'threads'?"),
        ({"name": "../up"}, "s.yaml: name: expected a name of letters, digits and _ . -"),
        ({"name": "a..b"}, "got 'a..b'. For example 'a.b'."),
        ({"name": "x" * 101}, "s.yaml: name: expected a name of at most 100 characters, got `101` characters"),
        ({"name": 3}, "s.yaml: name: expected text, got 3."),
        ({"budget": ...}, f"s.yaml: budget: {BUDGET}"),
        ({"budget": None}, f"s.yaml: budget: {BUDGET}"),
        ({"budget": {}}, "s.yaml: budget: expected a mapping of units to limits, as {evaluations: 20000}, got `an"),
        ({"budget": {"evaluations": -5}}, "s.yaml: budget.evaluations: expected a positive number, got -5. For example"),
        ({"budget": {"evaluations": "5"}}, "s.yaml: budget.evaluations: expected a positive number, got '5'."),
        ({"budget": {"evaluations": True}}, "s.yaml: budget.evaluations: expected a positive number, got True."),
        ({"budget": {"evaluatons": 5}}, "s.yaml: budget.evaluatons: expected a unit of the ledger, got 'evaluatons'. Did you mean 'evaluations'?"),
        ({"budget": {"evaluations": {"grid": [1]}}}, "s.yaml: budget.evaluations: expected one value, got a grid."),
        ({"problems.deep.budget": {"steps": 0}}, "s.yaml: problems.deep.budget.steps: expected a positive number, got 0."),
        ({"problems": {}}, "s.yaml: problems: expected at least one, got `none`. For example {mine: "),
        ({"problems": ...}, "s.yaml: problems: expected a value, got nothing: this key is required."),
        ({"problems": None}, "s.yaml: problems: expected a mapping from names to problems, got None."),
        ({"problems": {"grid": [1]}}, "s.yaml: problems: expected one value, got a grid."),
        ({"optimizers": {}, "report": {}}, "s.yaml: optimizers: expected at least one, got `none`. For example {adam: {kind: adam}}."),
        ({"optimizers": [1], "report": {}}, "s.yaml: optimizers: expected a mapping from names to optimizers, got [1]."),
        ({"optimizers.ga": 3}, "s.yaml: optimizers.ga: expected a mapping, as {key: value}, got 3"),
        ({"optimizers": {"a/b": {"kind": "adam"}}, "report": {}}, "s.yaml: optimizers.'a/b': expected a name of letters"),
        ({"problems.deep": {"grid": [{}]}}, "s.yaml: problems.deep: expected one entry, got a grid of entries."),
        ({"report.baseline": "adm"}, "s.yaml: report.baseline: expected the name of one of the optimizers, got 'adm'. Did you mean 'adam'?"),
        ({"report": {"targets": []}}, "s.yaml: report.targets: expected auto, or a list of different losses"),
        ({"report": {"targets": [0.1, 0.1]}}, "s.yaml: report.targets: expected auto, or a list of different losses"),
        ({"report": {"targets": "atuo"}}, "s.yaml: report.targets: expected one of 'auto' or a list, as [1, 2], got 'atuo'. Did you mean 'auto'?"),
        ({"report": {"axis": "second"}}, "s.yaml: report.axis: expected one of evaluations, "),
        ({"report": {"base_line": "ga"}}, "s.yaml: report.base_line: expected a known key, got 'base_line'. Did you mean 'baseline'?"),
    ],
)  # fmt: skip
def test_a_wrong_study_is_refused(refused, changes, message) -> None:
    text = refused(changes)
    assert message in text
    assert len(text.splitlines()) == 1


def test_everything_that_is_wrong_is_told_at_once(refused) -> None:
    changes = {
        "repeats": 0,
        "threds": 1,
        "problems.deep.network.activation": "tnah",
        "optimizers.ga.population": 1,
        "report.baseline": "x",
    }
    lines = refused(changes).splitlines()
    assert sorted(line.split(": ")[1] for line in lines) == [
        "optimizers.ga.population",
        "problems.deep.network.activation",
        "repeats",
        "report.baseline",
        "threds",
    ]
    assert all(line.startswith("s.yaml: ") and "expected" in line for line in lines)


def test_the_study_needs_no_budget_where_every_problem_has_one(study) -> None:
    config = study({"budget": ..., "problems.deep.budget": {"seconds": 3}})
    assert config.budget is None
    assert [cell.budget.limits() for cell in config.problem_cells] == [{"seconds": 3}] * 2 + [{"steps": 10}]


def test_a_study_of_too_many_runs_is_refused_before_it_is_expanded(refused) -> None:
    grid = {"grid": list(range(1, 1001))}
    text = refused({"problems.deep.batch_size": grid, "optimizers.ga.population": grid})
    # The deep problem has a grid of two norms as well, the other problem has none; adam has a grid of two.
    runs = (1000 * 2 + 1) * (1000 + 2) * 2
    assert f"expected at most {MAX_RUNS} runs, got `{runs}`: 2001 problems x 1002 optimizers x 2 repeats" in text
    assert "problems.deep alone makes 2000" in text
    assert f"at most {MAX_RUNS}" in refused({"repeats": MAX_RUNS})


def test_a_broken_grid_is_told_once(refused) -> None:
    assert refused({"problems.deep.network.norm": {"grid": []}}).splitlines() == [
        "s.yaml: problems.deep.network.norm: expected at least one value to try, got `an empty grid`. "
        "Write {grid: [first, second]} or a plain value."
    ]
