"""Data sets by name, from files and from arrays; split, scaled, and cut into batches."""

from gfopt.data.arrays import from_arrays
from gfopt.data.batches import batch_rows
from gfopt.data.dataset import Dataset, Scaling
from gfopt.data.files import from_file
from gfopt.data.load import (
    DatasetOptions,
    FileOptions,
    load_dataset,
    load_spec,
    named_options,
    options_of,
    sources,
)
from gfopt.data.source import RawData, Source, SourceOptions
from gfopt.data.splits import Split, split_rows

__all__ = [
    "Dataset",
    "DatasetOptions",
    "FileOptions",
    "RawData",
    "Scaling",
    "Source",
    "SourceOptions",
    "Split",
    "batch_rows",
    "from_arrays",
    "from_file",
    "load_dataset",
    "load_spec",
    "named_options",
    "options_of",
    "sources",
    "split_rows",
]
