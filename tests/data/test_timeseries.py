from __future__ import annotations

import hashlib
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from gfopt import registry
from gfopt.data import load_dataset
from gfopt.data.assemble import Preparation, assemble
from gfopt.data.splits import split_in_time
from gfopt.data.timeseries import mackey_glass_series, sunspot_series, windows
from gfopt.errors import ConfigError, DataError


def method_of_steps(count: int, tau: int, start: float) -> np.ndarray:
    """Mackey-Glass by scipy: on each interval of length tau the delayed value is the solution on the one before."""
    values, delayed, now = [start], lambda _: start, start
    for piece in range((count - 1) // tau + 1):
        begin = piece * tau

        def slope(t, x, delayed=delayed):
            past = delayed(t - tau)
            return 0.2 * past / (1 + past**10) - 0.1 * x

        found = solve_ivp(
            slope, (begin, begin + tau), [now], method="DOP853", rtol=1e-11, atol=1e-12, dense_output=True, max_step=0.5
        )
        values += [float(found.sol(t)[0]) for t in range(begin + 1, begin + tau + 1)]
        now, delayed = found.y[0, -1], lambda t, sol=found.sol: float(sol(t)[0])
    return np.array(values[:count])


@pytest.mark.parametrize(("tau", "start"), [(17, 1.2), (3, 0.4)])
def test_mackey_glass_equals_scipys_integration(tau, start):
    assert np.allclose(mackey_glass_series(80, tau, start), method_of_steps(80, tau, start), rtol=0, atol=2e-7)


def test_mackey_glass_without_much_delay_settles_where_in_and_outflow_are_equal():
    # 0.2 x / (1 + x^10) = 0.1 x at x = 1.
    assert mackey_glass_series(400, 1, 0.5)[-1] == pytest.approx(1, abs=1e-9)


def test_mackey_glass_with_the_usual_delay_never_settles_and_forgets_its_start():
    first, other = (mackey_glass_series(1500, 17, start)[500:] for start in (1.2, 1.2 + 1e-9))
    assert 0.2 < first.min() < 0.5
    assert 1.2 < first.max() < 1.4
    assert np.abs(first[:50] - other[:50]).max() < 1e-4
    later = mackey_glass_series(8000, 17, 1.2), mackey_glass_series(8000, 17, 1.2 + 1e-9)
    assert np.abs(later[0] - later[1])[5000:].max() > 0.1


def test_windows_are_slices_of_the_series():
    series = np.random.default_rng(0).normal(size=40)
    data = windows(series, 7, 3)
    assert data.x.shape == (31, 7, 1)
    for row in range(31):
        assert np.array_equal(data.x[row, :, 0], series[row : row + 7])
        assert data.y[row] == series[row + 7 - 1 + 3]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 8), st.sampled_from([(0.2, 0.1), (0.3, 0.0), (0.0, 0.3), (0.0, 0.0)]))
def test_no_value_of_a_series_is_seen_in_two_parts(window, horizon, fractions):
    series = np.arange(120.0)  # a value is its own time
    how = Preparation(test_fraction=fractions[0], validation_fraction=fractions[1], scale=False)
    data = assemble("series", windows(series, window, horizon), how)
    seen = [np.append(x.ravel(), y) for x, y in (data.split(part) for part in ("train", *data.splits))]
    assert len(data.splits) == sum(fraction > 0 for fraction in fractions)
    for earlier, later in pairwise(seen):
        assert earlier.max() + 1 == later.min()  # disjoint, and nothing more is left out than has to be
    assert seen[0].min() == 0
    assert seen[-1].max() == 119


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(0, 40), st.floats(0, 0.45), st.floats(0, 0.45))
def test_a_split_by_time(count, gap, test_fraction, validation_fraction):
    parts = 1 + (test_fraction > 0) + (validation_fraction > 0)
    used = count - gap * (parts - 1)
    assume(used >= parts)
    split = split_in_time(count, gap, test_fraction=test_fraction, validation_fraction=validation_fraction)
    assert sum(map(len, (split.train, split.validation, split.test))) == used
    there = [rows for rows in (split.train, split.validation, split.test) if len(rows)]
    assert len(there) == parts
    for rows in there:
        assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))
    assert there[0][0] == 0
    assert there[-1][-1] == count - 1
    assert all(later[0] - earlier[-1] == gap + 1 for earlier, later in pairwise(there))
    for rows, share in ((split.validation, validation_fraction), (split.test, test_fraction)):
        assert abs(len(rows) - share * used) <= 1 + 1e-6 * used


def test_the_fractions_are_those_of_the_rows_that_are_used():
    data = load_dataset("sunspots")  # 309 - 12 windows, of which two gaps of 12 are left out
    assert [len(data.split(part)[0]) for part in ("train", "validation", "test")] == [191, 28, 54]


def test_a_scaling_that_sees_the_training_years_only():
    data = load_dataset("sunspots")
    series = sunspot_series()
    seen = np.lib.stride_tricks.sliding_window_view(series, 12)[:191]
    assert data.input_scaling.mean == pytest.approx(np.full((12, 1), seen.mean()))
    assert data.input_scaling.scale == pytest.approx(np.full((12, 1), seen.std()))
    assert data.target_scaling.inverse(data.y_test)[-1] == pytest.approx(2.9)  # 2008


def test_sunspots_are_the_published_numbers():
    series = sunspot_series()
    assert len(series) == 309
    years = {1700: 5.0, 1712: 0.0, 1778: 154.4, 1816: 45.8, 1957: 190.2, 1996: 8.6, 2000: 119.6, 2008: 2.9}
    assert {year: series[year - 1700] for year in years} == years
    assert series.argmax() + 1700 == 1957
    # The cycle of 11 years is the strongest period.
    power = np.abs(np.fft.rfft(series - series.mean())) ** 2
    assert 309 / power.argmax() == pytest.approx(11, abs=0.2)


def test_the_file_of_sunspots_is_unchanged():
    content = (files("gfopt.data") / "sunspots.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == "27d9c3f45fca53fc5dd61521145dedcf6a33d9dd942ff816373909f005a8cdd6"


def test_a_broken_file_of_sunspots_is_refused(monkeypatch, tmp_path):
    lines = (files("gfopt.data") / "sunspots.csv").read_text().splitlines()
    (tmp_path / "sunspots.csv").write_text("\n".join(lines[:100] + lines[101:]))
    monkeypatch.setattr("gfopt.data.timeseries.files", lambda _: tmp_path)
    with pytest.raises(DataError, match=r"sunspots: sunspots.csv: expected the 309 years from 1700 on, got \(308, 2\)"):
        load_dataset("sunspots")


def test_the_seed_decides_the_start_of_mackey_glass():
    source = registry.datasets.get("mackey_glass")
    first, again, other = (source.load(source.options_class(length=60), seed) for seed in (3, 3, 4))
    assert first.x.tobytes() == again.x.tobytes()
    assert not np.allclose(first.x, other.x)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("mackey_glass", {"tau": 0}, ConfigError, "tau: expected a number of at least 1, got 0"),
        (
            "mackey_glass",
            {"length": 50, "window": 45, "horizon": 6},
            ConfigError,
            r"window \+ horizon: expected at most the 50 values, got 51\. Choose a smaller window",
        ),
        (
            "mackey_glass",
            {"length": 60, "window": 30},
            DataError,
            "expected at least 73 rows: one for each of 3 parts, 35 left out between them, got `25`. Use a longer",
        ),
        ("sunspots", {"horizon": 0}, ConfigError, "horizon: expected a number of at least 1, got 0"),
        ("sunspots", {"length": 9}, ConfigError, "length: expected a known option"),
    ],
)
def test_options_out_of_range(name, options, error, message):
    with pytest.raises(error, match=f"^{name}: {message}"):
        load_dataset(name, **options)
