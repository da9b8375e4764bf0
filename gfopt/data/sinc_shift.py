"""A curve in one variable whose training and test rows lie side by side: the toy of the covariate-shift literature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from gfopt import rng
from gfopt.data.source import RawData, Source, SourceOptions

TRAIN = (1.0, 0.5)  # mean and standard deviation of x
TEST = (2.0, 0.25)

_TRUTHS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "sinc": np.sinc,  # sin(pi x) / (pi x)
    "cubic": lambda x: x**3 - x,
    "linear": lambda x: 1 - x / 2,
}


class SincShiftOptions(SourceOptions):
    """Options of `sinc_shift`.

    Attributes:
        truth: the curve; `sinc` is `sin(pi x) / (pi x)`, `cubic` is `x^3 - x`, `linear` is `1 - x / 2`. A linear model
            is misspecified for the first two and well specified for the third.
    """

    samples: int = Field(150, ge=10, le=1_000_000, description="rows for training and validation, x ~ N(1, 0.5^2)")
    test_samples: int = Field(
        500, ge=2, le=1_000_000, description="test rows, x ~ N(2, 0.25^2), whatever test_fraction above 0 is"
    )
    noise: float = Field(0.1, ge=0, le=10, description="added to y")
    test_noise: float | None = Field(
        None,
        ge=0,
        le=10,
        description="added to y of the test rows; null: as `noise`. With 0 the test loss is the distance to the truth",
    )
    truth: Literal["sinc", "cubic", "linear"] = Field("sinc", description="the curve")
    draw: int = Field(0, ge=0, description="number of the sample: another one has other points and other noise")


def _sinc_shift(options: SincShiftOptions, seed: int) -> RawData:
    # The same points and noise for every truth; test rows have a stream of their own, so that their number does not
    # change the training rows.
    def part(name: str, count: int, noise: float, mean: float, deviation: float) -> tuple[np.ndarray, np.ndarray]:
        generator = rng.generator(seed, "data", "sinc_shift", options.draw, name)
        x = mean + deviation * generator.standard_normal(count)
        return x, _TRUTHS[options.truth](x) + noise * generator.standard_normal(count)

    x, y = part("train", options.samples, options.noise, *TRAIN)
    x_test, y_test = part(
        "test", options.test_samples, options.noise if options.test_noise is None else options.test_noise, *TEST
    )
    return RawData(
        task="regression",
        x=x[:, None],
        y=y,
        feature_names=("x",),
        test=(x_test[:, None], y_test),
        importance=_normal_density(x, *TEST) / _normal_density(x, *TRAIN),
    )


def _normal_density(x: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    density: np.ndarray = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    return density


sinc_shift = Source(
    name="sinc_shift",
    task="regression",
    description="y = sinc x with noise, trained on x ~ N(1, 0.5²), tested on x ~ N(2, 0.25²) (Sugiyama et al. 2008)",
    options_class=SincShiftOptions,
    load=_sinc_shift,
)
