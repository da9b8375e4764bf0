"""From the checked description of a problem to the problem itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from gfopt.config import CodeReference, FunctionConfig, ProblemCell, SupervisedConfig
from gfopt.data import Dataset, load_spec
from gfopt.errors import ConfigError, expectation, located
from gfopt.problems import FunctionProblem, Problem, SubspaceProblem, SupervisedProblem


def load_data(cell: ProblemCell, seed: int) -> Dataset | None:
    """The cell's data set, `None` for a function.

    Args:
        cell: one problem with its grid values.
        seed: the study's; the split depends on it alone.
    """
    if isinstance(cell.config, FunctionConfig):
        return None
    given = cell.config.dataset
    with located(f"problems.{cell.label}.dataset"):
        if isinstance(given, Dataset):
            return given
        if isinstance(given, str | Mapping):
            return load_spec({"name": given} if isinstance(given, str) else given, seed)
        raise ConfigError(
            expectation("a mapping as {name: digits}, or a Dataset", given, "gfopt.data.from_arrays makes one.")
        )


def data_file(cell: ProblemCell) -> str | None:
    """The path of the file that the cell's data come from, if they do."""
    given = getattr(cell.config, "dataset", None)
    path = given.get("path") if isinstance(given, Mapping) else None
    return None if path is None else str(path)


@contextmanager
def importable(folder: Path | None) -> Iterator[None]:
    """Modules in `folder` can be imported inside; afterwards they are forgotten, so that a changed one is read anew.

    Python looks there last: a file of the user's never stands in for a library.
    """
    if folder is None:
        yield
        return
    place, known = str(folder), set(sys.modules)
    sys.path.append(place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(place)
        top = {name for name, module in sys.modules.items() if name not in known and _lies_in(module, folder)}
        for name in [name for name in sys.modules if name.partition(".")[0] in top]:
            del sys.modules[name]


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Whether a module is a file of the folder itself, or a package in it."""
    file = getattr(module, "__file__", None)
    if "." in module.__name__ or file is None:
        return False
    return folder in (Path(file).parent, Path(file).parent.parent)


def build_problem(cell: ProblemCell, dataset: Dataset | None, *, dtype: str, device: str) -> Problem:
    """The problem of one cell.

    Raises:
        GfoptError: saying which problem does not fit together, and how to mend it.
    """
    config = cell.config
    with located(f"problems.{cell.label}"):
        if isinstance(config, FunctionConfig):
            problem: Problem = FunctionProblem.named(
                config.function.name, config.function.dim, dtype=dtype, device=device
            )
        else:
            assert dataset is not None
            problem = _supervised(config, dataset, dtype, device)
        if config.subspace is not None:
            problem = SubspaceProblem(problem, config.subspace.dim, seed=config.subspace.seed)
    return problem


def _supervised(config: SupervisedConfig, dataset: Dataset, dtype: str, device: str) -> SupervisedProblem:
    objective = config.objective
    return SupervisedProblem(
        _network(config.network),
        dataset,
        loss=config.loss,
        objective=None if objective is None else {k: v for k, v in dict(objective).items() if v is not None},
        batch_size=config.batch_size,
        device=device,
        dtype=dtype,
        precision=config.precision,
        batch_order=config.batch_order,
        dropout=config.dropout,
        bn_mode=config.bn_mode,
        sample_weight=config.sample_weight,
        importance=config.importance,
        trainable=config.trainable,
    )


def _network(given: Any) -> Any:
    """What `SupervisedProblem` takes; a reference to the user's own code is imported here."""
    if not isinstance(given, CodeReference):
        return given
    factory: Callable[..., Any] = given.load()
    return partial(factory, **given.options) if given.options else factory
