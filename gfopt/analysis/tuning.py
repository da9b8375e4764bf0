"""What tuning has cost and brought: tables of a study that tunes."""

from __future__ import annotations

import pandas as pd

from gfopt.analysis.frames import AXES, cell_columns, text
from gfopt.trace import LEDGER_UNITS

_PEAK = "peak_memory"  # the one entry of a ledger that does not add up


def with_costs_of_runs(tuned: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The table of tunings with what the runs of each pair have cost together.

    Args:
        tuned: one row a problem cell and optimizer.
        runs: one row a run.

    Returns:
        `tuned` with `runs` (their number) and `runs_<axis>` for evaluations, forward-equivalents and seconds.
    """
    if tuned.empty:
        return tuned
    columns = ["problem", *(c for c in cell_columns(tuned) if c in runs.columns), "optimizer"]
    mine, theirs = (frame[columns].map(text).agg(tuple, axis=1) for frame in (tuned, runs))
    counts = theirs.value_counts()
    spent = {f"runs_{axis}": runs[axis].astype(float).groupby(theirs).sum() for axis in AXES}
    costs = {name: mine.map(sums).fillna(0.0) for name, sums in spent.items()}
    return tuned.assign(runs=mine.map(counts).fillna(0).astype("int64"), **costs)


def tuning_curves(tuning: pd.DataFrame) -> pd.DataFrame:
    """Performance as a function of the tuning budget.

    Args:
        tuning: one row a trial, in order within each tuning.

    Returns:
        `tuning`, `problem`, its grid columns, `optimizer`, `trial`, `best` (the objective of what would be chosen after
        this trial) and the ledger of all trials up to it.

    References:
        Sivaprasad, Mai, Vogels, Jaggi & Fleuret 2020, Optimizer benchmarking needs to account for hyperparameter
        tuning, arXiv:1910.11758.
    """
    who = ["tuning", "problem", *cell_columns(tuning), "optimizer", "trial", "best"]
    if tuning.empty:
        return pd.DataFrame(columns=[*who, *LEDGER_UNITS])
    groups = tuning.groupby("tuning", sort=False)
    spent = groups[list(LEDGER_UNITS)].cumsum()
    spent[_PEAK] = groups[_PEAK].cummax()
    return pd.concat([tuning[who], spent], axis=1)
