"""Evolution strategy with self-adaptive step sizes: the operators of DEAP's `tools`, on whole arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from deap import base
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import expectation
from gfopt.optimizers._deap import best_rows
from gfopt.optimizers._transfer import deliver, staging
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Choice, Integer, Real, Space
from gfopt.types import Evaluation

# In units of scale: far beyond what helps. Without selection, step sizes drift until no number holds them.
_LARGEST = 1e10


class EvolutionStrategyOptions(Options):
    """Options of `deap-es`.

    Attributes:
        population: offspring of a generation (`lambda`).
        parents: how many of them, the best, are the next generation's parents (`mu`); `None`: a quarter.
        recombination: what an offspring is made of before it is mutated: `intermediate`, the mean of all parents, their
            step sizes too; `blend`, two parents, gene by gene (DEAP's `cxESBlend`); `none`, one parent.
        blend_alpha: how far `blend` reaches outside the two, in units of their distance.
        deviation: the first standard deviation of a gene's mutation, in units of its scale (`sigma`).
        learning_rate: how fast step sizes change (`c` of DEAP's `mutESLogNormal`).
        gene_probability: probability that a gene and its step size are mutated.
        smallest_deviation: step sizes do not fall below it, in units of scale.

    `c` is DEAP's, a ratio of four is near the 7 of Schwefel 1995, who recombines step sizes as `intermediate` does too.
    """

    population: int = Field(64, ge=2)
    parents: int | None = Field(None, ge=1)
    recombination: Literal["intermediate", "blend", "none"] = "intermediate"
    blend_alpha: float = Field(0.1, ge=0)
    deviation: float = Field(0.5, gt=0)
    learning_rate: float = Field(1.0, gt=0)
    gene_probability: float = Field(1.0, gt=0, le=1)
    smallest_deviation: float = Field(1e-10, gt=0)

    @model_validator(mode="after")
    def _some_selection(self) -> EvolutionStrategyOptions:
        if self.parents is not None and self.parents >= self.population:
            limit = f"fewer than the {self.population} offspring that they are chosen from"
            raise ValueError("parents: " + expectation(limit, self.parents))
        return self

    @property
    def mu(self) -> int:
        """The number of parents."""
        return max(1, self.population // 4) if self.parents is None else self.parents


class EvolutionStrategy(Optimizer):
    """(mu, lambda) evolution strategy in which every individual has a step size for each gene, which evolves with it.

    An offspring is recombined from the parents and mutated: `s_j <- s_j exp(tau_0 N(0, 1) + tau N_j(0, 1))`, then
    `x_j <- x_j + s_j N_j(0, 1)`, with `tau_0 = c / sqrt(2 D)`, the same number for all genes of an individual, and
    `tau = c / sqrt(2 sqrt(D))`. Parents do not survive: no loss outlives its generation, and nothing is stale on a new
    batch. The start rows are the first offspring. A gene outside the problem's bounds is put on them.

    References: Schwefel 1995, "Evolution and Optimum Seeking"; Beyer and Schwefel 2002, "Evolution strategies: a
        comprehensive introduction", Natural Computing 1, eq. 17 and section 4; DEAP: Fortin et al. 2012, JMLR 13.
    """

    options_class = EvolutionStrategyOptions
    options: EvolutionStrategyOptions
    device = "cpu"
    space: ClassVar[Space] = {
        "population": Integer(16, 256, log=True),
        "recombination": Choice(("intermediate", "blend", "none")),
        "deviation": Real(0.05, 2.0, log=True),
        "learning_rate": Real(0.3, 3.0, log=True),
    }

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of offspring."""
        assert isinstance(options, EvolutionStrategyOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        options = self.options
        self._like = start.new_empty((0, start.shape[1]))
        self._offspring: NDArray[Any] = start.cpu().numpy()
        self._box = None if self.bounds is None else tuple(bound.cpu().numpy() for bound in self.bounds)
        scale = self.scale.cpu().numpy().astype(self._offspring.dtype)
        limits = tuple(scale * scale.dtype.type(size) for size in (options.smallest_deviation, _LARGEST))
        self._steps = np.tile(scale * self._offspring.dtype.type(options.deviation), (len(self._offspring), 1))
        self._toolbox = base.Toolbox()
        mate = {
            "intermediate": intermediate,
            "blend": partial(blend, alpha=options.blend_alpha, generator=self.generator),
            "none": partial(one_parent, generator=self.generator),
        }
        mutate = partial(log_normal_mutation, learning_rate=options.learning_rate, limits=limits)
        self._toolbox.register("select", partial(best_rows, count=options.mu))
        self._toolbox.register("mate", mate[options.recombination], count=options.population)
        self._toolbox.register("mutate", mutate, probability=options.gene_probability, generator=self.generator)

    def ask(self, batch: int) -> Tensor:
        """The offspring."""
        del batch
        staged = staging(len(self._offspring), self._like)
        np.copyto(staged.numpy(), self._offspring)
        return deliver(staged, self._like)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Make the next offspring from the best of these."""
        del population
        parents = self._toolbox.select(evaluation.loss.detach().cpu().numpy().astype(np.float64))
        self._offspring, self._steps = self._toolbox.mate(self._offspring[parents], self._steps[parents])
        self._toolbox.mutate(self._offspring, self._steps)
        if self._box is not None:
            np.clip(self._offspring, *self._box, out=self._offspring)

    def state_dict(self) -> dict[str, Any]:
        """The offspring with their step sizes, and the stream of random numbers."""
        return {
            "offspring": self._offspring.copy(),
            "steps": self._steps.copy(),
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._offspring, self._steps = np.array(state["offspring"]), np.array(state["steps"])
        self.generator.bit_generator.state = state["generator"]


def intermediate(parents: NDArray[Any], steps: NDArray[Any], *, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """`(count, D)` times the mean of `(mu, D)` parents, and of their step sizes.

    References: Beyer and Schwefel 2002, eq. 10 with `rho = mu`.
    """
    return np.tile(parents.mean(axis=0), (count, 1)), np.tile(steps.mean(axis=0), (count, 1))


def one_parent(
    parents: NDArray[Any], steps: NDArray[Any], *, count: int, generator: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """`(count, D)` copies of `(mu, D)` parents at random, with their step sizes."""
    chosen = generator.integers(len(parents), size=count)
    return parents[chosen], steps[chosen]


def blend(
    parents: NDArray[Any], steps: NDArray[Any], *, count: int, alpha: float, generator: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """`(count, D)` children of pairs of `(mu, D)` parents at random, with their step sizes.

    Args:
        parents: `(mu, D)`.
        steps: `(mu, D)`; the children's may be negative, as DEAP's are, if `alpha` is not 0.
        count: how many children; both of a pair are among them.
        alpha: how far the children reach outside their parents.
        generator: the random numbers.

    References: `deap.tools.cxESBlend`: `(1 - g) x_1 + g x_2` and `g x_1 + (1 - g) x_2`, with `g` uniform in
        `[-alpha, 1 + alpha]` for each gene, and another for its step size.
    """
    pairs = -(-count // 2)
    one, other = generator.integers(len(parents), size=(2, pairs))
    children = []
    for values in (parents, steps):
        mix = generator.random((pairs, values.shape[1])).astype(values.dtype)
        mix = mix * values.dtype.type(1 + 2 * alpha) - values.dtype.type(alpha)
        shift = mix * (values[other] - values[one])
        both = np.stack([values[one] + shift, values[other] - shift], axis=1)
        children.append(both.reshape(2 * pairs, -1)[:count])
    return children[0], children[1]


def log_normal_mutation(
    offspring: NDArray[Any],
    steps: NDArray[Any],
    *,
    learning_rate: float,
    limits: tuple[NDArray[Any], NDArray[Any]],
    probability: float,
    generator: np.random.Generator,
) -> None:
    """Mutate step sizes, and by them the genes, in place.

    Args:
        offspring: `(P, D)`, changed.
        steps: `(P, D)` standard deviations, changed.
        learning_rate: `c`.
        limits: `(D,)` least and greatest step sizes, which they are put into before and after.
        probability: with which a gene and its step size are mutated.
        generator: the random numbers.

    References: Beyer and Schwefel 2002, section 4.3; `deap.tools.mutESLogNormal`.
    """
    count, dim = offspring.shape
    np.clip(steps, *limits, out=steps)
    common = learning_rate / math.sqrt(2 * dim) * generator.standard_normal((count, 1))  # tau_0
    own = learning_rate / math.sqrt(2 * math.sqrt(dim))  # tau
    change = generator.standard_normal((count, dim), dtype=steps.dtype)
    change = np.exp(steps.dtype.type(own) * change + common.astype(steps.dtype))
    move = generator.standard_normal((count, dim), dtype=steps.dtype)
    if probability < 1:
        chosen = generator.random((count, dim), dtype=np.float32) < probability
        np.copyto(change, 1, where=~chosen)
        move *= chosen
    steps *= change
    np.clip(steps, *limits, out=steps)
    offspring += steps * move
