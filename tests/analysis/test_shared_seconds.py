"""Seconds that runs share enter no comparison, and that is said."""

from __future__ import annotations

import pandas as pd
import pytest

from gfopt import analysis
from gfopt.analysis.frames import comparable, shares_seconds
from gfopt.errors import ConfigError

ARMS = {
    "adam": [[(1, 5.0), (10, 1.0)], [(1, 5.0), (10, 1.1)]],
    "ga": [[(1, 5.0), (10, 3.0)], [(1, 5.0), (10, 0.9)]],
}


@pytest.fixture
def tables(toy):
    """Two problems; only the runs of the first share their seconds."""
    shared, own = toy(ARMS, seconds_shared=True), toy(ARMS, seconds_shared=False)
    for part in (own.runs, own.curves):
        part["run"] = "own-" + part["run"]
    own.runs["problem"] = "q"
    return pd.concat([shared.runs, own.runs], ignore_index=True), pd.concat(
        [shared.curves, own.curves], ignore_index=True
    )


def test_which_runs_share(toy):
    assert not shares_seconds(toy(ARMS).runs).any()  # a folder of before there was such a column
    runs = toy(ARMS, seconds_shared=True).runs
    assert shares_seconds(runs).all()
    mixed = runs.assign(seconds_shared=pd.Series([True, False, None, None], dtype=object))
    assert shares_seconds(mixed).tolist() == [True, False, False, False]
    assert not comparable(mixed, "seconds")
    assert comparable(mixed, "evaluations")
    assert comparable(mixed.iloc[1:], "seconds")


def test_nobody_is_ahead_at_equal_seconds(tables):
    ahead = analysis.winners(*tables)
    assert set(ahead.loc[ahead["problem"] == "p", "axis"]) == {"forward_equivalents"}
    assert set(ahead.loc[ahead["problem"] == "q", "axis"]) == {"forward_equivalents", "seconds"}


def test_the_table_has_no_seconds_for_them(tables):
    table = analysis.summary(*tables, baseline="adam").set_index(["problem", "optimizer"])
    ert = [c for c in table.columns if c.startswith("ert_seconds")]
    assert ert
    assert table.loc["p", ["seconds", *ert]].isna().all(axis=None)
    assert table.loc["q", "seconds"].notna().all()
    others = [c for c in table.columns if c.startswith(("ert_forward", "successes"))]
    pd.testing.assert_frame_equal(table.loc["p", others], table.loc["q", others])


def test_a_study_of_them_alone_has_no_column_of_seconds(toy):
    study = toy(ARMS, seconds_shared=True)
    table = analysis.summary(study.runs, study.curves, baseline="adam")
    assert "seconds" not in table
    assert not [c for c in table.columns if c.startswith("ert_seconds")]


def test_the_verdict_says_so_and_says_no_time(toy, tables):
    study = toy(ARMS, seconds_shared=True)
    said = analysis.verdicts(study.runs, study.curves, baseline="adam")
    note = [sentence for sentence in said if "trained together (batch_repeats)" in sentence]
    assert len(note) == 1
    assert note[0].startswith("Seconds are left out of every comparison: there")
    assert not any("seconds" in sentence for sentence in said if sentence not in note)
    mixed = analysis.verdicts(*tables, baseline="adam")
    assert any("Seconds are left out of every comparison on p:" in sentence for sentence in mixed)
    plain = toy(ARMS)
    usual = analysis.verdicts(plain.runs, plain.curves, baseline="adam")
    assert not any("left out" in sentence for sentence in usual)
    assert any("seconds" in sentence for sentence in usual)


def test_a_curve_over_them_is_refused(toy):
    study = toy(ARMS, seconds_shared=True)
    assert len(analysis.curve_table(study.runs, study.curves, "evaluations"))
    with pytest.raises(ConfigError, match="axis: expected a cost that each run has spent by itself, got `seconds`"):
        analysis.curve_table(study.runs, study.curves, "seconds")
