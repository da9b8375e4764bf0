"""Checks of one problem or optimizer that need the class behind a name; only named classes are imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from gfopt import registry
from gfopt.config import chains
from gfopt.config.messages import Issue, Place, issue_of
from gfopt.config.models import CodeReference, FunctionConfig, Objective, ProblemConfig, SupervisedConfig
from gfopt.config.validation import validate
from gfopt.errors import GfoptError, expectation, suggestion
from gfopt.registry import Registry
from gfopt.trace import BUDGET_UNITS, Budget

SMALLEST_NORM_BATCH = 8
"""Rows below which a batch's statistics say too little to normalize by."""

_SUPERVISED_ONLY = tuple(name for name in SupervisedConfig.model_fields if name not in FunctionConfig.model_fields)


def problem(given: Any, issues: list[Issue], *, live: bool, allow_code: bool) -> ProblemConfig | None:
    """A problem with its defaults filled in, or `None` after adding what is wrong to `issues`.

    Args:
        given: the entry as plain data, without grids.
        issues: places are relative to the entry.
        live: let Python objects pass.
        allow_code: let a network name a module of the user's.
    """
    before = len(issues)
    if isinstance(given, Mapping) and "function" in given:
        return _function(given, issues)
    config = validate(SupervisedConfig, given, (), issues)
    if config is None:
        return None
    dataset = _dataset(config.dataset, issues, live=live)
    network, options = _network(config.network, issues, live=live, allow_code=allow_code)
    _objective(config, given, issues, live=live)
    _trainable(config.trainable, issues, live=live)
    if config.sample_weight is not None and not live:
        fix = "Give it from Python, in gfopt.Study(problems=...)."
        issues.append(Issue(("sample_weight",), expectation("no weights in a file", config.sample_weight, fix)))
    importance = _importance(config.importance, issues)
    if options is not None:
        _batch_statistics(config, options, issues)
    if len(issues) > before:
        return None
    return config.model_copy(update={"dataset": dataset, "network": network, "importance": importance})


def optimizer(
    given: Any, issues: list[Issue], *, others: Mapping[str, Any] | None = None
) -> tuple[str, BaseModel] | None:
    """The optimizer's kind and typed options, or `None` after adding what is wrong to `issues`.

    Args:
        given: the entry as plain data, without grids.
        issues: places are relative to the entry.
        others: all optimizers of the study by name, which a chain may name.
    """
    before = len(issues)
    given = chains.expanded(given, others or {}, issues)
    if len(issues) > before:
        return None
    chosen = _by_name(registry.optimizers, given, "kind", (), issues)
    if chosen is None:
        return None
    kind, options_class, rest = chosen
    options = validate(options_class, rest, (), issues)
    return None if options is None else (kind, options)


def budget(given: Any, path: Place, issues: list[Issue]) -> Budget | None:
    """A budget, or `None` if none is given or after adding what is wrong to `issues`."""
    if given is None:
        return None
    if not isinstance(given, Mapping) or not given:
        got = "`an empty mapping`" if isinstance(given, Mapping) else given
        issues.append(Issue(path, expectation("a mapping of units to limits, as {evaluations: 20000}", got)))
        return None
    limits: dict[str, Any] = {}
    wrong: list[Issue] = []
    for unit, limit in given.items():
        if unit not in BUDGET_UNITS:
            known = suggestion(unit, BUDGET_UNITS)
            wrong.append(Issue((*path, unit), expectation("a unit of the ledger", unit, known)))
        elif isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= 0:
            wrong.append(Issue((*path, unit), expectation("a positive number", limit, f"For example {unit}: 20000.")))
        else:
            limits[unit] = limit
    issues.extend(wrong)
    return None if wrong else Budget(**limits)


def _function(given: Mapping[str, Any], issues: list[Issue]) -> FunctionConfig | None:
    clash = [name for name in _SUPERVISED_ONLY if name in given]
    if not clash:
        return validate(FunctionConfig, given, (), issues)
    got = f"`function` beside {', '.join(clash)}"
    wanted = "either function, or dataset and network"
    issues.append(Issue(("function",), expectation(wanted, got, "Make two problems of it.")))
    return None


def _by_name(
    known: Registry, given: Any, key: str, path: Place, issues: list[Issue]
) -> tuple[str, type[BaseModel], dict[str, Any]] | None:
    """The name under `key`, the options class behind it, and the options themselves."""
    example = f"{{{key}: {known.names()[0]}}}"
    if not isinstance(given, Mapping):
        issues.append(Issue(path, expectation(f"a mapping, as {example}", given)))
        return None
    if key not in given:
        near = suggestion(key, [name for name in given if isinstance(name, str)])
        fix = f"{near} " if near.startswith("Did") else ""
        text = f"expected the name of a known {known.kind}, got nothing. {fix}Add it, as {example}."
        issues.append(Issue((*path, key), text))
        return None
    name = given[key]
    try:
        options_class: type[BaseModel] = known.get(name).options_class
    except GfoptError as error:
        issues.append(issue_of(error, (*path, key)))
        return None
    return name, options_class, {option: value for option, value in given.items() if option != key}


def _dataset(given: Any, issues: list[Issue], *, live: bool) -> Any:
    path: Place = ("dataset",)
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping):
        if not live or _is_plain(given):
            issues.append(
                Issue(path, expectation("a mapping, as {name: digits} or {path: data.csv, target: y}", given))
            )
        return given
    if "path" in given and "name" in given:
        issues.append(Issue(path, expectation("either name or path", "`both`", "A name is of `gfopt list datasets`.")))
        return given
    from gfopt import data  # imports pandas and scikit-learn, which a study of test functions does without

    if "path" in given:
        options_class: type[data.DatasetOptions] = data.FileOptions
    elif "name" not in given:
        wanted = "the key name, as {name: digits}, or the key path, as {path: data.csv, target: y}"
        issues.append(Issue(path, expectation(wanted, f"`{', '.join(given) or 'no key'}`")))
        return given
    else:
        try:
            options_class = data.named_options(registry.datasets.check(given["name"]))
        except GfoptError as error:
            issues.append(issue_of(error, (*path, "name")))
            return given
    if validate(options_class, given, path, issues) is not None:
        try:
            data.options_of(given)  # what only the two fractions together can get wrong
        except GfoptError as error:
            issues.append(issue_of(error, path))
    return dict(given)


def _importance(given: Any, issues: list[Issue]) -> dict[str, Any] | None:
    """The weights against covariate shift as plain data, defaults filled in; `None` for none."""
    if given is None:
        return None
    from gfopt.data import ImportanceOptions  # as in `_dataset`

    options = validate(ImportanceOptions, given, ("importance",), issues)
    return None if options is None else options.model_dump()


def _network(given: Any, issues: list[Issue], *, live: bool, allow_code: bool) -> tuple[Any, BaseModel | None]:
    """The network as the study keeps it, and its typed options if it is a registered one."""
    path: Place = ("network",)
    if not isinstance(given, Mapping):
        if not live or not callable(given):
            wanted = "a mapping, as {kind: mlp, hidden: [32]}" + (", an nn.Module or a factory of one" if live else "")
            issues.append(Issue(path, expectation(wanted, given)))
        return given, None
    if "module" in given and "kind" not in given:
        reference = {"module": given["module"], "options": {k: v for k, v in given.items() if k != "module"}}
        if not allow_code:
            wanted = "a network that gfopt has, as {kind: mlp}"
            got = f"`{given['module']}`, code of your own"
            fix = "If you trust the file, run it with --allow-code."
            issues.append(Issue((*path, "module"), expectation(wanted, got, fix)))
            return given, None
        return validate(CodeReference, reference, path, issues), None
    chosen = _by_name(registry.networks, given, "kind", path, issues)
    if chosen is None:
        return given, None
    return dict(given), validate(chosen[1], chosen[2], path, issues)


def _objective(config: SupervisedConfig, given: Mapping[str, Any], issues: list[Issue], *, live: bool) -> None:
    if config.objective is None:
        _loss(config.loss, ("loss",), issues, live=live)
        return
    if "loss" in given:
        fix = "Keep objective: {loss: ..., surrogate: ...} alone."
        issues.append(Issue(("loss",), expectation("either loss or objective", "`both`", fix)))
    for name in Objective.model_fields:
        value = getattr(config.objective, name)
        if value is not None or name == "loss":
            _loss(value, ("objective", name), issues, live=live)


def _loss(given: Any, path: Place, issues: list[Issue], *, live: bool) -> None:
    if live and callable(given):
        return
    table = given if isinstance(given, Mapping) else {"kind": given}
    where = (*path, "kind") if table is given else path
    try:
        kind = registry.losses.check(table.get("kind"))
    except GfoptError as error:
        issues.append(issue_of(error, where))
        return
    if kind == "cost_matrix":
        _cost_matrix(table, path, issues)


def _cost_matrix(given: Mapping[str, Any], path: Place, issues: list[Issue]) -> None:
    for key in given:
        if key not in ("kind", "matrix"):
            issues.append(Issue((*path, key), expectation("a known key", key, suggestion(key, ("kind", "matrix")))))
    matrix = given.get("matrix")
    rows = matrix if isinstance(matrix, list) else []
    square = len(rows) > 1 and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
    if not square or not all(isinstance(v, int | float) and not isinstance(v, bool) for row in rows for v in row):
        wanted = "a square matrix of numbers, row i the costs where class i is right, as [[0, 1], [5, 0]]"
        got = "`nothing`" if matrix is None else matrix
        issues.append(Issue((*path, "matrix"), expectation(wanted, got)))


def _trainable(given: Any, issues: list[Issue], *, live: bool) -> None:
    patterns = [given] if isinstance(given, str) else given
    if patterns is None or (live and callable(patterns)):
        return
    if not isinstance(patterns, list) or not patterns or not all(isinstance(one, str) and one for one in patterns):
        issues.append(
            Issue(
                ("trainable",),
                expectation("a pattern, as head.*, or a list of them", given, "Leave it out to train all."),
            )
        )


def _batch_statistics(config: SupervisedConfig, options: BaseModel, issues: list[Issue]) -> None:
    """Refuse statistics over a handful of rows: with two rows they leave only a sign."""
    if config.batch_size is None or config.batch_size >= SMALLEST_NORM_BATCH or config.bn_mode != "batch":
        return
    given = getattr(options, "norm", None)
    for kind in {getattr(norm, "kind", None) for norm in (given if isinstance(given, tuple) else (given,))}:
        if getattr(registry.norms.get(kind) if kind else None, "of_batch", False):
            fix = "Use a larger batch, norm: layer, rms or weight, or bn_mode: reference."
            wanted = f"at least {SMALLEST_NORM_BATCH} rows for {kind} normalization"
            issues.append(Issue(("batch_size",), expectation(wanted, config.batch_size, fix)))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | list)
