"""What strategies share whose covariance a library adapts: the start, units, the mean's own loss, new beginnings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.types import Evaluation

Array = NDArray[np.float64]

# A distribution outside of these limits, in units of the scale, has no digits left to search with.
NARROWEST, WIDEST = 1e-12, 1e10
# Ratio of the deviations along the shortest and the longest axis: a condition number of 1e14.
FLATTEST = 1e-7


class GenerationOptions(Options):
    """Options of every strategy that samples a normal distribution with an adapted covariance.

    Attributes:
        population: samples of a generation (`lambda`).
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma`).
    """

    population: int = Field(32, ge=2)
    deviation: float = Field(1.0, gt=0)


class Generations(Optimizer):
    """Samples generations of a distribution that a library adapts, in units of the scale: `x = origin + scale * z`.

    The first generation are the start rows; the best of them is the origin, and the first mean. Every later one is
    `population` samples, and behind them the mean, unless its loss on the batch is known: it is what the strategy
    improves, and mostly better than any sample. The mean is charged like a sample and has no part in the update.

    A sample outside the problem's bounds is put on them, and learned from where it was put. A generation of equal
    losses (all failed, a plateau) says nothing and is not learned from. A distribution that became too narrow, too
    wide or too flat for the arithmetic starts again from its mean with the first deviation.

    Samples are not part of the state: it is that of before they were drawn, and they are drawn again.
    """

    device = "cpu"
    options: GenerationOptions
    min_dim: ClassVar[int] = 1  # the library refuses fewer: genes that no loss sees are added

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of samples."""
        assert isinstance(options, GenerationOptions)
        return options.population

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """The samples and their mean."""
        return cls.population_size(options) + 1

    def _initialize(self, start: Tensor) -> None:
        self._like = start.new_empty((0, start.shape[1]))
        self._start: Array | None = start.cpu().numpy()
        self._units = self.scale.detach().cpu().numpy().astype(np.float64)
        self._origin = np.zeros(len(self._units))
        self._box: tuple[Array, Array] | None = None
        self._samples: Array | None = None  # of the generation at hand, in units
        self._mean_loss = np.inf
        self._mean_batch: int | None = None  # where the mean's loss is known
        self._asked: int | None = None
        self._seed(int(self.generator.integers(2**32)))

    @abstractmethod
    def _seed(self, seed: int) -> None:
        """Make the stream of random numbers."""

    @abstractmethod
    def _begin(self, mean: Array) -> None:
        """Make the distribution around `mean` `(D,)`, with the first deviation; draws nothing."""

    @abstractmethod
    def _sample(self) -> Array:
        """`(population, D)` samples; of the state, changes random numbers only."""

    @abstractmethod
    def _mean(self) -> Array:
        """`(D,)` mean of the distribution."""

    @abstractmethod
    def _learn(self, samples: Array, loss: Array, mean_loss: float) -> float | None:
        """Adapt the distribution to `(population, D)` samples.

        Args:
            samples: within the bounds.
            loss: `(population,)`.
            mean_loss: the mean's on the same batch.

        Returns:
            The new mean's loss, if known.
        """

    @abstractmethod
    def _axes(self) -> Array:
        """`(D,)` standard deviations along the distribution's axes."""

    @abstractmethod
    def _distribution(self) -> dict[str, Any]:
        """The distribution as plain values and arrays; of no generation in particular."""

    @abstractmethod
    def _load_distribution(self, state: Mapping[str, Any]) -> None:
        """Put `_distribution` into what `_begin` made."""

    @abstractmethod
    def _stream(self) -> dict[str, Any]:
        """The place in the random numbers, as plain values and arrays."""

    @abstractmethod
    def _load_stream(self, state: Mapping[str, Any]) -> None:
        """Go to a place in the random numbers."""

    def ask(self, batch: int) -> Tensor:
        """The start rows; then the samples of this generation and, if its loss is not known, the mean."""
        self._asked = batch
        if self._start is not None:
            return torch.from_numpy(self._start.copy()).to(self._like)
        if self._samples is None:
            self._before = self._stream()
            self._samples = self._within(self._sample())
        rows = [self._samples] if batch == self._mean_batch else [self._samples, self._within(self._mean())[None]]
        dim, at = len(self._units), 0
        staged = staging(sum(len(part) for part in rows), self._like)
        for part in rows:
            staged[at : at + len(part)] = torch.from_numpy(self._origin + self._units * part[:, :dim])
            at += len(part)
        asked = deliver(staged, self._like)
        return asked if self.bounds is None else asked.clamp_(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the rows last asked for, and adapt the distribution."""
        del population
        loss = evaluation.loss.detach().cpu().numpy().astype(np.float64)
        if self._start is not None:
            best = int(loss.argmin())
            self._set_origin(self._start[best].astype(np.float64))
            self._start, self._mean_batch, self._mean_loss = None, self._asked, float(loss[best])
            self._begin(np.zeros(self._width()))
            return
        assert self._samples is not None
        samples, self._samples = self._samples, None
        if len(loss) > len(samples):
            self._mean_batch, self._mean_loss = self._asked, float(loss[-1])
        before = self._mean().copy()
        known = self._learn_safely(samples, loss[: len(samples)], before)
        if known is None:
            self._mean_batch = None
        else:
            self._mean_loss = known

    def _learn_safely(self, samples: Array, loss: Array, before: Array) -> float | None:
        """`_learn`, and a new beginning if that leaves a distribution that cannot be sampled."""
        try:
            with np.errstate(all="ignore"):
                known = self._learn(samples, loss, self._mean_loss)
                axes = self._axes()
            sound = bool(np.isfinite(axes).all() and np.isfinite(self._mean()).all())
        except np.linalg.LinAlgError:
            sound = False
        if not sound:
            self._begin(before)
            return self._mean_loss
        if not NARROWEST < axes.max() < WIDEST or axes.min() < FLATTEST * axes.max():
            self._begin(self._mean().copy())
        return known

    def _set_origin(self, origin: Array) -> None:
        """Let `z = 0` be `origin` `(D,)`, and the bounds be where they are then."""
        self._origin = origin
        if self.bounds is not None:
            low, high = (bound.cpu().numpy().astype(np.float64) for bound in self.bounds)
            extra = np.full(self._width() - len(origin), np.inf)
            self._box = (
                np.concatenate([(low - origin) / self._units, -extra]),
                np.concatenate([(high - origin) / self._units, extra]),
            )

    def _width(self) -> int:
        return max(len(self._units), self.min_dim)

    def _within(self, rows: Array) -> Array:
        return rows if self._box is None else np.clip(rows, *self._box)

    def state_dict(self) -> dict[str, Any]:
        """The start if it is not evaluated yet, else the distribution; and the place in the random numbers."""
        begun = self._start is None
        return {
            "start": None if self._start is None else self._start.copy(),
            "origin": self._origin.copy(),
            "mean_loss": float(self._mean_loss),
            "mean_batch": self._mean_batch,
            "distribution": self._distribution() if begun else None,
            "stream": self._stream() if self._samples is None else self._before,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._start = None if state["start"] is None else np.array(state["start"])
        self._samples = None
        self._mean_loss, self._mean_batch = float(state["mean_loss"]), state["mean_batch"]
        self._set_origin(np.array(state["origin"]))
        if state["distribution"] is not None:
            self._begin(np.zeros(self._width()))
            self._load_distribution(state["distribution"])
        self._load_stream(state["stream"])
