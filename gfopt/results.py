"""What a study left behind, as DataFrames, tables and sentences."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gfopt import analysis
from gfopt.errors import ConfigError, StoreError, expectation, suggestion
from gfopt.store import ResultsFolder
from gfopt.trace import LEDGER_UNITS

if TYPE_CHECKING:
    from torch import nn

    from gfopt.problems import Problem


IDENTITY = ("run", "problem", "optimizer", "repeat", "status", "message")


class Results:
    """The results folder of a study; reads it when something is asked for, imports no torch until `module`.

    Attributes:
        runs: one row a run: identity, grid values, status, ledger totals, final loss and scores.
        curves: one row a logged point, with the columns that say which run it belongs to.
        diagnostics: one row a measured number: `quantity`, `layer` (0 for one of the whole run), `name`, `value`,
            and where it was measured: the problem with its grid values, `repeat`, `optimizer`, `run`, `step`,
            `forward_equivalents`. At the starts, which belong to no run, `optimizer` and `run` are missing.
        tuning: one row a trial of a tuning: which one it is of, `trial`, `options.*`, `seed_*` (the metric of each
            tuning seed), `objective` (their median), `best` (that of the best trial so far), `status` and the ledger.
            Empty unless the study tunes.
        tuned: one row a problem cell and optimizer of a study that tunes: `status` (`untuned`, with the reason in
            `message`, where there was nothing to tune), `trials`, `sampler`, `metric`, `objective`, `default` (that of
            the defaults), the chosen `options.*`, the ledger of all trials, and beside it what the runs that use them
            have cost together: `runs`, `runs_evaluations`, `runs_forward_equivalents`, `runs_seconds`.
        study: the study as plain data.
        environment: what it ran on.
        path: the folder.

    Args:
        path: the folder.
        problems: what the runs were trained on, by key, where the study is at hand.

    Raises:
        StoreError: if the folder holds no results, or a file in it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, problems: Mapping[str, Problem] | None = None) -> None:
        folder = ResultsFolder.open(path)
        self.path: Path = folder.path
        self.study: dict[str, Any] = folder.study
        self.environment: dict[str, Any] = folder.environment
        self._folder = folder
        self._problems = dict(problems or {})
        runs, curves, diagnostics = folder.read_frames()
        self.runs = _with_columns(runs, IDENTITY, (*LEDGER_UNITS, "loss"))
        who = [c for c in self.runs.columns if c in ("run", "problem", "optimizer", "repeat") or c in self.grid_columns]
        self.curves: pd.DataFrame = curves.merge(self.runs[who], on="run", how="left") if len(curves) else curves
        self.diagnostics: pd.DataFrame = _diagnostics(diagnostics, self.runs[who])
        self.tuning, pairs = folder.tunings.frames()
        self.tuned: pd.DataFrame = analysis.with_costs_of_runs(pairs, self.runs)

    @property
    def grid_columns(self) -> list[str]:
        """Columns of `runs` that hold values from grids."""
        return [*analysis.cell_columns(self.runs), *(c for c in self.runs.columns if c.startswith("options."))]

    @property
    def baseline(self) -> str | None:
        """The optimizer that the study compares with."""
        return (self.study.get("report") or {}).get("baseline")

    @property
    def targets(self) -> Any:
        """The study's targets: `auto`, or losses."""
        return (self.study.get("report") or {}).get("targets", "auto")

    def summary(self, **options: Any) -> pd.DataFrame:
        """One row per problem cell and optimizer, every run counted; options as `gfopt.analysis.summary`."""
        given = {"baseline": self.baseline, "target_spec": self.targets, **options}
        return analysis.summary(self.runs, self.curves, **given)

    def verdicts(self) -> list[str]:
        """What the study says, in sentences."""
        return analysis.verdicts(
            self.runs, self.curves, self.diagnostics, baseline=self.baseline, target_spec=self.targets
        )

    def best_run(self, problem: str | None = None) -> str:
        """The key of the run with the best validation score, or lowest loss without validation data.

        Raises:
            ConfigError: if no run ended ok.
        """
        runs = self.runs[self.runs["status"] == "ok"]
        if problem is not None:
            known = self.runs["problem"].unique()
            if problem not in known:
                raise ConfigError(
                    "problem: " + expectation("a problem of the study", problem, suggestion(problem, known))
                )
            runs = runs[runs["problem"] == problem]
        if runs.empty:
            raise ConfigError(expectation("at least one run that ended ok", "none"))
        by_task = "judged_by" not in runs or "task" in set(runs["judged_by"])
        for column, sign in (("validation_accuracy", -1.0),) * by_task + (("validation_loss", 1.0),):
            if column in runs and runs[column].notna().any():
                return str(runs.sort_values([column, "loss"], ascending=[sign > 0, True], kind="stable")["run"].iloc[0])
        return str(runs.sort_values("loss", kind="stable")["run"].iloc[0])

    def module(self, run: str, network: nn.Module | None = None) -> nn.Module:
        """The trained network of a run, in evaluation mode, as it was scored.

        Args:
            run: the key, or enough of its beginning.
            network: a module of the right structure, for networks that were given as Python objects and are no
                longer at hand.

        Raises:
            ConfigError: for an unknown run, or a network that cannot be made again.
        """
        from gfopt.models import restore

        key = self._ended_ok(run)
        arrays, metadata = self._folder.read_best(key)
        return restore(arrays, metadata, self._live_network(key) if network is None else network)

    def export(self, run: str, path: str | os.PathLike[str]) -> Path:
        """Write a run's network as a safetensors file that `gfopt.load_model` and plain torch can load.

        Args:
            run: the key, or enough of its beginning.
            path: the file, as `model.safetensors`.

        Raises:
            ConfigError: for an unknown run, or one that did not end ok.
            StoreError: if the file cannot be written.
        """
        from gfopt.models import export

        return export(*self._folder.read_best(self._ended_ok(run)), path)

    def find(self, run: str) -> str:
        """The key of the one run whose key starts with `run`."""
        keys = [str(key) for key in self.runs["run"] if str(key).startswith(run)] if run else []
        if len(keys) != 1:
            got = f"{run}, which fits {len(keys)} runs" if keys else run
            raise ConfigError(
                "run: " + expectation("the key of a run of this study", got, "The column `run` lists them.")
            )
        return keys[0]

    def _ended_ok(self, run: str) -> str:
        """The key of a run that left a winner."""
        key = self.find(run)
        status = str(self.runs.set_index("run").loc[key, "status"])
        if status != "ok":
            got, fix = f"`{key}, whose status is {status}`", "The column `status` tells them apart."
            raise ConfigError("run: " + expectation("a run that ended ok", got, fix))
        return key

    def _live_network(self, key: str) -> nn.Module | None:
        """The structure of a network given from Python, while its study is at hand."""
        problem: Any = self._problems.get(key)
        while hasattr(problem, "problem"):  # a subspace stands in front of the network
            problem = problem.problem
        made: nn.Module | None = problem.template() if hasattr(problem, "template") else None
        return made

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {status}" for status, n in self.runs["status"].value_counts().items())
        return f"Results({str(self.path)!r}: {self.study.get('name')}, {len(self.runs)} runs: {counts})"

    def _repr_html_(self) -> str:
        sentences = "".join(f"<li>{_escape(sentence)}</li>" for sentence in self.verdicts())
        return (
            f"<h3>{_escape(str(self.study.get('name')))}</h3><ul>{sentences}</ul>{self.summary().to_html(index=False)}"
        )


def load_results(path: str | os.PathLike[str]) -> Results:
    """The results in a folder that `gfopt run` or `Study.run` has written.

    Raises:
        StoreError: if it is none, or a file in it is damaged.
    """
    return Results(path)


def _with_columns(frame: pd.DataFrame, texts: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """The frame with these columns, empty where it lacks them: no run has ended yet, or every one has failed."""
    kinds = {**dict.fromkeys(texts, "object"), **dict.fromkeys(numbers, "float64")}
    absent = {name: pd.Series(index=frame.index, dtype=kind) for name, kind in kinds.items() if name not in frame}
    return frame.assign(**absent)


def _diagnostics(measured: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The measurements with the columns that say which run they belong to."""
    texts = ("problem", "optimizer", "run", "quantity", "name")
    whole = _with_columns(measured, texts, ("repeat", "layer", "value"))
    for name in ("step", "forward_equivalents"):  # a folder of before there were measurements along the run
        whole = whole if name in whole else whole.assign(**{name: 0})
    of_run = whole["run"].notna()
    if not of_run.any():
        return whole
    along = whole[of_run].drop(columns=[c for c in runs.columns if c in whole and c != "run"])
    along = along.merge(runs, on="run", how="inner")
    starts = whole[~of_run]
    return along[whole.columns] if starts.empty else pd.concat([starts, along], ignore_index=True)[whole.columns]


def _escape(text: str) -> str:
    import html

    return html.escape(text)


__all__ = ["Results", "StoreError", "load_results"]
