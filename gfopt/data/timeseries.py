"""One series cut into windows, each with a value some steps later to predict; split by time, never at random."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from pydantic import Field

from gfopt import rng
from gfopt.data.source import RawData, Source, SourceOptions
from gfopt.errors import ConfigError, DataError, expectation

STEPS_PER_UNIT = 10  # integration steps of Mackey-Glass per unit of time
TRANSIENT = 500  # units of time until the series is on its attractor
FIRST_YEAR, YEARS = 1700, 309


class MackeyGlassOptions(SourceOptions):
    """Options of `mackey_glass`."""

    length: int = Field(1500, ge=50, le=100_000, description="values of the series, one unit of time apart")
    tau: int = Field(17, ge=1, le=1000, description="delay, in units of time; chaotic from 17 on")
    window: int = Field(20, ge=1, le=1000, description="values that are seen")
    horizon: int = Field(6, ge=1, le=1000, description="how many values after the window's last the target lies")


class SunspotsOptions(SourceOptions):
    """Options of `sunspots`."""

    window: int = Field(12, ge=1, le=100, description="years that are seen")
    horizon: int = Field(1, ge=1, le=50, description="how many years after the window's last the target lies")


def windows(series: np.ndarray, window: int, horizon: int) -> RawData:
    """A regression from `window` values in a row to the value `horizon` steps after the last of them.

    The rows are in the order of time. Row `i` touches the values `i` to `i + window + horizon - 1`, so that many rows
    less one are left out between two parts of the split: no value is then seen in two of them.

    Args:
        series: `(T,)` values.
        window: values that are seen.
        horizon: steps from the last of them to the target.

    Raises:
        ConfigError: if the series is shorter than a window with its target.
    """
    span = window + horizon
    if span > len(series):
        fix = "Choose a smaller window or horizon, or a longer series."
        raise ConfigError("window + horizon: " + expectation(f"at most the {len(series)} values", span, fix))
    seen = np.lib.stride_tricks.sliding_window_view(series, span)
    return RawData(
        "regression", np.ascontiguousarray(seen[:, :window, None]), seen[:, -1].copy(), shared=(0,), gap=span - 1
    )


def mackey_glass_series(count: int, tau: int, start: float) -> np.ndarray:
    """`(count,)` values at times 0, 1, 2, ... of `dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)`.

    Fourth-order Runge-Kutta with ten steps per unit of time. The delayed value in the middle of a step comes from the
    cubic Hermite polynomial through the values and slopes at the step's ends, so that it keeps that order.

    Args:
        count: number of values.
        tau: delay, in units of time.
        start: `x(t)` for all `t <= 0`.

    References:
        Mackey & Glass 1977, Science 197: eq. 4b with beta 0.2, gamma 0.1, n 10.
    """
    h, delay = 1 / STEPS_PER_UNIT, tau * STEPS_PER_UNIT
    x, slope = [start] * (delay + 1), [0.0] * (delay + 1)  # from time -tau to time 0: a constant
    for step in range((count - 1) * STEPS_PER_UNIT):
        now, past, following = x[-1], x[step], x[step + 1]
        # The slope jumps at time 0: up to there it is that of the history.
        arriving = slope[step + 1] if step + 1 > delay else 0.0
        middle = (past + following) / 2 + h / 8 * (slope[step] - arriving)
        inflow, inflow_middle, inflow_end = _inflow(past), _inflow(middle), _inflow(following)
        k1 = inflow - 0.1 * now
        k2 = inflow_middle - 0.1 * (now + h / 2 * k1)
        k3 = inflow_middle - 0.1 * (now + h / 2 * k2)
        k4 = inflow_end - 0.1 * (now + h * k3)
        slope[delay + step] = k1
        x.append(now + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        slope.append(0.0)
    return np.array(x[delay::STEPS_PER_UNIT])


def _inflow(delayed: float) -> float:
    return 0.2 * delayed / (1 + delayed**10)


def sunspot_series() -> np.ndarray:
    """`(309,)` yearly mean sunspot numbers from 1700 on.

    Raises:
        DataError: if the file that came with the package is not whole.
    """
    text = (files("gfopt.data") / "sunspots.csv").read_text(encoding="utf-8")
    table = np.loadtxt(text.splitlines(), delimiter=",", skiprows=3)
    if table.shape != (YEARS, 2) or not np.array_equal(table[:, 0], FIRST_YEAR + np.arange(YEARS)):
        fix = "Install gfopt again."
        raise DataError("sunspots.csv: " + expectation(f"the {YEARS} years from {FIRST_YEAR} on", table.shape, fix))
    return np.asarray(table[:, 1])


def _mackey_glass(options: MackeyGlassOptions, seed: int) -> RawData:
    start = rng.generator(seed, "data", "mackey_glass").uniform(0.9, 1.5)  # around the usual 1.2
    series = mackey_glass_series(TRANSIENT + options.length, options.tau, start)
    return windows(series[TRANSIENT:], options.window, options.horizon)


def _sunspots(options: SunspotsOptions, seed: int) -> RawData:
    del seed
    return windows(sunspot_series(), options.window, options.horizon)


mackey_glass = Source(
    name="mackey_glass",
    task="regression",
    description="chaotic series of a delay equation (Mackey & Glass 1977); predict ahead from a window",
    options_class=MackeyGlassOptions,
    load=_mackey_glass,
)

sunspots = Source(
    name="sunspots",
    task="regression",
    description="yearly sunspot numbers 1700 to 2008 (WDC-SILSO, Brussels); predict ahead from a window",
    options_class=SunspotsOptions,
    load=_sunspots,
)
