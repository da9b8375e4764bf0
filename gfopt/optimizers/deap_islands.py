"""Several populations side by side that exchange their best now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from deap import tools
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import expectation
from gfopt.optimizers._deap import Candidate, Loss
from gfopt.optimizers._deap_toolbox import warn_if_slow
from gfopt.optimizers._genetic_options import Mutation
from gfopt.optimizers.base import Optimizer, Options
from gfopt.optimizers.deap_ga import GeneticAlgorithm, GeneticAlgorithmOptions
from gfopt.optimizers.space import Integer, Real, Space
from gfopt.types import Evaluation

_MOST = 4  # islands, if their number is not given


class IslandsOptions(GeneticAlgorithmOptions):
    """Options of `deap-islands`; each island is a `deap-ga` with the same options.

    Attributes:
        population: number of individuals on all islands together; some islands have one more where it cannot be
            divided.
        elites: the best individuals of each island, which survive unchanged.
        islands: number of islands; `None` is 4, or less where there would not be two individuals for each.
        migration_every: generations between two migrations.
        migrants: the best of each island that are copied to the next one, in a ring, where they take the places of the
            worst; less than an island has individuals.

    The other defaults are those of `deap-ga`, but that mutation is self-adaptive: each island finds its own strength.
    """

    elites: int = Field(1, ge=0)
    mutation: Mutation = "self-adaptive"
    islands: int | None = Field(None, ge=1)
    migration_every: int = Field(10, ge=1)
    migrants: int = Field(1, ge=1)

    @property
    def sizes(self) -> list[int]:
        """Number of individuals of each island."""
        count = min(_MOST, self.population // 2) if self.islands is None else self.islands
        return [len(part) for part in np.array_split(np.arange(self.population), count)]

    @model_validator(mode="after")
    def _room_on_each(self) -> IslandsOptions:
        smallest = min(self.sizes)
        if smallest < 2:
            limit = f"at most {self.population // 2}, two individuals for each"
            raise ValueError("islands: " + expectation(limit, self.islands))
        for name in ("elites", "migrants"):
            if getattr(self, name) >= smallest:
                limit = f"less than the {smallest} individuals of an island"
                raise ValueError(f"{name}: " + expectation(limit, getattr(self, name)))
        return self


class _Island(GeneticAlgorithm):
    """A genetic algorithm that its archipelago speaks for."""

    def _announce(self) -> None:
        pass

    @property
    def missing(self) -> int:
        """How many individuals have no loss yet."""
        return int(self._pending.sum())

    def individual(self, row: int) -> tuple[NDArray[Any], float, float]:
        """A copy of the genes of an individual, its loss and its mutation strength."""
        return self._genomes[row].copy(), float(self._loss[row]), float(self._strength[row])

    def settle(self, row: int, genes: NDArray[Any], loss: float, strength: float) -> None:
        """Put an individual in the place of another."""
        self._genomes[row], self._loss[row], self._strength[row] = genes, loss, strength

    def candidates(self) -> list[Candidate]:
        """Its individuals as DEAP's selection sees them."""
        return [Candidate(row, Loss((loss,))) for row, loss in enumerate(self._loss.tolist())]


class Islands(Optimizer):
    """Genetic algorithms on islands, with migration in a ring.

    The islands breed by themselves, which keeps the whole population varied for longer, and are evaluated together.
    Every few generations copies of the best of each replace the worst of the next: DEAP's `tools.migRing`. A migrant
    brings its loss along.

    References: Cohoon, Hegde, Martin and Richards 1987, "Punctuated equilibria: a parallel genetic algorithm"; DEAP:
        Fortin et al. 2012, JMLR 13.
    """

    options_class = IslandsOptions
    device = "cpu"
    space: ClassVar[Space] = {
        "population": Integer(32, 256, log=True),
        "mutation_strength": Real(0.02, 1.0, log=True),
        "tournament_size": Integer(2, 8),
        "migration_every": Integer(1, 50, log=True),
    }
    options: IslandsOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The number of individuals on all islands."""
        assert isinstance(options, IslandsOptions)
        return options.population

    def _initialize(self, start: Tensor) -> None:
        shared = self.options.model_dump(include=set(GeneticAlgorithmOptions.model_fields))
        self._islands = []
        for rows in torch.split(start, self.options.sizes):
            own = GeneticAlgorithmOptions.model_validate({**shared, "population": len(rows)})
            stream = np.random.default_rng(int(self.generator.integers(2**63)))
            island = _Island(rows, own, stream, scale=self.scale, bounds=self.bounds, groups=self.groups)
            self._islands.append(island)
        self._generation = 0
        warn_if_slow(self.options)

    def ask(self, batch: int) -> Tensor:
        """Individuals of all islands without a loss on `batch`; their next generations if all have one."""
        if not any(island.waiting for island in self._islands):
            if self._generation and self._generation % self.options.migration_every == 0:
                self._migrate()
            for island in self._islands:
                island.breed()
            self._generation += 1
        return torch.cat([island.unknown(batch) for island in self._islands])

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take the losses of the individuals last asked for."""
        counts = [island.missing for island in self._islands]
        told = zip(self._islands, torch.split(population, counts), torch.split(evaluation.loss, counts), strict=True)
        for island, rows, loss in told:
            island.tell(rows, Evaluation(loss, None, evaluation.samples, evaluation.batch))

    def _migrate(self) -> None:
        """Copies of the best of each island take the places of the worst of the next."""
        before = [island.candidates() for island in self._islands]
        home = {id(candidate): place for place, island in enumerate(before) for candidate in island}
        after = [list(island) for island in before]
        tools.migRing(after, self.options.migrants, selection=tools.selBest, replacement=tools.selWorst)
        moves = [
            (self._islands[home[id(guest)]].individual(guest.row), island, row)
            for island, inhabitants in zip(self._islands, after, strict=True)
            for row, guest in enumerate(inhabitants)
            if home[id(guest)] != self._islands.index(island)
        ]
        for guest, island, row in moves:
            island.settle(row, *guest)

    def state_dict(self) -> dict[str, Any]:
        """The states of all islands."""
        return {"generation": self._generation, "islands": [island.state_dict() for island in self._islands]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._generation = state["generation"]
        for island, own in zip(self._islands, state["islands"], strict=True):
            island.load_state_dict(own)
