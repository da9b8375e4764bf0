"""Data sets of OpenML by name: the only ones that are downloaded, and only when a study names them."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from gfopt import rng
from gfopt.data.columns import features_of, one_hot, target_of
from gfopt.data.dataset import Task
from gfopt.data.source import RawData, Source, SourceOptions
from gfopt.data.targets import encode_target
from gfopt.errors import DataError, expectation, located, suggestion


class OpenMLOptions(SourceOptions):
    """Options of `openml`."""

    dataset: str = Field(min_length=1, description="its name at OpenML, as wine-quality-red")
    version: int = Field(ge=1, description="its version there, so that the data cannot change under a study")
    target: str | None = Field(None, min_length=1, description="column to predict; OpenML's own choice if not given")
    task: Task | None = Field(None, description="by default what the target looks like")
    drop: tuple[str, ...] = Field((), description="columns to leave out")
    rows: int | None = Field(None, ge=1, description="how many there must be; another number is refused")
    folder: str | None = Field(None, min_length=1, description="where downloads are kept; scikit-learn's by default")


def _openml(options: OpenMLOptions, seed: int) -> RawData:
    del seed
    with located(f"{options.dataset} (version {options.version})"):
        bunch = _fetched(options)
        features, target = bunch.data, bunch.target
        if not isinstance(target, pd.Series):
            fix = "Name one column as target."
            raise DataError("target: " + expectation("one column", list(bunch.target_names), fix))
        _check(options, bunch)
        unknown = [name for name in options.drop if name not in features.columns]
        if unknown:
            fix = suggestion(unknown[0], map(str, features.columns))
            raise DataError("drop: " + expectation("the name of a feature column", unknown[0], fix))
        x, names = features_of(_numeric(features.drop(columns=list(options.drop)).reset_index(drop=True)))
        with located(f"column {target.name!r}"):
            # A column of categories is one of classes, whatever its labels look like.
            task = options.task or ("classification" if isinstance(target.dtype, pd.CategoricalDtype) else None)
            encoded = encode_target(target_of(target.reset_index(drop=True), task), task)
    return RawData(encoded.task, x, encoded.values, encoded.classes, names)


def _fetched(options: OpenMLOptions) -> Any:
    """What scikit-learn returns; it compares the file with the MD5 sum in OpenML's own description."""
    with rng.undisturbed():
        from sklearn.datasets import fetch_openml
    folder = None if options.folder is None else str(Path(options.folder).expanduser())
    try:
        return fetch_openml(
            options.dataset,
            version=options.version,
            target_column=options.target or "default-target",
            data_home=folder,
            as_frame=True,
        )
    except (OSError, http.client.HTTPException) as error:
        fix = "This data set is downloaded, so the first time needs the internet; others need none."
        raise DataError(expectation("an answer from OpenML", f"`{type(error).__name__}: {error}`", fix)) from None
    except (ValueError, KeyError) as error:
        reason = str(error.args[0]) if error.args else type(error).__name__
        raise DataError(expectation("a data set with a table of this name and version", f"`{reason}`")) from None


def _check(options: OpenMLOptions, bunch: Any) -> None:
    """Refuse what is not the data set that was asked for, or not whole."""
    details = (str(bunch.details.get("name")), int(bunch.details.get("version", 0)))
    if (details[0].lower(), details[1]) != (options.dataset.lower(), options.version):  # OpenML ignores case
        raise DataError(expectation(f"{options.dataset!r} version {options.version}", details))
    if len(bunch.target) != len(bunch.data):
        raise DataError(expectation(f"{len(bunch.data)} targets, one a row", f"`{len(bunch.target)}`"))
    if options.rows is not None and len(bunch.data) != options.rows:
        raise DataError("rows: " + expectation(f"{options.rows} as the options say", f"`{len(bunch.data)}`"))


def _numeric(table: pd.DataFrame) -> pd.DataFrame:
    """The table with one column of 0 and 1 for each category in place of text and categories."""
    parts = []
    for index, name in enumerate(map(str, table.columns)):
        column = table.iloc[:, index].rename(name)
        numeric = pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)
        with located(f"column {name!r}"):
            parts.append(column.to_frame() if numeric else one_hot(column))
    return pd.concat(parts, axis=1) if parts else table


openml = Source(
    name="openml",
    task=None,
    description="a data set of OpenML by its name and version; the only one that is downloaded",
    options_class=OpenMLOptions,
    load=_openml,
    needs="its name at OpenML, and the internet the first time",
)
