"""Checks of a study that need to import losses or data sources, so that they run when the study is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gfopt import registry
from gfopt.config.messages import Issue, Place, raise_issues
from gfopt.config.models import SupervisedConfig
from gfopt.config.schema import StudyConfig
from gfopt.errors import expectation


def check_tasks(config: StudyConfig) -> None:
    """Refuse a loss that says nothing about its named data set, as cross-entropy about a regression.

    Raises:
        ConfigError: with every such pair and the losses that fit.
    """
    issues: list[Issue] = []
    for cell in config.problem_cells:
        problem = cell.config
        if not isinstance(problem, SupervisedConfig) or not isinstance(problem.dataset, Mapping):
            continue
        dataset = problem.dataset.get("name")
        task = registry.datasets.get(dataset).task if isinstance(dataset, str) else problem.dataset.get("task")
        if task is None:  # a file's task is known once it is read; the problem checks it then
            continue
        for path, loss in _named_losses(problem):
            if task not in registry.losses.get(loss).tasks:
                fitting = [name for name in registry.losses.loadable() if task in registry.losses.get(name).tasks]
                wanted = f"a loss for {task}, which {dataset or problem.dataset['path']} is"
                issues.append(cell.issue(path, expectation(wanted, loss, f"Use one of {', '.join(fitting)}.")))
    raise_issues(issues, lambda _: config.source)


def _named_losses(problem: SupervisedConfig) -> Iterator[tuple[Place, str]]:
    given: dict[Place, object] = {("loss",): problem.loss}
    if problem.objective is not None:
        given = {
            ("objective", "loss"): problem.objective.loss,
            ("objective", "surrogate"): problem.objective.surrogate,
        }
    yield from ((path, loss) for path, loss in given.items() if isinstance(loss, str))
