"""Points on rings around each other, one class a ring."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from gfopt import rng
from gfopt.data import RawData, Source, SourceOptions


class RingsOptions(SourceOptions):
    """Options of `rings`."""

    samples: int = Field(300, ge=10, description="rows")
    noise: float = Field(0.1, ge=0, description="added to both coordinates; the rings have radius 1 and 2")


def _rings(options: RingsOptions, seed: int) -> RawData:
    generator = rng.generator(seed, "data", "rings")
    label = np.arange(options.samples) % 2
    angle = generator.uniform(0, 2 * np.pi, options.samples)
    points = (1 + label)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += options.noise * generator.standard_normal(points.shape)
    return RawData("classification", points, label, classes=(0, 1))


rings = Source("rings", "classification", "two rings around each other, one a class", RingsOptions, _rings)
