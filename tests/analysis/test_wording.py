import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfopt.analysis.wording import (
    interval,
    listing,
    metric_title,
    metric_words,
    number,
    percent,
    plural,
    signed,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.9534, "0.953"),
        (0.95, "0.95"),
        (1, "1"),
        (12.34, "12.3"),
        (1234.5, "1230"),
        (99999, "1e5"),
        (123456, "1.23e5"),
        (2.56e-7, "2.56e-7"),
        (1e-3, "0.001"),
        (0.9999, "1"),
        (-0.5, "-0.5"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (math.nan, "–"),
        (1e-320, "1e-320"),
    ],
)
def test_numbers(value, shown):
    assert number(value) == shown


@given(st.floats(-1e300, 1e300, allow_subnormal=False))
def test_a_number_reads_back_within_three_digits(value):
    assert float(number(value)) == pytest.approx(value, rel=5.1e-3)


def test_pieces():
    assert interval(0.1, math.inf) == "[0.1, ∞]"
    assert interval(math.nan, 1) == ""
    assert percent(0.123) == "12 %"
    assert (signed(0.123), signed(-0.1), signed(0)) == ("+0.12", "-0.1", "0")
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert (plural(1, "run"), plural(2, "run")) == ("1 run", "2 runs")
    assert metric_words("test_accuracy") == "test accuracy"
    assert metric_title("test_accuracy") == "test accuracy (share of rows)"
    assert metric_title("test_rmse") == "test rmse (unit of the target)"
