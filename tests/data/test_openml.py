from __future__ import annotations

import urllib.error
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from gfopt.data import RawData, load_dataset, options_of
from gfopt.errors import ConfigError, DataError

WINE = {"dataset": "wine-quality-red", "version": 1}


def answer(data: pd.DataFrame, target: pd.Series | pd.DataFrame | None, **details: object) -> Bunch:
    """What `fetch_openml(..., as_frame=True)` returns."""
    columns = [] if target is None else [target.name] if isinstance(target, pd.Series) else list(target.columns)
    return Bunch(
        data=data,
        target=target,
        feature_names=list(data.columns),
        target_names=columns,
        categories=None,
        DESCR="a description",
        details={"id": "40691", "name": "wine-quality-red", "version": "1", "md5_checksum": "0" * 32, **details},
        url="https://www.openml.org/d/40691",
    )


def table(rows: int = 40) -> pd.DataFrame:
    stream = np.random.default_rng(0)
    kinds = ["red", "rosé", "red", "white"] * (rows // 4)
    return pd.DataFrame(
        {
            "acid": stream.normal(size=rows),
            "kind": pd.Categorical(kinds, categories=["none", "white", "red", "rosé"]),
            "year": pd.array(range(1980, 1980 + rows), dtype="Int64"),
            "sweet": np.arange(rows) % 2 == 0,
        }
    )


LABELS = pd.Series(pd.Categorical(["5", "6", "6", "7"] * 10), name="class")


@pytest.fixture
def openml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Lets scikit-learn's function answer with this, or raise it; the calls are in the list that comes back."""

    def install(result: object) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def fetch_openml(name: str, **arguments: object) -> object:
            calls.append({"name": name, **arguments})
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
        return calls

    return install


def raw(**options: object) -> RawData:
    from gfopt.data.openml import OpenMLOptions, openml

    return openml.load(OpenMLOptions(**WINE, **options), 0)


def test_numbers_stay_and_categories_become_columns_of_0_and_1(openml):
    calls = openml(answer(table(), LABELS))
    data = raw()
    assert data.task == "classification"
    assert data.classes == ("5", "6", "7")
    assert data.feature_names == ("acid", "kind=red", "kind=rosé", "kind=white", "year", "sweet")
    expected = table()
    assert np.array_equal(data.x[:, 0], expected["acid"])
    for column, category in enumerate(("red", "rosé", "white"), start=1):
        assert np.array_equal(data.x[:, column], expected["kind"] == category)
    assert np.array_equal(data.x[:, 4], np.arange(1980, 2020))
    assert np.array_equal(data.x[:, 5], np.arange(40) % 2 == 0)
    assert np.array_equal(np.array(data.classes)[data.y], LABELS.to_numpy(dtype=str))
    (call,) = calls
    assert call["name"] == "wine-quality-red"
    assert call["version"] == 1
    assert call["target_column"] == "default-target"
    assert call["as_frame"] is True
    assert call["data_home"] is None


def test_names_differ_in_case_only(openml):
    openml(answer(table(), LABELS, name="Wine-Quality-Red"))
    assert len(raw().x) == 40


def test_it_is_a_data_set_like_any_other(openml):
    openml(answer(table(), LABELS))
    data = load_dataset("openml", **WINE, drop=("kind",), test_fraction=0.25)
    assert data.name == "openml"
    assert data.feature_names == ("acid", "year", "sweet")
    assert len(data.x_test) == 10


@pytest.mark.parametrize(
    ("target", "options", "task"),
    [
        (pd.Series(np.linspace(0, 1, 40), name="class"), {}, "regression"),
        (pd.Series([3, 4, 5, 6] * 10, name="class"), {}, "classification"),
        (pd.Series([3, 4, 5, 6] * 10, name="class"), {"task": "regression"}, "regression"),
        (pd.Series(pd.Categorical([3, 4, 5, 6] * 10), name="class"), {}, "classification"),
        (pd.Series(pd.Categorical(range(40)), name="class"), {}, "classification"),
        (pd.Series(["a", "b"] * 20, name="class", dtype=object), {}, "classification"),
    ],
)
def test_the_task_is_what_the_target_looks_like(openml, target, options, task):
    openml(answer(table(), target))
    assert raw(**options).task == task


def test_where_downloads_are_kept(openml, tmp_path):
    calls = openml(answer(table(), LABELS))
    raw(folder=str(tmp_path), target="quality")
    assert calls[0]["data_home"] == str(tmp_path)
    assert calls[0]["target_column"] == "quality"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            urllib.error.URLError("Name or service not known"),
            r"expected an answer from OpenML, got `URLError: .*Name or service not known>`.*needs the internet",
        ),
        (TimeoutError("timed out"), "expected an answer from OpenML, got `TimeoutError: timed out`"),
        (ConnectionResetError(104, "reset"), "expected an answer from OpenML, got `ConnectionResetError"),
        (ValueError("Dataset wine with version 1 not found."), "of this name and version, got `Dataset .* not found"),
        (
            ValueError("The md5 checksum of the file does not match the expected checksum"),
            "expected a data set with a table of this name and version, got `The md5 checksum",
        ),
        (KeyError("Could not find target_column='quality'"), "got `Could not find target_column='quality'`"),
    ],
)  # fmt: skip
def test_what_openml_or_the_network_refuse(openml, error, message):
    openml(error)
    with pytest.raises(DataError, match=rf"^openml: wine-quality-red \(version 1\): .*{message}"):
        load_dataset("openml", **WINE)


def missing(column: str) -> pd.DataFrame:
    frame = table()
    frame.loc[2, column] = None
    return frame


@pytest.mark.parametrize(
    ("bunch", "options", "message"),
    [
        (answer(table(), LABELS, name="wine"), {}, r"expected 'wine-quality-red' version 1, got \('wine', 1\)"),
        (answer(table(), LABELS, version="2"), {}, r"expected .* version 1, got \('wine-quality-red', 2\)"),
        (answer(table(), LABELS[:39]), {}, "expected 40 targets, one a row, got `39`"),
        (answer(table(), LABELS), {"rows": 1599}, "rows: expected 1599 as the options say, got `40`"),
        (answer(table(), None), {}, r"target: expected one column, got \[\]. Name one column as target"),
        (answer(table(), pd.DataFrame({"a": [1], "b": [2]})), {}, r"target: expected one column, got \['a', 'b'\]"),
        (answer(table(), LABELS), {"drop": ("knd",)}, "drop: expected the name of a feature.*Did you mean 'kind'"),
        (answer(missing("acid"), LABELS), {}, "column 'acid': row 3: expected a value, got `an empty cell or NaN`"),
        (answer(missing("kind"), LABELS), {}, "column 'kind': row 3: expected a value, got `an empty cell or NaN`"),
        (answer(table(), LABELS.where(LABELS != "7")), {}, "column 'class': row 4: expected a value"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_used(openml, bunch, options, message):
    openml(bunch)
    with pytest.raises(DataError, match=rf"^openml: wine-quality-red \(version 1\): {message}"):
        load_dataset("openml", **WINE, **options)


def test_a_column_of_free_text_is_refused(openml):
    frame = pd.DataFrame({"note": [f"text {row}" for row in range(1001)], "a": np.arange(1001.0)})
    openml(answer(frame, pd.Series(np.arange(1001.0), name="class")))
    with pytest.raises(
        DataError, match=r"column 'note': expected at most 1000 categories, got `1001`\. Drop the column"
    ):
        raw()
    assert raw(drop=("note",)).feature_names == ("a",)


def test_checking_a_spec_asks_nobody(openml):
    calls = openml(AssertionError("it was asked"))
    options = options_of({"name": "openml", **WINE})
    assert (options.dataset, options.version) == ("wine-quality-red", 1)
    assert calls == []
    with pytest.raises(ConfigError, match="version: expected a value"):
        options_of({"name": "openml", "dataset": "iris"})
    with pytest.raises(ConfigError, match="version: expected a number of at least 1, got 0"):
        options_of({"name": "openml", "dataset": "iris", "version": 0})
