# ruff: noqa: E501 - one line for each case
from __future__ import annotations

import pytest

from gfopt.config import check_tasks
from gfopt.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"problems.deep.dataset": {"name": "diabetes"}},
            "s.yaml: problems.deep.loss: expected a loss for regression, which diabetes is, got 'cross_entropy'. Use",
        ),
        (
            {"problems.deep.loss": "mse"},
            "s.yaml: problems.deep.loss: expected a loss for classification, which digits is, got 'mse'. Use one of",
        ),
        (
            {"problems.deep.dataset": {"path": "x.csv", "task": "regression"}},
            "s.yaml: problems.deep.loss: expected a loss for regression, which x.csv is, got 'cross_entropy'.",
        ),
        (
            {"problems.deep.objective": {"loss": "f1_error", "surrogate": "mse"}},
            "s.yaml: problems.deep.objective.surrogate: expected a loss for classification, which digits is, got 'mse'.",
        ),
        (
            {"problems.deep.loss": {"grid": ["cross_entropy", "mse"]}},
            "s.yaml: problems.deep.loss: grid[1]: expected a loss for classification, which digits is, got 'mse'.",
        ),
    ],
)
def test_a_loss_for_another_task_is_refused_with_those_that_fit(study, changes, message) -> None:
    with pytest.raises(ConfigError) as caught:
        check_tasks(study(changes))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(message)
    assert ("mse" if "for regression" in message else "cross_entropy") in line.partition("Use one of")[2]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"problems.deep.dataset": {"name": "diabetes"}, "problems.deep.loss": "mse"},
        {"problems.deep.dataset": {"path": "x.csv"}},
        {"problems.deep.objective": {"loss": "f1_error", "surrogate": "cross_entropy"}},
        {"problems.deep.loss": {"kind": "cost_matrix", "matrix": [[0, 1], [1, 0]]}},
    ],
)
def test_what_fits_or_cannot_be_known_yet_passes(study, changes) -> None:
    check_tasks(study(changes))


def test_own_data_and_losses_are_left_to_the_problem(study) -> None:
    check_tasks(study({"problems.deep.dataset": object(), "problems.deep.loss": max}, live=True))
