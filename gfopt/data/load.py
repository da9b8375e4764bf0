"""Data sets by name, and the `dataset:` mapping of a study file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from gfopt import registry
from gfopt.data.assemble import Preparation, assemble
from gfopt.data.dataset import Dataset, Task
from gfopt.data.files import from_file
from gfopt.data.shift import ShiftOptions, shift_options
from gfopt.data.source import Source, SourceOptions
from gfopt.data.splits import check_fractions
from gfopt.errors import ConfigError, expectation, located
from gfopt.options import parse

AnySource = Source[SourceOptions]


class DatasetOptions(BaseModel):
    """What every `dataset:` mapping may say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    test_fraction: float = Field(0.2, ge=0, lt=1, description="share of all rows that judge; 0 for none")
    validation_fraction: float = Field(0.1, ge=0, lt=1, description="share of all rows that choose between runs")
    scale: bool = Field(True, description="mean 0 and standard deviation 1 over the training rows")
    shift: ShiftOptions | None = Field(None, description="covariate shift between training and test rows")


class FileOptions(DatasetOptions):
    """`{path: x.csv, target: y}`."""

    path: str = Field(min_length=1, description="a .csv, .parquet or .npz file, relative to the study file")
    target: str = Field("y", min_length=1, description="the column, or array, to predict")
    task: Task | None = Field(None, description="by default what the target looks like")
    drop: tuple[str, ...] = Field((), description="columns to leave out")


@lru_cache(maxsize=64)
def named_options(name: str) -> type[DatasetOptions]:
    """The model of `{name: <name>, ...}`: `DatasetOptions` and the source's own options in one.

    Raises:
        ConfigError: for an unknown name.
    """
    # The source's own options come with DatasetOptions, so the model is one of them.
    bases = cast(tuple[type[DatasetOptions], ...], (source(name).options_class, DatasetOptions))
    return create_model(
        f"{name.title().replace('_', '')}Dataset",
        __base__=bases,
        __doc__=f"`{{name: {name}}}`.",
        name=(Literal[name], ...),  # type: ignore[arg-type]  # a Literal made at run time
    )


def source(name: str) -> AnySource:
    """The source of that name.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    found = registry.datasets.get(name)
    if not isinstance(found, Source):
        raise ConfigError(f"data set {name!r}: " + expectation("a gfopt.data.Source", found))
    return found


def sources() -> tuple[AnySource, ...]:
    """Every data set that has a name, with task and description; loads none of them."""
    return tuple(source(name) for name in registry.datasets.loadable())


def load_dataset(
    name: str,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    scale: bool = True,
    shift: Mapping[str, object] | ShiftOptions | None = None,
    **options: object,
) -> Dataset:
    """The data set of that name, split and scaled; `sources()` lists them.

    Args:
        name: as `digits`.
        test_fraction: share of all rows that judge.
        validation_fraction: share of all rows that choose between runs.
        seed: the split depends on it and on the data alone; generated data depend on it too.
        scale: give every input, and the targets of a regression, mean 0 and standard deviation 1 over the
            training rows.
        shift: covariate shift on purpose, as `{"kind": "biased-resampling", "severity": 0.5}`; see
            `gfopt.data.ShiftOptions`.
        **options: the source's own, as `noise` of `moons`.

    Raises:
        ConfigError: for an unknown name or option and for a value out of range, with the nearest known one.
        DataError: if the rows are too few to split.
    """
    how = Preparation(test_fraction, validation_fraction, seed, scale, shift_options(shift))
    found = source(name)
    with located(name):
        return assemble(name, found.load(parse(found.options_class, options), int(seed)), how)


def options_of(spec: Mapping[str, object]) -> DatasetOptions:
    """The checked form of a `dataset:` mapping, `{name: digits, ...}` or `{path: x.csv, target: y, ...}`.

    Looks at no data and opens no file.

    Raises:
        ConfigError: naming the key, what was expected and what was got.
    """
    if not isinstance(spec, Mapping):
        raise ConfigError(expectation("a mapping as {name: digits} or {path: x.csv, target: y}", spec))
    if ("name" in spec) == ("path" in spec):
        got = f"`{', '.join(map(str, spec)) or 'no keys'}`"
        raise ConfigError(expectation("exactly one of the keys name and path", got))
    if "path" in spec:
        model: type[DatasetOptions] = FileOptions
    else:
        with located("name"):
            model = named_options(registry.datasets.check(spec["name"]))
    options = parse(model, spec)
    check_fractions(options.test_fraction, options.validation_fraction)
    return options


def load_spec(spec: Mapping[str, object] | DatasetOptions, seed: int = 0, base: Path | None = None) -> Dataset:
    """The data set that a `dataset:` mapping describes.

    Args:
        spec: the mapping, or what `options_of` made of it.
        seed: the split, and generated data, depend on it.
        base: folder that a relative `path` or `folder` starts from; by default the working directory.

    Raises:
        ConfigError: as `options_of`.
        DataError: if the data cannot be used.
    """
    options = spec if isinstance(spec, DatasetOptions) else options_of(spec)
    values = {name: getattr(options, name) for name in type(options).model_fields}
    if base is not None and values.get("folder") is not None:
        values["folder"] = str(base / Path(values["folder"]).expanduser())
    if isinstance(options, FileOptions):
        path = Path(values.pop("path")).expanduser()
        return from_file(path if base is None else base / path, seed=seed, **values)
    return load_dataset(values.pop("name"), seed=seed, **values)
