"""Limited evaluation evolutionary algorithm: small batches, and losses inherited from the parents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.draws import Draws
from gfopt.optimizers._arrays import to_array, to_tensor, without_failures
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.space import Integer, Real, Space
from gfopt.types import Evaluation

_CHUNK = 1 << 22  # genes that are bred at a time, so that no more than so many have copies


class LEEAOptions(Options):
    """Options of `leea`.

    Attributes:
        population: number of individuals.
        selection_share: share of them, the best, that have children.
        mating_share: share of the children that have two parents, and each gene of either one's; the others have one.
        mutation_strength: standard deviation of the normal number added to a gene, in units of its scale.
        last_mutation_strength: the same at the end of the budget; in between it falls geometrically.
        gene_probability: probability that a gene of a child is changed.
        decay: share of the parents' inheritance that is lost in a generation.

    `mating_share` and `decay` are those of Morse and Stanley 2016; a smaller population than theirs wants a stronger
    selection.
    """

    population: int = Field(64, ge=2)
    selection_share: float = Field(0.2, gt=0, le=1)
    mating_share: float = Field(0.5, ge=0, le=1)
    mutation_strength: float = Field(0.4, gt=0)
    last_mutation_strength: float = Field(0.1, gt=0)
    gene_probability: float = Field(1.0, gt=0, le=1)
    decay: float = Field(0.2, gt=0, le=1)


class LEEA(Optimizer):
    """Genetic algorithm for minibatches, whose losses add up along the lines of descent.

    A child is ranked by `h = (1 - decay) h_parent + f`, with `f` its own loss on the batch and `h_parent` what its
    parent was ranked by, or the mean of both parents': an average over many batches, for one evaluation. All of a
    generation share as many batches, so their sums compare; parents are not asked again on a new batch, since doing
    without that is the method. There are no elites: every individual lives for one generation. A failed row is worse
    than any other, and passes on the highest loss of its generation.

    References: Morse and Stanley 2016, "Simple evolutionary optimization can rival stochastic gradient descent in
        neural networks", GECCO, section 3.
    """

    options_class = LEEAOptions
    options: LEEAOptions
    space: ClassVar[Space] = {
        "population": Integer(32, 512, log=True),
        "selection_share": Real(0.1, 0.5),
        "mutation_strength": Real(0.1, 1.0, log=True),
        "last_mutation_strength": Real(0.01, 0.5, log=True),
        "decay": Real(0.05, 1.0, log=True),
    }

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of individuals."""
        assert isinstance(options, LEEAOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        self._genomes = start if self.bounds is None else start.clamp_(*self.bounds)
        self._next = torch.empty_like(self._genomes)
        self._inherited = start.new_zeros(
            len(start), dtype=torch.float64
        )  # the parents' part of what an individual is ranked by
        self._rank_loss = torch.zeros_like(self._inherited)
        self._order = torch.arange(len(start), device=start.device)  # the best first
        self._told = False
        self._scale = self.scale.to(start)
        self._draws = Draws(int(self.generator.integers(2**63)), start.device)

    def ask(self, batch: int) -> Tensor:
        """The generation at hand; the next one once its losses were told."""
        del batch
        if self._told:
            self._breed()
            self._told = False
        return self._genomes.clone()

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the generation, and add what it has inherited."""
        del population
        loss = evaluation.loss.detach().to(self._inherited)
        self._rank_loss = self._inherited + without_failures(loss)
        self._order = torch.argsort(torch.where(loss.isinf(), torch.inf, self._rank_loss), stable=True)
        self._told = True

    def _breed(self) -> None:
        """Put the children of the best in place of this generation."""
        options, (count, dim) = self.options, self._genomes.shape
        best = self._order[: max(1, round(options.selection_share * count))]
        parents = best[self._draws.integers(len(best), count, 2)]
        lone = round(options.mating_share * count)  # the first of those that have one parent
        parents[lone:, 1] = parents[lone:, 0]
        rows = max(1, _CHUNK // dim)
        for begin in range(0, count, rows):
            self._make(parents[begin : begin + rows], self._next[begin : begin + rows])
        self._inherited = (1 - options.decay) * self._rank_loss[parents].mean(dim=1)
        self._genomes, self._next = self._next, self._genomes

    def _make(self, parents: Tensor, children: Tensor) -> None:
        """Write `(N, D)` children of `(N, 2)` parents."""
        first, last = self.options.mutation_strength, self.options.last_mutation_strength
        self._draws.normal_(children).mul_(self._scale * (first * (last / first) ** self.spent))
        if self.options.gene_probability < 1:
            children *= self._draws.uniform_(torch.empty_like(children)) < self.options.gene_probability
        coins = self._draws.coins_(torch.empty(children.shape, dtype=torch.bool, device=children.device))
        one, other = (self._genomes.index_select(0, parents[:, side]) for side in (0, 1))
        children += torch.where(coins, one, other)
        if self.bounds is not None:
            children.clamp_(*self.bounds)

    def state_dict(self) -> dict[str, Any]:
        """The individuals, what they are ranked by, and the place in the random numbers."""
        tensors = {name: to_array(getattr(self, f"_{name}")) for name in _TENSORS}
        return {**tensors, "order": to_array(self._order), "told": self._told, "draws": self._draws.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name in _TENSORS:
            setattr(self, f"_{name}", to_tensor(state[name], getattr(self, f"_{name}")))
        self._order, self._told = to_tensor(state["order"], self._order), state["told"]
        self._draws.load_state_dict(state["draws"])


_TENSORS = ("genomes", "inherited", "rank_loss")
