"""Small tasks with a known geometry, drawn from a seed.

The points and then the noise come from one stream, so that data sets that differ only in `noise` have the
same points underneath. `noise` is the standard deviation of a normal error, in the units of the coordinates.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from gfopt import rng
from gfopt.data.source import RawData, Source, SourceOptions


class MoonsOptions(SourceOptions):
    """Options of `moons`."""

    samples: int = Field(500, ge=10, le=1_000_000, description="rows")
    noise: float = Field(0.15, ge=0, le=10, description="added to both coordinates")


class SpiralsOptions(SourceOptions):
    """Options of `spirals`."""

    samples: int = Field(600, ge=10, le=1_000_000, description="rows")
    classes: int = Field(2, ge=2, le=20, description="arms")
    turns: float = Field(1.5, gt=0, le=20, description="how often an arm goes around the centre")
    noise: float = Field(0.02, ge=0, le=10, description="added to both coordinates; an arm ends at radius 1")


class XorOptions(SourceOptions):
    """Options of `xor`."""

    samples: int = Field(400, ge=4, le=1_000_000, description="rows; the 4 corners in turn")
    noise: float = Field(0.2, ge=0, le=10, description="added to both coordinates; the corners are at -1 and 1")


class ParityOptions(SourceOptions):
    """Options of `parity`."""

    bits: int = Field(8, ge=2, le=16, description="inputs, each 0 or 1")
    samples: int | None = Field(None, ge=2, description="different patterns; all 2**bits if not given")

    @model_validator(mode="after")
    def _at_most_all(self) -> ParityOptions:
        if self.samples is not None and self.samples > 2**self.bits:
            raise ValueError(
                f"samples: expected at most the 2**{self.bits} = {2**self.bits} patterns, got {self.samples}"
            )
        return self


class SineOptions(SourceOptions):
    """Options of `sine`."""

    samples: int = Field(300, ge=10, le=1_000_000, description="rows")
    cycles: float = Field(1.0, gt=0, le=100, description="periods between the lowest and the highest x")
    noise: float = Field(0.1, ge=0, le=10, description="added to y")


def _moons(options: MoonsOptions, seed: int) -> RawData:
    generator = rng.generator(seed, "data", "moons")
    label = np.arange(options.samples) % 2
    angle = generator.uniform(0, np.pi, options.samples)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    x = np.where(label[:, None] == 0, upper, lower)
    return _classes(x + options.noise * generator.standard_normal(x.shape), label, 2)


def _spirals(options: SpiralsOptions, seed: int) -> RawData:
    generator = rng.generator(seed, "data", "spirals")
    label = np.arange(options.samples) % options.classes
    # The root of a uniform number: as many points per area far from the centre as near it.
    radius = np.sqrt(generator.uniform(0, 1, options.samples))
    angle = 2 * np.pi * (options.turns * radius + label / options.classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _classes(x + options.noise * generator.standard_normal(x.shape), label, options.classes)


def _xor(options: XorOptions, seed: int) -> RawData:
    generator = rng.generator(seed, "data", "xor")
    corners = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)], dtype=np.float64)
    x = corners[np.arange(options.samples) % 4]
    label = (x.prod(axis=1) < 0).astype(np.int64)
    return _classes(x + options.noise * generator.standard_normal(x.shape), label, 2)


def _parity(options: ParityOptions, seed: int) -> RawData:
    patterns = np.arange(2**options.bits)
    if options.samples is not None:
        patterns = rng.generator(seed, "data", "parity").permutation(patterns)[: options.samples]
    x = (patterns[:, None] >> np.arange(options.bits)) & 1
    return _classes(x.astype(np.float64), x.sum(axis=1) % 2, 2)


def _sine(options: SineOptions, seed: int) -> RawData:
    generator = rng.generator(seed, "data", "sine")
    x = np.pi * options.cycles * generator.uniform(-1, 1, options.samples)
    y = np.sin(x) + options.noise * generator.standard_normal(options.samples)
    return RawData(task="regression", x=x[:, None], y=y, feature_names=("x",))


def _classes(x: np.ndarray, label: np.ndarray, classes: int) -> RawData:
    return RawData(task="classification", x=x, y=label.astype(np.int64), classes=tuple(range(classes)))


moons = Source(
    name="moons",
    task="classification",
    description="two interleaved half circles in the plane",
    options_class=MoonsOptions,
    load=_moons,
)

spirals = Source(
    name="spirals",
    task="classification",
    description="spiral arms around each other, one a class (after Lang & Witbrock 1988)",
    options_class=SpiralsOptions,
    load=_spirals,
)

xor = Source(
    name="xor",
    task="classification",
    description="four noisy corners of a square, class 1 where the signs differ",
    options_class=XorOptions,
    load=_xor,
)

parity = Source(
    name="parity",
    task="classification",
    description="bit patterns, class 1 where the number of ones is odd",
    options_class=ParityOptions,
    load=_parity,
)

sine = Source(
    name="sine",
    task="regression",
    description="y = sin x with noise",
    options_class=SineOptions,
    load=_sine,
)
