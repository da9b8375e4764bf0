"""Real data that come with scikit-learn, so that nothing is downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np

from gfopt import rng
from gfopt.data.source import RawData, Source, SourceOptions
from gfopt.errors import DataError, expectation


def _loader(
    function: str, shape: tuple[int, int], classes: int, **arguments: object
) -> Callable[[SourceOptions, int], RawData]:
    """A `Source.load` around a function of `sklearn.datasets`; checks `shape` and how many `classes`."""

    def load(options: SourceOptions, seed: int) -> RawData:
        del options, seed
        with rng.undisturbed():
            module = importlib.import_module("sklearn.datasets")
        table = getattr(module, function)(**arguments)
        labels = tuple(np.asarray(table.target_names).tolist()) if classes else ()
        found = (table.data.shape, len(labels))
        if found != (shape, classes):
            fix = "Install the scikit-learn version of constraints.txt."
            raise DataError(f"{function}: " + expectation(f"shape and classes {(shape, classes)}", found, fix))
        return RawData(
            task="classification" if classes else "regression",
            x=np.asarray(table.data, dtype=np.float64),
            y=np.asarray(table.target, dtype=np.int64 if classes else np.float64),
            classes=labels,
            feature_names=tuple(map(str, table.feature_names)),
        )

    return load


iris = Source(
    name="iris",
    task="classification",
    description="150 flowers, 4 lengths and widths, 3 species (Fisher 1936)",
    options_class=SourceOptions,
    load=_loader("load_iris", (150, 4), 3),
)

wine = Source(
    name="wine",
    task="classification",
    description="178 wines, 13 chemical measurements, 3 growers",
    options_class=SourceOptions,
    load=_loader("load_wine", (178, 13), 3),
)

breast_cancer = Source(
    name="breast_cancer",
    task="classification",
    description="569 tumours, 30 measurements of cell nuclei, malignant or benign",
    options_class=SourceOptions,
    load=_loader("load_breast_cancer", (569, 30), 2),
)

digits = Source(
    name="digits",
    task="classification",
    description="1797 handwritten digits of 8 x 8 pixels, 10 classes (the test part of UCI optdigits)",
    options_class=SourceOptions,
    load=_loader("load_digits", (1797, 64), 10),
)

# scikit-learn's default is already scaled with the mean and deviation of all rows, test rows included.
diabetes = Source(
    name="diabetes",
    task="regression",
    description="442 patients, 10 measurements, progression of the disease after a year (Efron et al. 2004)",
    options_class=SourceOptions,
    load=_loader("load_diabetes", (442, 10), 0, scaled=False),
)
