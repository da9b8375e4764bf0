"""Data sets by name, from files and from arrays; split, scaled, and cut into batches."""

from gfopt.data.arrays import from_arrays
from gfopt.data.batches import batch_rows
from gfopt.data.dataset import Dataset, Scaling
from gfopt.data.files import from_file
from gfopt.data.importance import (
    ImportanceOptions,
    ImportanceWarning,
    ImportanceWeights,
    effective_sample_size,
    importance_options,
    importance_weights,
)
from gfopt.data.load import (
    DatasetOptions,
    FileOptions,
    load_dataset,
    load_spec,
    named_options,
    options_of,
    sources,
)
from gfopt.data.shift import ShiftOptions
from gfopt.data.source import RawData, Source, SourceOptions
from gfopt.data.splits import Split, split_rows

__all__ = [
    "Dataset",
    "DatasetOptions",
    "FileOptions",
    "ImportanceOptions",
    "ImportanceWarning",
    "ImportanceWeights",
    "RawData",
    "Scaling",
    "ShiftOptions",
    "Source",
    "SourceOptions",
    "Split",
    "batch_rows",
    "effective_sample_size",
    "from_arrays",
    "from_file",
    "importance_options",
    "importance_weights",
    "load_dataset",
    "load_spec",
    "named_options",
    "options_of",
    "sources",
    "split_rows",
]
