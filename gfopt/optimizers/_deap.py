"""What the genetic algorithms made of DEAP's parts share: individuals as DEAP sees them, and the ways to select."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from deap import base, tools
from numpy.typing import NDArray

from gfopt.errors import ConfigError, expectation
from gfopt.optimizers._genetic_options import BreedingOptions, SurvivalKind
from gfopt.optimizers._named_tools import Tool

Rows: TypeAlias = NDArray[np.intp]
# Chooses some of the individuals, with repetition; they have a `fitness` and a length.
Select: TypeAlias = Callable[[Sequence[Any], int], Sequence[Any]]

_WORST = 1e300  # stands for an infinite loss where an operator computes with losses: inf - inf is no number


# mypy sees no types in DEAP, hence the ignored subclassing of Any.
class Loss(base.Fitness):  # type: ignore[misc]
    """A loss; DEAP maximizes `weight * value`."""

    weights = (-1.0,)


class Share(base.Fitness):  # type: ignore[misc]
    """A share of the roulette wheel."""

    weights = (1.0,)


class Candidate:
    """What selection sees of an individual: its row, its fitness and its length, never its genes."""

    __slots__ = ("dim", "fitness", "row")

    def __init__(self, row: int, fitness: base.Fitness, dim: int = 0) -> None:
        self.row = row
        self.fitness = fitness
        self.dim = dim

    def __len__(self) -> int:
        return self.dim


class Individual(list[float]):
    """The genes of a row as DEAP's own operators take them: a list, whose slices are copies, as an array's are not.

    Attributes:
        row: where the genes come from.
        fitness: invalid once they are changed.
        strength: of its own mutation, if that is self-adaptive.
    """

    def __init__(self, genes: Sequence[float], row: int, fitness: base.Fitness, strength: float) -> None:
        super().__init__(genes)
        self.row, self.fitness, self.strength = row, fitness, strength

    def clone(self) -> Individual:
        """A copy with a fitness of its own."""
        return Individual(self, self.row, type(self.fitness)(self.fitness.values), self.strength)


def individuals(genomes: NDArray[Any], loss: NDArray[Any], strength: NDArray[Any]) -> list[Individual]:
    """The rows of `(N, D)` as lists; losses and strengths are `(N,)`."""
    rows = zip(genomes.tolist(), loss.tolist(), strength.tolist(), strict=True)
    return [Individual(genes, row, Loss((value,)), own) for row, (genes, value, own) in enumerate(rows)]


def stacked(varied: Sequence[Individual], like: NDArray[Any]) -> NDArray[Any]:
    """The individuals' genes as `(N, D)` of the kind of `like`, which is `(P, D)`.

    Raises:
        ConfigError: if an operator has changed their number, or made something else than real numbers of them.
    """
    dim = like.shape[1]
    for individual in varied:
        if len(individual) != dim:
            wanted = f"operators that keep the {dim} genes of an individual"
            raise ConfigError(expectation(wanted, len(individual)))
    genes = np.array([list(individual) for individual in varied]).reshape(-1, dim)
    if genes.dtype.kind not in "biuf":
        raise ConfigError(expectation("operators that make real numbers", f"`{genes.dtype}`"))
    return genes.astype(like.dtype)


def selector(chosen: SurvivalKind | Tool, options: BreedingOptions, generator: np.random.Generator) -> Select:
    """How individuals are selected.

    Args:
        chosen: the kind, or an operator of DEAP's.
        options: its parameters.
        generator: the random numbers of what is not DEAP's; DEAP draws from the global `random`.
    """
    if isinstance(chosen, Tool):
        return partial(_by_tool, chosen.call({"tournsize": options.tournament_size}))
    kinds: dict[SurvivalKind, Select] = {
        "best": tools.selBest,
        "tournament": partial(tools.selTournament, tournsize=options.tournament_size),
        "roulette": _roulette,
        "sus": partial(_universal_sampling, generator=generator),
        "rank": partial(_rank, pressure=options.rank_pressure, generator=generator),
        "truncation": partial(_truncation, share=options.truncation_share),
    }
    return kinds[chosen]


def select_rows(select: Select, loss: NDArray[Any], count: int, dim: int) -> Rows:
    """`(count,)` rows of those that `select` chooses by their losses `(P,)`; they have `dim` genes."""
    candidates = [Candidate(row, Loss((value,)), dim) for row, value in enumerate(loss.tolist())]
    return np.array([candidate.row for candidate in select(candidates, count)], dtype=np.intp)


def best_rows(loss: NDArray[Any], count: int) -> Rows:
    """`(count,)` rows of the lowest losses of `(P,)`, the first of equal ones first."""
    return select_rows(tools.selBest, loss, count, 0)


def _by_tool(call: Callable[..., Any], candidates: Sequence[Any], count: int) -> Sequence[Any]:
    """What an operator of DEAP's chooses, to which no loss is infinite."""
    finite = [Candidate(row, Loss((min(value, _WORST),)), len(candidates[row])) for row, value in _losses(candidates)]
    chosen = call(finite, count)
    if len(chosen) != count:
        raise ConfigError("selection: " + expectation(f"{count} of {len(candidates)} individuals", len(chosen)))
    return [candidates[candidate.row] for candidate in chosen]


def _losses(candidates: Sequence[Any]) -> list[tuple[int, float]]:
    return [(row, candidate.fitness.values[0]) for row, candidate in enumerate(candidates)]


def _no_better(candidates: Sequence[Any]) -> NDArray[np.intp]:
    """`(P,)` how many individuals are no better than each: its share of the wheel."""
    loss = np.array([value for _, value in _losses(candidates)])
    return np.asarray(len(loss) - np.searchsorted(np.sort(loss), loss), dtype=np.intp)


def _roulette(candidates: Sequence[Any], count: int) -> Sequence[Any]:
    """`count` of the candidates, each with a probability in proportion to its share."""
    wheel = [Candidate(row, Share((share,))) for row, share in enumerate(_no_better(candidates).tolist())]
    return [candidates[candidate.row] for candidate in tools.selRoulette(wheel, count)]


def _universal_sampling(candidates: Sequence[Any], count: int, generator: np.random.Generator) -> Sequence[Any]:
    """`count` of the candidates by one turn of the wheel with `count` equally distant marks, in random order.

    References: Baker 1987, "Reducing bias and inefficiency in the selection algorithm"; he shuffles too: else the
        offspring of an individual would be paired with each other.
    """
    wheel = [Candidate(row, Share((share,))) for row, share in enumerate(_no_better(candidates).tolist())]
    chosen = tools.selStochasticUniversalSampling(wheel, count)
    return [candidates[chosen[place].row] for place in generator.permutation(count)]


def _rank(candidates: Sequence[Any], count: int, pressure: float, generator: np.random.Generator) -> Sequence[Any]:
    """`count` of the candidates, each with a probability that falls linearly with its rank.

    With `r` the rank from 0, the worst, to 1, the best, it is `(2 - s + 2 (s - 1) r) / P`; equal losses share the mean
    of their ranks.

    References: Baker 1985, "Adaptive selection methods for genetic algorithms"; `s` is the pressure.
    """
    shares = rank_shares(np.array([value for _, value in _losses(candidates)]), pressure)
    marks = generator.random(count) * shares.sum()
    # Rounding might put a mark behind the last share.
    chosen = np.minimum(np.searchsorted(shares.cumsum(), marks, side="right"), len(shares) - 1)
    return [candidates[row] for row in chosen]


def rank_shares(loss: NDArray[Any], pressure: float) -> NDArray[np.float64]:
    """`(P,)` offspring that each can expect of `P`, given losses `(P,)`."""
    ordered, last = np.sort(loss), len(loss) - 1
    worse = last - (np.searchsorted(ordered, loss) + np.searchsorted(ordered, loss, side="right") - 1) / 2
    return np.asarray(2 - pressure + 2 * (pressure - 1) * worse / max(1, last), dtype=np.float64)


def _truncation(candidates: Sequence[Any], count: int, share: float) -> Sequence[Any]:
    """`count` random ones of the best `share`."""
    best = tools.selBest(candidates, max(1, round(share * len(candidates))))
    chosen: Sequence[Any] = tools.selRandom(best, count)
    return chosen


def shared_strength(one: float, other: float) -> float:
    """The mutation strength of two crossed parents' children: their geometric mean."""
    return math.sqrt(one * other)


def first_equals(genomes: NDArray[Any]) -> Rows:
    """`(N,)` the first row of `(N, D)` that is equal to each."""
    few = 64  # genes that tell most rows apart
    alike: dict[bytes, list[int]] = {}
    found = np.arange(len(genomes))
    for row, genome in enumerate(genomes):
        others = alike.setdefault(genome[:few].tobytes(), [])
        found[row] = next((other for other in others if np.array_equal(genomes[other], genome)), row)
        if found[row] == row:
            others.append(row)
    return found
