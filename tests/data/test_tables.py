from __future__ import annotations

import numpy as np
import pytest

from gfopt.data import SourceOptions, load_dataset, sources
from gfopt.data.tables import _loader
from gfopt.errors import DataError

# Rows, features, classes as the data sets' own papers and the UCI pages give them.
FACTS = {
    "iris": (150, 4, [50, 50, 50]),
    "wine": (178, 13, [59, 71, 48]),
    "breast_cancer": (569, 30, [212, 357]),
    "digits": (1797, 64, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
    "diabetes": (442, 10, None),
}
TABLES = {source.name: source for source in sources() if source.name in FACTS}


@pytest.mark.parametrize("name", FACTS)
def test_rows_features_and_classes(name):
    rows, features, counts = FACTS[name]
    raw = TABLES[name].load(SourceOptions(), 0)
    assert raw.x.shape == (rows, features)
    assert len(raw.feature_names) == features
    assert raw.task == TABLES[name].task
    if counts is None:
        assert raw.classes == ()
        assert raw.y.dtype == np.float64
    else:
        assert np.bincount(raw.y).tolist() == counts
        assert len(raw.classes) == len(counts)


def test_labels_are_plain_python_values():
    assert load_dataset("iris").classes == ("setosa", "versicolor", "virginica")
    assert load_dataset("digits").classes == tuple(range(10))
    assert {type(label) for label in load_dataset("digits").classes} == {int}


def test_digits_has_pixels_that_never_vary():
    data = load_dataset("digits")
    constant = data.input_scaling.scale == 1
    assert constant.any()
    assert (data.x_train[:, constant] == 0).all()
    # Without the rule for constant pixels a single grey test pixel would be 1e8 or more.
    assert np.abs(data.x_test).max() < 50


def test_diabetes_is_not_scaled_beforehand():
    raw = TABLES["diabetes"].load(SourceOptions(), 0)
    ages = raw.x[:, raw.feature_names.index("age")]
    assert ages.min() == 19
    assert ages.max() == 79
    assert (raw.y.min(), raw.y.max()) == (25, 346)


def test_the_split_changes_with_the_seed_and_the_rows_do_not():
    first, other = load_dataset("wine", scale=False), load_dataset("wine", scale=False, seed=1)
    assert first.fingerprint() != other.fingerprint()
    rows = [np.concatenate([data.x_train, data.x_validation, data.x_test]) for data in (first, other)]
    assert np.array_equal(*(values[np.lexsort(values.T)] for values in rows))


def test_a_scikit_learn_with_other_rows_is_refused():
    with pytest.raises(
        DataError, match=r"load_iris: expected shape and classes \(\(151, 4\), 3\), got \(\(150, 4\), 3\)"
    ):
        _loader("load_iris", (151, 4), 3)(SourceOptions(), 0)
