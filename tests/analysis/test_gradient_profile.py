import math

import pandas as pd
import pytest

from gfopt import analysis


def _table(values: dict[int, list[float]], **columns: object) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "problem": "p",
                "repeat": r,
                "quantity": "gradient_norm",
                "layer": layer,
                "name": f"l{layer}",
                "value": v,
                **columns,
            }
            for layer, members in values.items()
            for r, v in enumerate(members)
        ]
    )


def test_profile_is_the_median_over_repeats():
    profile = analysis.gradient_profile(_table({2: [4.0, 2.0, 9.0], 1: [1.0, 1.0, 3.0]}))
    assert profile["layer"].tolist() == [1, 2]
    assert profile["value"].tolist() == [1, 4]
    assert profile[["low", "high", "n"]].iloc[1].tolist() == [2, 9, 3]


def test_ratio_is_first_over_last():
    ratio = analysis.gradient_ratio(_table({1: [0.1], 2: [7.0], 3: [2.0]}, **{"network.norm": "batch"})).iloc[0]
    assert ratio["ratio"] == pytest.approx(0.05)
    assert (ratio["layers"], ratio["norm"]) == (3, "batch")


def test_ratio_without_a_last_gradient_is_unknown():
    assert math.isnan(analysis.gradient_ratio(_table({1: [0.1], 2: [0.0]}))["ratio"].iloc[0])


def test_nothing_measured():
    assert analysis.gradient_profile(None).empty
    assert analysis.gradient_profile(pd.DataFrame()).empty
    assert analysis.gradient_ratio(_table({1: [1.0]})).empty
    assert analysis.gradient_profile(_table({1: [math.nan]})).empty
    assert analysis.gradient_profile(_table({1: [1.0]}), "saturation").empty
