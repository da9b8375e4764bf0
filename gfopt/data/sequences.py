"""Tasks of long memory, drawn from a seed: what has to be kept is seen once, and needed many steps later.

Inputs are `(N, T, F)`. `adding`, `latch` and `parity_sequence` have one target a row; `copy_memory`, and
`parity_sequence` with `every_step`, have one at each of the `T` steps.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from pydantic import Field, model_validator

from gfopt import rng
from gfopt.data.source import RawData, Source, SourceOptions

# Numbers in the inputs of a generated set: 0.4 GB as float64.
MOST_NUMBERS = 50_000_000
STEPS = (0,)  # the axis of one row `(T, F)` that is time


class SequenceOptions(SourceOptions):
    """Options that every task of this module has."""

    samples: int = Field(1000, ge=10, le=1_000_000, description="rows")

    @abstractmethod
    def numbers(self) -> int:
        """Numbers in one row's input."""

    @model_validator(mode="after")
    def _fits_into_memory(self) -> SequenceOptions:
        found = self.samples * self.numbers()
        if found > MOST_NUMBERS:
            raise ValueError(
                f"samples: expected at most {MOST_NUMBERS // self.numbers()} rows of {self.numbers()} numbers each "
                f"({MOST_NUMBERS} numbers in all), got {self.samples}"
            )
        return self


class AddingOptions(SequenceOptions):
    """Options of `adding`."""

    length: int = Field(50, ge=2, le=10_000, description="steps of a sequence")

    def numbers(self) -> int:  # noqa: D102 - as in the base
        return 2 * self.length


class LatchOptions(SequenceOptions):
    """Options of `latch`."""

    length: int = Field(50, ge=2, le=10_000, description="steps of a sequence")
    relevant: int = Field(3, ge=1, le=10_000, description="first steps, the only ones that tell the class")
    noise: float = Field(0.447, ge=0, le=10, description="standard deviation of the other steps; 0.447 is variance 0.2")

    def numbers(self) -> int:  # noqa: D102 - as in the base
        return self.length

    @model_validator(mode="after")
    def _within_the_sequence(self) -> LatchOptions:
        if self.relevant > self.length:
            raise ValueError(f"relevant: expected at most the {self.length} steps of a sequence, got {self.relevant}")
        return self


class ParitySequenceOptions(SequenceOptions):
    """Options of `parity_sequence`."""

    samples: int = Field(256, ge=2, le=100_000, description="different rows; at most 2**length")
    length: int = Field(8, ge=2, le=10_000, description="bits of a sequence, one a step")
    every_step: bool = Field(False, description="a target at every step, the parity of the bits so far")

    def numbers(self) -> int:  # noqa: D102 - as in the base
        return self.length

    @model_validator(mode="after")
    def _at_most_all(self) -> ParitySequenceOptions:
        if self.length < 17 and self.samples > 2**self.length:
            raise ValueError(
                f"samples: expected at most the 2**{self.length} = {2**self.length} patterns, got {self.samples}"
            )
        return self


class CopyMemoryOptions(SequenceOptions):
    """Options of `copy_memory`."""

    alphabet: int = Field(8, ge=2, le=100, description="symbols to remember, beside the blank and the marker")
    symbols: int = Field(5, ge=1, le=1000, description="length of the word to remember; 10 in the literature")
    delay: int = Field(20, ge=1, le=10_000, description="steps between the end of the word and the start of its copy")

    @property
    def length(self) -> int:
        """Steps of a sequence."""
        return self.delay + 2 * self.symbols

    def numbers(self) -> int:  # noqa: D102 - as in the base
        return self.length * (self.alphabet + 2)


def _adding(options: AddingOptions, seed: int) -> RawData:
    """Values uniform in [0, 1], one mark in each half, the plain sum: the variant of Le, Jaitly & Hinton 2015.

    Answering 1 to everything has the mean squared error 1/6. (In Hochreiter & Schmidhuber 1997 lengths vary, values are
    in [-1, 1], both marks lie in the first half, and the target is `0.5 + (X1 + X2) / 4`.)

    References:
        Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 5.4; Le et al. 2015, arXiv:1504.00941.
    """
    generator = rng.generator(seed, "data", "adding")
    rows, half = np.arange(options.samples), options.length // 2
    x = np.zeros((options.samples, options.length, 2))
    x[:, :, 0] = generator.uniform(0, 1, (options.samples, options.length))
    x[rows, generator.integers(0, half, options.samples), 1] = 1
    x[rows, generator.integers(half, options.length, options.samples), 1] = 1
    return RawData("regression", x, (x[:, :, 0] * x[:, :, 1]).sum(axis=1), shared=STEPS)


def _latch(options: LatchOptions, seed: int) -> RawData:
    """The first `relevant` steps are 1 in class 1 and -1 in class 0; the others are normal noise.

    References:
        Bengio, Simard & Frasconi 1994, IEEE Transactions on Neural Networks 5(2); in this form Hochreiter & Schmidhuber
        1997, section 5.3, with noise of variance 0.2.
    """
    generator = rng.generator(seed, "data", "latch")
    label = np.arange(options.samples) % 2
    x = options.noise * generator.standard_normal((options.samples, options.length, 1))
    x[:, : options.relevant, 0] = (2 * label - 1)[:, None]
    return RawData("classification", x, label.astype(np.int64), (0, 1), shared=STEPS)


def _parity_sequence(options: ParitySequenceOptions, seed: int) -> RawData:
    bits = _different_bits(rng.generator(seed, "data", "parity_sequence"), options.samples, options.length)
    parity = np.cumsum(bits, axis=1) % 2
    y = parity if options.every_step else parity[:, -1]
    return RawData("classification", bits[:, :, None].astype(np.float64), y, (0, 1), shared=STEPS)


def _different_bits(generator: np.random.Generator, samples: int, length: int) -> np.ndarray:
    """`(samples, length)` int64 bits, no two rows alike, so that no test row is a training row."""
    if length > 62:  # two equal rows among 100 000 have a probability below 1e-9
        return generator.integers(0, 2, (samples, length), dtype=np.int64)
    patterns = generator.choice(2**length, samples, replace=False)
    return np.asarray((patterns[:, None] >> np.arange(length)) & 1, dtype=np.int64)


def _copy_memory(options: CopyMemoryOptions, seed: int) -> RawData:
    """One-hot steps: the word, blanks, a marker one step before the copy starts, blanks; the targets end with the word.

    All other targets are the blank, class 0. Guessing among the symbols and knowing the rest has the cross-entropy
    `symbols * log(alphabet) / (delay + 2 * symbols)`.

    References:
        Hochreiter & Schmidhuber 1997, Neural Computation 9(8); in this form Arjovsky et al. 2016, arXiv:1511.06464,
        section 5.1, with 8 symbols in the alphabet and words of 10.
    """
    generator = rng.generator(seed, "data", "copy_memory")
    word = generator.integers(1, options.alphabet + 1, (options.samples, options.symbols))
    shown = np.zeros((options.samples, options.length), dtype=np.int64)  # 0 is the blank
    shown[:, : options.symbols] = word
    shown[:, -options.symbols - 1] = options.alphabet + 1  # the marker: repeat from the next step on
    y = np.zeros_like(shown)
    y[:, -options.symbols :] = word
    x = np.eye(options.alphabet + 2)[shown]
    return RawData("classification", x, y, tuple(range(options.alphabet + 1)), shared=STEPS)


adding = Source(
    name="adding",
    task="regression",
    description="sum of the two marked numbers, one in each half (Hochreiter & Schmidhuber 1997; Le et al. 2015)",
    options_class=AddingOptions,
    load=_adding,
)

latch = Source(
    name="latch",
    task="classification",
    description="the first steps tell the class, the others are noise (Bengio et al. 1994)",
    options_class=LatchOptions,
    load=_latch,
)

parity_sequence = Source(
    name="parity_sequence",
    task="classification",
    description="bits one a step, class 1 where the number of ones is odd; every_step: at each step",
    options_class=ParitySequenceOptions,
    load=_parity_sequence,
)

copy_memory = Source(
    name="copy_memory",
    task="classification",
    description="repeat a word after a delay, a target at each step (Hochreiter & Schmidhuber 1997)",
    options_class=CopyMemoryOptions,
    load=_copy_memory,
)
