"""What a forward pass has to remember for the backward pass, and where the parameters' slopes gather.

The tape of a tile holds the values that some operation needs on the way back, one behind the other. An operation
writes over the value that it reads if nobody needs that one again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfopt.kernels.program import (
    ACTIVATE,
    ACTIVATIONS,
    ADD,
    AFFINE,
    BATCH,
    COPY,
    KEEP,
    LINEAR,
    NOWHERE,
    STANDARDIZE,
    Program,
)

LANES = 8

# Codes of the activations' derivatives, in the order of the activations.
SLOPES = (*ACTIVATIONS, "leaky_relu_one_at_zero")

# Activations whose output says enough for the derivative; the others need their input.
BY_OUTPUT = frozenset({"tanh", "sigmoid", "relu", "hardtanh", "step"})

SAMPLES = -1  # in the place of a value: the samples themselves

# Columns of the places: the value that an operation reads, the one that it leaves behind, then
#   LINEAR    place of the slopes of its weight, number of its direction (or -1), place of the bias's sums
#   ACTIVATE  the value that its derivative is taken of, code of the derivative
#   ADD       the value that was put aside
#   AFFINE    -, -, place of the sums of gain and, behind them, shift
#   BATCH     -, -, place of the sums of gain and shift
SOURCE, TARGET, EXTRA, CODE, SUMS = range(5)


@dataclass(frozen=True)
class Tape:
    """Where everything lies.

    Attributes:
        places: `(n, 5)` of every operation, see `SOURCE` and the others; of values and sums in features,
            of weights in numbers.
        features: of all values of one sample.
        weights: numbers of all slopes of weights, their rows filled up to multiples of eight.
        sums: features that have eight sums each.
        inputs: of the widest layer behind the first, filled up.
        bottom: the first operation with parameters, where the way back ends.
    """

    places: NDArray[np.int64]
    features: int
    weights: int
    sums: int
    inputs: int
    bottom: int


def padded(inputs: int) -> int:
    """Numbers filled up to whole vectors."""
    return -(-inputs // LANES) * LANES


def tape_of(program: Program) -> Tape:
    """The tape of a program."""
    return _Layout(program).tape()


class _Layout:
    """Walks through a program and hands out places."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._features = self._weights = self._sums = self._inputs = 0
        self._current = SAMPLES
        self._aside = SAMPLES
        self._needed = True  # the current value, by whoever made it or put it aside

    def tape(self) -> Tape:
        places = [self._operation(op) for op in self._program.ops]
        bottom = next(i for i, op in enumerate(self._program.ops) if _has_parameters(op))
        return Tape(np.array(places, dtype=np.int64), self._features, self._weights, self._sums, self._inputs, bottom)

    def _operation(self, op: tuple[int, ...]) -> tuple[int, ...]:
        code, units = op[0], op[1]
        source = self._current
        if code == LINEAR:
            self._move(units)
            return source, self._current, self._weight(op), self._direction(op), self._summed(units)
        if code == ACTIVATE:
            by_output = ACTIVATIONS[op[2]] in BY_OUTPUT
            self._write(units, reads=not by_output, rereads=by_output)
            slope = SLOPES.index("leaky_relu_one_at_zero") if op[3] else op[2]
            return source, self._current, self._current if by_output else source, slope, 0
        if code == STANDARDIZE:
            self._write(units, reads=True, rereads=True)
        elif code == AFFINE:
            self._write(units, reads=op[2] != NOWHERE)
            return source, self._current, 0, 0, self._summed(2 * units)
        elif code == BATCH:
            self._write(units, reads=True)
            return source, self._current, 0, 0, self._summed(2 * units)
        elif code == KEEP:
            self._aside, self._needed = self._current, True
        elif code == ADD:
            self._write(units)
            return source, self._current, self._aside, 0, 0
        elif code == COPY:
            self._move(units)
        return source, self._current, 0, 0, 0

    def _write(self, units: int, *, reads: bool = False, rereads: bool = False) -> None:
        """A place for a result: a new one if the operation or the one before needs on the way back what it reads."""
        if reads or self._needed:
            self._move(units)
        self._needed = rereads

    def _move(self, units: int) -> None:
        self._current, self._features = self._features, self._features + units
        self._needed = False

    def _summed(self, units: int) -> int:
        self._sums += units
        return self._sums - units

    def _weight(self, op: tuple[int, ...]) -> int:
        width = padded(op[2])
        self._weights += op[1] * width
        self._inputs = max(self._inputs, width)
        return self._weights - op[1] * width

    def _direction(self, op: tuple[int, ...]) -> int:
        if not op[5]:
            return NOWHERE
        return next(i for i, direction in enumerate(self._program.directions) if direction[5] == op[3])


def _has_parameters(op: tuple[int, ...]) -> bool:
    if op[0] == AFFINE:
        return True
    return op[0] == LINEAR or (op[0] == BATCH and (op[3] != NOWHERE or op[4] != NOWHERE))
