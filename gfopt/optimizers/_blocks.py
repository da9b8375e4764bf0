"""A population in blocks that stay in the processor's cache, so that an operator makes no array of its size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Genomes = NDArray[Any]
Rows = NDArray[np.intp]
Place = tuple[slice | Rows, slice]  # rows and genes

BLOCK = 2**15  # genes: with their partners and random numbers they fill a second-level cache


def shape(genomes: Genomes, rows: Rows | None) -> tuple[int, int]:
    """How many rows are chosen, and the genes of each."""
    return len(genomes) if rows is None else len(rows), genomes.shape[1]


def runs(count: int, dim: int) -> Iterator[slice]:
    """Whole members, as many at a time as fit in a block, but at least one."""
    step = max(1, BLOCK // max(1, dim))
    for start in range(0, count, step):
        yield slice(start, min(count, start + step))


def cut(count: int, dim: int) -> Iterator[tuple[slice, slice]]:
    """Members and genes of blocks that follow each other in a `(count, dim)` array in memory."""
    for members in runs(count, dim):
        for start in range(0, dim, BLOCK):
            yield members, slice(start, min(dim, start + BLOCK))


def place(rows: Rows | None, members: slice, genes: slice) -> Place:
    """Where a block of the chosen rows lies in the whole array; a single row as a slice, which is no copy."""
    if rows is None:
        return members, genes
    chosen = rows[members]
    return (slice(chosen[0], chosen[0] + 1) if len(chosen) == 1 else chosen), genes


def put(genomes: Genomes, at: Place, block: Genomes) -> None:
    """Write a changed block back, unless it is a view."""
    if not isinstance(at[0], slice):
        genomes[at] = block
