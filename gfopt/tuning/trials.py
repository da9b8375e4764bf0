"""One trial of a tuning, and what a list of them comes to. Plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from gfopt.trace import Ledger
from gfopt.tuning.view import higher_is_better

_PEAK = "peak_memory"  # the one entry of a ledger that does not add up


@dataclass(frozen=True)
class Trial:
    """One set of options, trained once with each tuning seed.

    Attributes:
        number: from 0; trial 0 has the defaults.
        options: the values of the tuned options.
        values: of the metric at the end of the budget, one a tuning seed; a diverged run has the worst possible one.
        losses: validation losses in the same order, which decide between equal medians.
        status: `ok`, or `diverged` if one of its runs has.
        ledger: what its runs have spent together.
    """

    number: int
    options: Mapping[str, Any]
    values: tuple[float, ...]
    losses: tuple[float, ...]
    status: str
    ledger: Ledger

    @property
    def median(self) -> float:
        """Of the metric over the tuning seeds."""
        return _median(self.values)

    def rank(self, metric: str) -> tuple[float, float, int]:
        """Lower is better: the median of the metric, of equal ones the lower median loss, then the earlier trial."""
        return self.objective(metric), _median(self.losses), self.number

    def objective(self, metric: str) -> float:
        """The median over the tuning seeds, lower being better."""
        return -self.median if higher_is_better(metric) else self.median

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, as `of_plain` reads it."""
        return {**asdict(self), "options": dict(self.options), "values": list(self.values), "losses": list(self.losses)}

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> Trial:
        """The trial of `plain`."""
        lists = {name: tuple(data[name]) for name in ("values", "losses")}
        return cls(**{**data, **lists, "ledger": Ledger(**data["ledger"])})


def total(ledgers: Sequence[Ledger]) -> Ledger:
    """What several runs have spent together; of their peak memory the highest."""
    names = [field.name for field in fields(Ledger)]
    columns = {name: [getattr(ledger, name) for ledger in ledgers] for name in names}
    return Ledger(**{name: (max(v, default=0) if name == _PEAK else sum(v)) for name, v in columns.items()})


def chosen(trials: Sequence[Trial], metric: str) -> Trial:
    """The best trial."""
    return min(trials, key=lambda trial: trial.rank(metric))


def trial_rows(trials: Sequence[Trial], metric: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One table row a trial.

    `trial`, `options.*`, `seed_*` (the metric of each tuning seed), `objective` (their median), `best` (the objective
    of the trial that would be chosen if the tuning ended here), `status`, and the ledger.
    """
    rows = []
    for count, trial in enumerate(trials, start=1):
        rows.append(
            {
                "trial": trial.number,
                **{f"options.{name}": value for name, value in trial.options.items()},
                **{f"seed_{seed}": value for seed, value in zip(seeds, trial.values, strict=True)},
                "objective": trial.median,
                "best": chosen(trials[:count], metric).median,
                "status": trial.status,
                **asdict(trial.ledger),
            }
        )
    return rows


def performance(rows: pd.DataFrame) -> pd.DataFrame:
    """`trial`, `best` and the ledger of all trials up to there: what a tuning of that length would have found."""
    names = [field.name for field in fields(Ledger)]
    spent = rows[names].cumsum()
    spent[_PEAK] = rows[_PEAK].cummax()
    return pd.concat([rows[["trial", "best"]], spent], axis=1)


def _median(values: Sequence[float]) -> float:
    """As of `n` numbers, but of an infinite and a finite one in the middle the infinite one, never NaN."""
    with np.errstate(invalid="ignore"):
        found = float(np.median(np.asarray(values, dtype=np.float64)))
    return math.inf if math.isnan(found) else found
