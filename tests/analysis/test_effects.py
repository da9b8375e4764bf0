import math

import numpy as np
import pandas as pd
import pytest

from gfopt import analysis


def _runs(none: list[float], batch: list[float], metric: str = "test_accuracy") -> pd.DataFrame:
    rows = [
        {
            "run": f"{norm}{k}",
            "problem": "p",
            "optimizer": "adam",
            "repeat": k,
            "network.norm": norm,
            "status": "ok",
            "loss": 1.0,
            metric: v,
        }
        for norm, values in (("none", none), ("batch", batch))
        for k, v in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_effect_is_paired_by_repeat():
    # unpaired medians are equal; every repeat gains 0.1 but one, which loses 0.4
    row = analysis.normalization_effect(_runs([0.1, 0.2, 0.3, 0.4, 0.5], [0.2, 0.3, 0.4, 0.5, 0.1])).iloc[0]
    assert row["difference"] == pytest.approx(0.1)
    assert (row["without"], row["with"]) == (0.3, 0.3)
    assert (row["n"], row["wins"], row["ties"]) == (5, 4, 0)


def test_lower_is_better_for_errors():
    row = analysis.normalization_effect(_runs([3.0, 3.0], [1.0, 4.0], "test_rmse")).iloc[0]
    assert (row["wins"], row["difference"]) == (1, -0.5)


def test_only_shared_repeats_are_compared():
    row = analysis.normalization_effect(_runs([0.1, 0.2, 0.9], [0.3, 0.4])).iloc[0]
    assert (row["n"], row["without"]) == (2, pytest.approx(0.15))


def test_pairs_are_found_by_repeat_not_by_place():
    runs = _runs([0.1, 0.2, 0.3], [0.5, 0.9, 0.4])
    runs = runs[runs["run"] != "none1"].iloc[::-1]
    row = analysis.normalization_effect(runs).iloc[0]
    assert (row["n"], row["difference"]) == (2, pytest.approx(0.25))


def test_two_failed_runs_are_no_effect_and_infinities_do_not_become_nan():
    runs = _runs([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], "validation_loss")
    runs["status"] = ["ok", "crashed", "crashed", "crashed", "crashed", "ok"]
    row = analysis.normalization_effect(runs).iloc[0]
    assert (row["n"], row["wins"], row["ties"]) == (3, 1, 1)
    assert row["difference"] == 0
    assert not math.isnan(row["low"])


def test_every_norm_and_optimizer_has_a_row(study):
    table = analysis.normalization_effect(study.runs)
    assert len(table) == (4 + 2) * 4
    row = table.set_index(["panel", "optimizer", "norm"]).loc[("deep", "adam", "batch")]
    assert row["wins"] == 5
    assert 0.7 < row["low"] <= row["difference"] <= row["high"] < 0.9


def test_without_none_or_without_norms_there_is_nothing_to_compare(study):
    assert analysis.normalization_effect(study.runs.drop(columns="network.norm")).empty
    assert analysis.normalization_effect(study.runs[study.runs["network.norm"] != "none"]).empty
    assert analysis.normalization_effect(study.runs.iloc[:0]).empty


def test_norms_are_compared_at_the_same_other_grid_values():
    wide = _runs([0.1, 0.1], [0.2, 0.2]).assign(**{"network.hidden": "[64]"})
    narrow = _runs([0.5, 0.5], [0.9, 0.9]).assign(**{"network.hidden": "[8]"})
    table = analysis.normalization_effect(pd.concat([wide, narrow], ignore_index=True)).set_index("panel")
    assert np.allclose(table["difference"], [0.1, 0.4])
    assert table.index.tolist() == ["p, hidden=[64]", "p, hidden=[8]"]
