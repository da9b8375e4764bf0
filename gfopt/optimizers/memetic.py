"""A genetic algorithm whose individuals learn: a few gradient steps inside a generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers._backprop import gradient_of
from gfopt.optimizers.ga import GeneticAlgorithm, GeneticAlgorithmOptions
from gfopt.optimizers.space import Integer, Real
from gfopt.types import Evaluation


class MemeticOptions(GeneticAlgorithmOptions):
    """Options of `memetic`: those of `ga`, and what its individuals learn.

    The population is smaller than that of `ga`, since every individual costs several evaluations.

    Attributes:
        population: number of individuals.
        mutation_strength: standard deviation of the normal number added to a gene, in units of `mutation_scale`;
            smaller than that of `ga`, lest it undo what was learnt.
        gradient_steps: steps down the gradient that a new individual makes before it is selected (`k`), each of them
            one more evaluation.
        learning_rate: size of a step in units of the gradient.
        every: generations from one in which individuals learn to the next; 1: all of them.
        baldwinian: individuals are judged by what they have learnt, but hand down the genes that they were born with;
            else (Lamarck) what was learnt goes back into the genes.
    """

    population: int = Field(16, ge=2)
    mutation_strength: float = Field(0.05, gt=0)
    gradient_steps: int = Field(3, ge=1)
    learning_rate: float = Field(0.5, gt=0)
    every: int = Field(1, ge=1)
    baldwinian: bool = False


class Memetic(GeneticAlgorithm):
    """Genetic algorithm with gradient steps inside a generation, Lamarckian or Baldwinian.

    A new individual `x_0` makes `k` steps `x_{i+1} = x_i - eta g(x_i)` on the batch of its generation, which is held.
    Its loss is the lowest on the way, and the point with that loss takes the place of its genes, unless `baldwinian`.
    All `k + 1` evaluations are asked for like any others; the last wants no gradient. Elites on an unchanged batch
    have learnt already and are not asked again. If the batch changes all the same, what was learnt so far stays.

    References: Moscato 1989, "On evolution, search, optimization, genetic algorithms and martial arts: towards memetic
        algorithms"; Whitley, Gordon, Mathias 1994, "Lamarckian evolution, the Baldwin effect and function
        optimization"; Hinton and Nowlan 1987, "How learning can guide evolution".
    """

    options_class = MemeticOptions
    needs_gradient = True
    options: MemeticOptions
    space = {
        "population": Integer(8, 64, log=True),
        "gradient_steps": Integer(1, 20, log=True),
        "learning_rate": Real(0.01, 1.0, log=True),
        "mutation_strength": Real(0.01, 0.3, log=True),
    }

    def _initialize(self, start: Tensor) -> None:
        super()._initialize(start)
        self._generation = 0
        self._learners: Tensor | None = None  # where those that are learning stand now; none between generations
        self._best: Tensor | None = None  # (Q, D) the best that each of them has seen
        self._best_loss: Tensor | None = None
        self._steps = 0  # that are still to be made
        self._learning_batch: int | None = None

    def ask(self, batch: int) -> Tensor:
        """The new individuals, then the same again after each step of theirs."""
        if self._learners is None or batch != self._learning_batch:
            self._learners = None
            self._learning_batch = batch
            return super().ask(batch)
        return self._learners.clone()

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take losses and gradients: make a step, or end the generation with the lowest loss of each."""
        loss = evaluation.loss.detach().to(self._loss)
        if self._learners is None or self._best is None or self._best_loss is None:
            self._learners, self._best, self._best_loss = population.clone(), population.clone(), loss.clone()
            # Without a gradient (all have failed, or the batch has changed before the last step) none learns anything.
            learns = self._due() and evaluation.gradient is not None and bool(evaluation.gradient.any())
            self._steps = self.options.gradient_steps if learns else 0
        better = loss < self._best_loss
        self._best[better], self._best_loss[better] = self._learners[better], loss[better]
        if not self.options.baldwinian:
            self._genomes[self._pending] = self._best
        if self._steps == 0:
            self._finish(population, evaluation)
            return
        self._learners = self._learners - self.options.learning_rate * gradient_of(evaluation).to(self._learners)
        if self.bounds is not None:
            self._learners.clamp_(*self.bounds)
        self._steps -= 1
        self.hold_batch, self.wants_gradient = True, self._steps > 0

    def _due(self) -> bool:
        """Whether the individuals of this generation learn."""
        return self._generation % self.options.every == 0

    def _finish(self, population: Tensor, evaluation: Evaluation) -> None:
        """Hand the lowest losses to the genetic algorithm."""
        assert self._best_loss is not None  # set by `tell`, the only caller
        super().tell(population, Evaluation(self._best_loss, None, evaluation.samples, evaluation.batch))
        self._learners = self._best = self._best_loss = None
        self._generation += 1
        self.hold_batch, self.wants_gradient = False, self._due()

    def state_dict(self) -> dict[str, Any]:
        """The genetic algorithm's, and how far the individuals have learnt."""
        learning = {"learners": self._learners, "best": self._best, "best_loss": self._best_loss}
        return {
            **super().state_dict(),
            **{name: None if value is None else value.cpu().numpy().copy() for name, value in learning.items()},
            "generation": self._generation,
            "steps": self._steps,
            "learning_batch": self._learning_batch,
            "hold_batch": self.hold_batch,
            "wants_gradient": self.wants_gradient,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        for name in ("learners", "best", "best_loss"):
            value = state[name]
            value = None if value is None else torch.from_numpy(np.array(value)).to(self._genomes)
            setattr(self, f"_{name}", value)
        self._generation, self._steps = state["generation"], state["steps"]
        self._learning_batch = state["learning_batch"]
        self.hold_batch, self.wants_gradient = state["hold_batch"], state["wants_gradient"]
