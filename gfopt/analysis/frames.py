"""How the tables of a study are read: cells, arms, metrics and what a failed run counts as.

A *cell* is a problem with its own grid values (everything but `options.`); an *arm* of a cell is an
optimizer. A run that did not end `ok` is never dropped: its result counts as the worst possible value of
the metric.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gfopt.analysis.norms import norm_names
from gfopt.analysis.statistics import Floats
from gfopt.errors import DataError, expectation

AXES = ("forward_equivalents", "evaluations", "seconds")

# Grid options of a problem whose path has no dot; every other grid column is recognised by its dot.
_UNDOTTED = (
    "batch_size", "batch_order", "bn_mode", "dropout", "precision", "objective", "importance", "trainable",
    "optimizers", "dataset", "network", "function",
)  # fmt: skip
_DIAGNOSTIC = ("problem", "repeat", "quantity", "layer", "name", "value")
_BOUNDED = ("accuracy", "f1", "auc", "precision", "recall")
_LOWER = ("loss", "error", "rmse", "mse", "mae", "deviance")
_HEADLINE = ("accuracy", "rmse", "r2", "loss")


@dataclass(frozen=True)
class Cell:
    """A problem with its grid values.

    Attributes:
        problem: its name.
        grid: `(column, value as text)` for every grid option that applies.
        norm: the name of the normalization (`norms.norm_name`), if the study varies one.
        names: short names of the grid options.
        shown: the values as they read, a normalization by its name.
    """

    problem: str
    grid: tuple[tuple[str, str], ...] = ()
    norm: str | None = None
    names: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def panel(self) -> str:
        """The problem and its grid values other than the normalization: what shares a picture."""
        return self._joined(with_norm=False)

    @property
    def label(self) -> str:
        """The problem and all its grid values."""
        return self._joined(with_norm=True)

    def _joined(self, *, with_norm: bool) -> str:
        parts = zip(self.names, self.grid, self.shown, strict=True)
        shown = [f"{name}={value}" for name, (column, _), value in parts if with_norm or not is_norm(column)]
        return ", ".join([self.problem, *shown])


def is_norm(column: str) -> bool:
    """Whether a grid column varies the normalization."""
    return column.rsplit(".", 1)[-1] == "norm"


def cell_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that tell the cells of a problem apart: grid options that are not an optimizer's."""
    columns = [str(column) for column in frame.columns if column not in _DIAGNOSTIC]
    grid = [c for c in columns if ("." in c and not c.startswith(("options.", "budget."))) or c in _UNDOTTED]
    if "dim" in columns and "status" in columns and _dim_varies(frame, grid):
        grid.append("dim")  # `dim: {grid: [2, 10]}` of a function shares its column with the parameter count
    return grid


def _dim_varies(frame: pd.DataFrame, grid: list[str]) -> bool:
    known = frame.loc[frame["dim"].notna()]
    if known.empty:
        return False
    keys = [known["problem"].astype(str), *(known[c].map(text) for c in grid)]
    return bool((known["dim"].groupby(keys, sort=False).nunique() > 1).any())


def split_cells(frame: pd.DataFrame) -> list[tuple[Cell, pd.DataFrame]]:
    """The cells in order of appearance, each with its rows."""
    if frame.empty:
        return []
    columns = cell_columns(frame)
    names = dict(zip(columns, short_names(columns), strict=True))
    keys = [frame["problem"].astype(str), *(frame[column].map(text) for column in columns)]
    read = {
        column: norm_names(values.unique()) for column, values in zip(columns, keys[1:], strict=True) if is_norm(column)
    }
    found = []
    for key, rows in frame.groupby(keys, sort=False):
        values = key if isinstance(key, tuple) else (key,)
        grid = tuple((c, str(v)) for c, v in zip(columns, values[1:], strict=True) if v != "")
        norm = next((read[column][value] for column, value in grid if is_norm(column)), None)
        shown = tuple(_enclosed(read[c][v]) if is_norm(c) else v for c, v in grid)
        found.append((Cell(str(values[0]), grid, norm, tuple(names[c] for c, _ in grid), shown), rows))
    return found


def _enclosed(name: str) -> str:
    """A name with commas in brackets, as parts of a label are separated by commas."""
    return f"[{name}]" if ", " in name.partition(" (")[0] else name


def arms(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The optimizers of a cell's rows in order of appearance, each with its runs."""
    return [(str(name), group) for name, group in rows.groupby("optimizer", sort=False)]


def text(value: object) -> str:
    """A grid value as text; empty where the option does not apply."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column of integers with gaps is a column of floats
    if isinstance(value, list | tuple | dict | np.ndarray):
        return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value, separators=(",", ":"))
    return str(value)


def short_names(columns: Iterable[str]) -> list[str]:
    """Last parts of dotted paths, or the whole path where two would read the same."""
    paths = list(columns)
    count = Counter(path.rsplit(".", 1)[-1] for path in paths)
    return [path.rsplit(".", 1)[-1] if count[path.rsplit(".", 1)[-1]] == 1 else path for path in paths]


def higher_is_better(metric: str) -> bool:
    """Direction of a metric by its name: losses and errors are minimized, scores are maximized."""
    name = metric.removeprefix("test_").removeprefix("validation_").removeprefix("train_")
    return not any(name.endswith(word) for word in _LOWER)


def worst(metric: str) -> float:
    """What a failed run counts as: 0 for a share such as accuracy, else infinitely bad."""
    if not higher_is_better(metric):
        return math.inf
    return 0.0 if metric.endswith(_BOUNDED) else -math.inf


def as_loss(values: Floats, metric: str) -> Floats:
    """The values with lower being better."""
    return -values if higher_is_better(metric) else values


def headline(runs: pd.DataFrame) -> str:
    """The metric that a problem is reported on: a held-out score where there is one, else the loss.

    Where the study's own loss is what counts (column `judged_by`), it is that loss on held-out data.
    """
    if "judged_by" in runs.columns and set(runs["judged_by"].dropna().astype(str)) == {"loss"}:
        held_out = [c for c in ("test_loss", "validation_loss") if c in runs.columns and runs[c].notna().any()]
        return (*held_out, "loss")[0]
    for split in ("test_", "validation_"):
        scored = [str(c) for c in runs.columns if str(c).startswith(split) and runs[c].notna().any()]
        for name in (*(split + known for known in _HEADLINE), *scored):
            if name in scored and name != "test_loss":
                return name
        if scored:
            return scored[0]
    return "loss"


def failed(runs: pd.DataFrame) -> pd.Series[bool]:
    """Which runs did not end `ok`."""
    return runs["status"].astype(str) != "ok"


def shares_seconds(runs: pd.DataFrame) -> pd.Series[bool]:
    """Which runs were computed together with others, so that their seconds compare with no other run's."""
    if "seconds_shared" not in runs.columns:
        return pd.Series(False, index=runs.index)
    return runs["seconds_shared"].isin([True])  # empty for a run of before there was such a column


def comparable(runs: pd.DataFrame, axis: str) -> bool:
    """Whether the runs compare on a cost axis: on seconds only if each has its own."""
    return axis != "seconds" or not shares_seconds(runs).any()


def final_values(runs: pd.DataFrame, metric: str) -> Floats:
    """`(n,)` final values of a metric, one a run; a run that failed or has none counts as the worst value."""
    if metric not in runs.columns:
        raise DataError(
            "metric: " + expectation("a column of the runs", metric, f"There are: {', '.join(map(str, runs.columns))}.")
        )
    values = runs[metric].to_numpy(dtype=float, na_value=np.nan).copy()
    values[failed(runs).to_numpy(dtype=bool) | np.isnan(values)] = worst(metric)
    return values


def gradient_optimizers(runs: pd.DataFrame) -> set[str]:
    """Names of the optimizers that pass samples backward, or whose kind does in another run of the study.

    By kind too, because a run that crashed at once shows nothing.
    """
    if "backward_samples" not in runs.columns:
        return set()
    kind = runs["kind"].fillna(runs["optimizer"]) if "kind" in runs.columns else runs["optimizer"]
    kinds = set(kind[runs["backward_samples"].fillna(0) > 0])
    return set(runs.loc[kind.isin(kinds), "optimizer"].astype(str))
