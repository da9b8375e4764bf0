"""Selection, crossover and mutation of whole `(N, D)` tensors, from random numbers of `gfopt.draws`.

The operators are those of `gfopt.optimizers.variation`, which are numpy's: the same random numbers give the same
offspring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfopt.draws import Draws
from gfopt.optimizers._parameters import LARGEST, SMALLEST, neurons_of
from gfopt.types import Group

if TYPE_CHECKING:
    from gfopt.optimizers.ga import GeneticAlgorithmOptions

# Numbers of a chunk of rows on a CPU: small enough for the caches, large enough to start threads for.
_CHUNK = 1 << 22
# Crossovers that put genes between those of the parents, or beyond, instead of exchanging them.
ALONG_THE_LINE = ("blend", "arithmetic", "sbx")
_GLANCE = 512  # genes that tell almost always whether two rows differ


def select(loss: Tensor, count: int, options: GeneticAlgorithmOptions, draws: Draws) -> Tensor:
    """`(count,)` rows of parents.

    Args:
        loss: `(P,)`; `+inf` is worse than any other.
        count: how many.
        options: the kind of selection.
        draws: the random numbers.
    """
    if options.selection == "tournament":
        contenders = draws.integers(len(loss), count, options.tournament_size)
        return contenders.gather(1, loss[contenders].argmin(dim=1, keepdim=True)).squeeze(1)
    if options.selection == "truncation":
        best = torch.argsort(loss, stable=True)[: max(1, round(options.truncation_share * len(loss)))]
        return best[draws.integers(len(best), count)]
    ordered = loss.sort().values
    better = torch.searchsorted(ordered, loss)
    if options.selection == "rank":
        # Equal losses share the mean of their ranks.
        worse = len(loss) - 1 - (better + torch.searchsorted(ordered, loss, right=True) - 1).double() / 2
        pressure = options.rank_pressure
        wheel = (2 - pressure + 2 * (pressure - 1) * worse / max(1, len(loss) - 1)).cumsum(0)
        marks = draws.uniform_(wheel.new_empty(count)) * wheel[-1]
        return torch.searchsorted(wheel, marks, right=True).clamp_(max=len(loss) - 1)
    wheel = (len(loss) - better).cumsum(0)  # shares: how many are no better
    if options.selection == "sus":
        return _universal_sampling(wheel.double(), count, draws)
    # Whole numbers: no rounding can put a ball outside the wheel.
    return torch.searchsorted(wheel, draws.integers(len(loss) * (len(loss) + 1) // 2, count), right=True)


def _universal_sampling(wheel: Tensor, count: int, draws: Draws) -> Tensor:
    """`(count,)` places on the wheel `(P,)`, which is turned once, at equally distant marks; in random order."""
    numbers = draws.uniform_(wheel.new_empty(count + 1))
    marks = (torch.arange(count, device=wheel.device) + numbers[0]) * (wheel[-1] / count)
    return torch.searchsorted(wheel, marks).clamp_(max=len(wheel) - 1)[numbers[1:].argsort()]


def chosen(count: int, probability: float, like: Tensor, draws: Draws) -> Tensor | None:
    """`(count,)` booleans, each true with `probability`; `None` where all would be."""
    return None if probability >= 1 else draws.uniform_(like.new_empty(count)) < probability


def chunk_of_pairs(count: int, dim: int, device: torch.device) -> int:
    """Rows to work on at a time, an even number: all of them but on a CPU."""
    return max(2, _CHUNK // (2 * dim) * 2) if device.type == "cpu" else max(2, count + count % 2)


def differ(rows: Tensor, genomes: Tensor, parents: Tensor) -> Tensor:
    """`(N,)` whether a row has any gene that its parent has not; the first genes tell it of most rows."""
    glance = (rows[:, :_GLANCE] != genomes[:, :_GLANCE][parents]).any(dim=1)
    if rows.shape[1] > _GLANCE and not glance.all():
        alike = (~glance).nonzero().squeeze(1)
        glance[alike] = (rows[alike] != genomes[parents[alike]]).any(dim=1)
    return glance


class Crossover:
    """Children of pairs of parents.

    Args:
        options: the kind of crossover.
        groups: name, slice and shape of every parameter.
        like: `(P, D)` of the genomes' type and device.
        draws: the random numbers.
    """

    def __init__(self, options: GeneticAlgorithmOptions, groups: Sequence[Group], like: Tensor, draws: Draws) -> None:
        self.options, self.draws = options, draws
        self._neurons = torch.from_numpy(neurons_of(groups, like.shape[1])).to(like.device)
        self._place = torch.arange(like.shape[1], device=like.device)

    def __call__(self, genomes: Tensor, parents: Tensor, crossed: Tensor | None, offspring: Tensor) -> None:
        """Write the children of neighbours among the parents; an odd last one has no partner and is copied.

        Args:
            genomes: `(P, D)`.
            parents: `(N,)` rows of it.
            crossed: `(N // 2,)` which pairs are crossed; `None`: all.
            offspring: `(N, D)`, written.
        """
        even = len(parents) // 2 * 2
        one, other = (genomes.index_select(0, parents[side:even:2]) for side in (0, 1))
        first, second = offspring[:even:2], offspring[1:even:2]
        if self.options.crossover in ALONG_THE_LINE:
            shift = self._share(one).mul_(other - one)
            if crossed is not None:
                shift *= crossed[:, None]
            torch.add(one, shift, out=first)
            torch.sub(other, shift, out=second)
        else:
            swap(one, other, self.mask(len(one), crossed), first, second)
        offspring[even:] = genomes[parents[even:]]

    def _share(self, like: Tensor) -> Tensor:
        """`(N, D)` which part of the way to the other parent each gene goes."""
        options, draws = self.options, self.draws
        if options.crossover == "arithmetic":
            return draws.uniform_(torch.empty_like(like[:, :1])).expand_as(like).clone()
        uniform = draws.uniform_(torch.empty_like(like))
        return (
            blend_share(uniform, options.blend_alpha)
            if options.crossover == "blend"
            else sbx_share(uniform, options.sbx_eta)
        )

    def mask(self, count: int, crossed: Tensor | None) -> Tensor:
        """`(count, D)` which genes of a pair change sides: none in a pair that is not `crossed` `(count,)`."""
        mask = self._mask(count)
        return mask if crossed is None else mask & crossed[:, None]

    def _mask(self, count: int) -> Tensor:
        """`(count, D)` which genes change sides where a pair is crossed."""
        draws, kind, dim = self.draws, self.options.crossover, len(self._place)
        if kind == "uniform":
            return draws.coins_(self._place.new_empty(count, dim, dtype=torch.bool))
        if kind == "neuron":
            neurons = int(self._neurons.max()) + 1
            return draws.coins_(self._place.new_empty(count, neurons, dtype=torch.bool))[:, self._neurons]
        if dim < 2:  # there is no place for a cut
            return self._place.new_zeros(count, dim, dtype=torch.bool)
        if kind == "one-point":
            return one_point_mask(1 + draws.integers(dim - 1, count, 1), self._place)
        # Both numbers of a pair at once, so that they are the same ones for any chunk of pairs.
        cuts = draws.integers(2**32, count, 2)
        return two_point_mask(cuts[:, :1] * dim >> 32, 1 + (cuts[:, 1:] * (dim - 1) >> 32), self._place)


def one_point_mask(cut: Tensor, place: Tensor) -> Tensor:
    """`(N, D)` the genes behind a cut; `cut` is `(N, 1)` of `1..D-1`, `place` is `0..D-1`."""
    return place >= cut


def two_point_mask(one: Tensor, further: Tensor, place: Tensor) -> Tensor:
    """`(N, D)` the genes between two cuts: `one` is `(N, 1)` of `0..D-1`, `further` of `1..D-1`, around the end."""
    other = (one + further) % len(place)
    return (place > torch.minimum(one, other)) & (place <= torch.maximum(one, other))


def swap(one: Tensor, other: Tensor, mask: Tensor, first: Tensor, second: Tensor) -> None:
    """Write `one` and `other` with the masked entries exchanged into `first` and `second`; `(N, D)` each.

    The bits in which two numbers differ change in both, bit for bit what `torch.where` gives: that is a branch for each
    entry on a CPU, five times the cost.
    """
    whole = torch.int32 if one.dtype == torch.float32 else torch.int64
    bits, other_bits = one.view(whole), other.view(whole)
    difference = (bits ^ other_bits).bitwise_and_(mask.to(whole).neg_())
    torch.bitwise_xor(bits, difference, out=first.view(whole))
    torch.bitwise_xor(other_bits, difference, out=second.view(whole))


def blend_share(uniform: Tensor, alpha: float) -> Tensor:
    """The part of the way to the other parent that BLX-alpha goes (Eshelman and Schaffer 1993); in place."""
    return uniform.mul_(1 + 2 * alpha).sub_(alpha)


def sbx_share(uniform: Tensor, eta: float) -> Tensor:
    """The same for simulated binary crossover (Deb and Agrawal 1995), which may go backwards."""
    beta = torch.where(uniform <= 0.5, 2 * uniform, 0.5 / (1 - uniform)).pow_(1 / (eta + 1))
    return beta.neg_().add_(1).div_(2)


class Mutation:
    """Normal numbers added to genes.

    Args:
        options: strength, probability of a gene and what the strength is relative to.
        groups: name, slice and shape of every parameter.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        draws: the random numbers.
    """

    def __init__(self, options: GeneticAlgorithmOptions, groups: Sequence[Group], scale: Tensor, draws: Draws) -> None:
        self.options, self.groups, self.scale, self.draws = options, groups, scale, draws

    def __call__(self, offspring: Tensor, mutated: Tensor | None) -> None:
        """Mutate `(N, D)` in place: all rows, or those that are `mutated` `(N,)`."""
        if mutated is None:
            self._mutate(offspring)
            return
        mutants = offspring[mutated]
        self._mutate(mutants)
        offspring[mutated] = mutants

    def _mutate(self, rows: Tensor) -> None:
        options, size = self.options, self.scale
        if options.mutation_scale == "relative":
            size = parameter_size(rows, self.scale, self.groups)
        noise = self.draws.normal_(torch.empty_like(rows))
        if options.gene_probability < 1:
            noise *= self.draws.uniform_(torch.empty_like(rows)) < options.gene_probability
        rows.addcmul_(noise, size, value=options.mutation_strength)


def parameter_size(genomes: Tensor, scale: Tensor, groups: Sequence[Group]) -> Tensor:
    """`(N, D)` root mean square of the parameter that each gene belongs to, as `_parameters.parameter_size`."""
    sizes = scale.repeat(len(genomes), 1)
    for group in groups:
        mean_square = genomes[:, group.slice].square().mean(dim=1, keepdim=True, dtype=torch.float64)
        sizes[:, group.slice] = mean_square.sqrt().to(genomes)
    return sizes.clamp_(SMALLEST * scale, LARGEST * scale)
