import math

import pandas as pd
from synthetic_diagnostics import rows, table

from gfopt import analysis
from gfopt.analysis.measured import meaning, title


def test_trajectories_are_medians_at_each_step():
    course = table(*(rows("ics_l2", [v, 2 * v], optimizer="a", step=s) for s, v in ((10, 3.0), (1, 1.0))))
    course.loc[0, "value"] = 100.0
    found = analysis.trajectories(course, "ics_l2")
    assert found[["layer", "step", "value"]].to_numpy().tolist() == [[1, 1, 1], [1, 10, 3], [2, 1, 2], [2, 10, 6]]
    assert found["cost"].tolist() == [1000, 10000, 1000, 10000]
    assert found["high"].max() == 100


def test_the_profile_is_of_the_starts_alone():
    both = table(rows("gradient_norm", [1.0, 2.0]), rows("gradient_norm", [50.0, 60.0], optimizer="adam", step=5))
    assert analysis.gradient_profile(both)["value"].tolist() == [1, 2]


def test_the_table_has_first_and_last():
    course = table(*(rows("update_ratio", [s, 10.0 * s], optimizer="a", step=s) for s in (1, 2, 4)))
    (row,) = analysis.measured_table(course).to_dict("records")
    assert (row["lowest_first"], row["lowest_last"], row["highest_first"], row["highest_last"]) == (1, 4, 10, 40)
    assert (row["lowest_layer"], row["highest_layer"], row["steps"]) == (1, 2, 3)


def test_quantities_come_in_their_own_order_and_unknown_ones_last():
    names = ["mine", "diversity", "gradient_norm", "invariant"]
    assert analysis.recorded_quantities(table(*(rows(name, [1.0]) for name in names))) == [
        "gradient_norm",
        "diversity",
        "mine",
    ]
    assert analysis.recorded_quantities(None) == []
    assert "mine" in meaning("mine")
    assert title("effective_angle") == "effective angle (rad)"


def test_infinite_values_stay_and_nothing_is_an_empty_table():
    course = table(rows("ics_l2", [math.inf], optimizer="a", step=1, repeats=2))
    assert analysis.trajectories(course, "ics_l2")["value"].tolist() == [math.inf]
    course.loc[0, "value"] = -math.inf
    assert len(analysis.trajectories(course, "ics_l2")) == 1
    assert analysis.trajectories(pd.DataFrame(), "ics_l2").empty
