"""A network as a list of operations on tiles of samples, which the compiled loop runs for every member.

An operation is a row of six integers, the first its code, the second the features that it leaves behind:

| code | others |
|---|---|
| LINEAR | inputs, place of the weight, place of the bias, whether the weight is a normalized one |
| ACTIVATE | activation (its place in `ACTIVATIONS`), whether its derivative at 0 is 1; its number is the slope |
| STANDARDIZE | groups, whether the mean goes, whether by the length; its number is eps |
| AFFINE | place of the gain, place of the shift |
| BATCH | whether by the deviation, place of the gain, place of the shift; its number is eps |
| COPY, KEEP, ADD | copy the samples; put the tile aside; add what was put aside |

A place is the number of a parameter's first entry in the genome, -1 for a parameter that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LINEAR, ACTIVATE, STANDARDIZE, AFFINE, BATCH, COPY, KEEP, ADD = range(8)

# Codes of the activations; the instructions of each stand in the same order.
ACTIVATIONS = (
    "tanh", "sigmoid", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "hardtanh", "sin", "step",
)  # fmt: skip

NOWHERE = -1


@dataclass
class Program:
    """The operations, as they are collected.

    Attributes:
        features: that the operations so far leave behind, of each sample.
        ops: rows of six integers.
        numbers: an option of each operation.
        directions: weights to normalize: place, units, inputs, place of the gain, whether centred, place among the
            normalized ones.
        lengths: the length that the rows of each get where there is no gain, and the least that they are taken to
            have.
        scratch: numbers of all normalized weights.
        width: features of the widest layer.
    """

    features: int
    ops: list[tuple[int, ...]] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    directions: list[tuple[int, ...]] = field(default_factory=list)
    lengths: list[tuple[float, float]] = field(default_factory=list)
    scratch: int = 0
    width: int = 0

    def __post_init__(self) -> None:
        self.width = self.features

    def add(self, code: int, units: int, *others: int, number: float = 0.0) -> None:
        """One more operation; the samples are copied ahead of a first one that would write on them."""
        if not self.ops and code != LINEAR and code != COPY:
            self.add(COPY, self.features)
        self.ops.append((code, units, *others, *(0,) * (4 - len(others))))
        self.numbers.append(number)
        self.features = units
        self.width = max(self.width, units)

    @property
    def heaviest(self) -> int:
        """Weights of the largest layer."""
        return max((op[1] * op[2] for op in self.ops if op[0] == LINEAR), default=0)

    def direction(
        self, units: int, inputs: int, weight: int, gain: int, *, centred: bool, length: float, eps: float
    ) -> int:
        """Normalize the rows of a weight; the place where they will be."""
        place, self.scratch = self.scratch, self.scratch + units * inputs
        self.directions.append((weight, units, inputs, gain, int(centred), place))
        self.lengths.append((length, eps))
        return place

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """The operations, their numbers, and where the stages begin and the last one ends."""
        ops = np.array(self.ops, dtype=np.int64).reshape(-1, 6)
        waits = [i for i, op in enumerate(self.ops) if op[0] == BATCH]
        stages = np.array([0, *waits, len(ops)], dtype=np.int64)
        return ops, np.array(self.numbers, dtype=np.float32), stages

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The weights to normalize, `(d, 6)`, and their lengths, `(d, 2)`."""
        table = np.array(self.directions, dtype=np.int64).reshape(-1, 6)
        return table, np.array(self.lengths, dtype=np.float32).reshape(-1, 2)
