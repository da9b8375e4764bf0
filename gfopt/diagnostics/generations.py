"""What a population did from one generation to the next, read from its rows and losses alone.

The optimizer is not asked, so that a genetic algorithm, a swarm and an evolution strategy are read alike. Losses of two
generations compare only if they were evaluated on the same batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gfopt.errors import ShapeError
from gfopt.problems import Problem


@dataclass(frozen=True)
class GenerationChange:
    """One generation against the one before it.

    Attributes:
        diversity: of the later one, see `diversity`.
        step_size: root mean square change of a gene from an offspring's nearest parent, in units of scale.
        improving_share: share of offspring with a lower loss than their nearest parent's.
        selection_intensity: see `selection_intensity`; 0 for a swarm, whose particles all go on.
        parents_represented: share of the earlier generation that is some offspring's nearest parent; 1 / P once a
            single member has taken over.
    """

    diversity: float
    step_size: float
    improving_share: float
    selection_intensity: float
    parents_represented: float


def generation_change(
    before: Tensor, before_losses: Tensor, after: Tensor, after_losses: Tensor, scale: Tensor
) -> GenerationChange:
    """How a population changed in one generation.

    Args:
        before: `(P, D)` the earlier generation.
        before_losses: `(P,)`.
        after: `(Q, D)` the later one.
        after_losses: `(Q,)`.
        scale: `(D,)` the genes' scale.

    Raises:
        ShapeError: if the shapes do not belong together.
    """
    for name, losses, rows in (("before_losses", before_losses, before), ("after_losses", after_losses, after)):
        if losses.shape != rows.shape[:1]:
            raise ShapeError(f"{name}: expected shape ({len(rows)},), got {tuple(losses.shape)}")
    parents = nearest_parents(before, after, scale)
    return GenerationChange(
        diversity=diversity(after, scale),
        step_size=step_size(before[parents], after, scale),
        improving_share=improving_share(after_losses, before_losses[parents]),
        selection_intensity=selection_intensity(before_losses, parents),
        parents_represented=len(torch.unique(parents)) / len(before),
    )


def diversity(population: Tensor, scale: Tensor) -> float:
    """Mean distance of the `(P, D)` members to their centroid, as a root mean square over genes in units of scale.

    Near 1 for networks drawn independently from their initialization, 0 for copies of one.

    Raises:
        ShapeError: if `population` is not `(P, D)` with a `(D,)` scale.
    """
    rows = _relative(population, scale, "population")
    return float((rows - rows.mean(0)).square().mean(1).sqrt().mean())


def step_size(before: Tensor, after: Tensor, scale: Tensor) -> float:
    """Root mean square change of a gene in units of scale, row by row of two `(P, D)`: a swarm's mean velocity.

    Raises:
        ShapeError: if the two are not `(P, D)` with a `(D,)` scale.
    """
    old, new = _relative(before, scale, "before"), _relative(after, scale, "after")
    if old.shape != new.shape:
        raise ShapeError(f"after: expected shape {tuple(before.shape)} as before, got {tuple(after.shape)}")
    return float((new - old).square().mean().sqrt())


def nearest_parents(before: Tensor, after: Tensor, scale: Tensor) -> Tensor:
    """`(Q,)` index of the row of `before` that lies nearest to each row of `after`, in units of scale.

    With many genes that is a parent of the row: a child of uniform crossover is half as far from either parent, in
    squares, as from a stranger, and a mutation that is small against the diversity does not change that.

    Args:
        before: `(P, D)`.
        after: `(Q, D)`.
        scale: `(D,)`.

    Raises:
        ShapeError: if the two are not `(P, D)` and `(Q, D)` with a `(D,)` scale.
    """
    old, new = _relative(before, scale, "before"), _relative(after, scale, "after")
    # Exact differences: the expanded square would lose the small distances to a parent.
    return torch.cdist(new, old, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


def improving_share(losses: Tensor, parents: Tensor | float) -> float:
    """Share of offspring whose loss is lower than their parent's: the success rate of Rechenberg's 1/5 rule.

    Args:
        losses: `(Q,)` offspring's losses; NaN never improves.
        parents: `(Q,)` the parent's loss of each, or one number such as the best loss before.
    """
    return float((losses < parents).double().mean())


def selection_intensity(losses: Tensor, parents: Tensor) -> float:
    """`I = (mean loss - mean loss of the selected) / standard deviation`: how much better parents are than the rest.

    1.4 for truncation to the best 20 % of normally distributed losses, 0.56 for tournaments of two, 1.16 of five.

    Args:
        losses: `(P,)` of the generation that parents were selected from; those that are not finite are left out.
        parents: `(Q,)` the index of each offspring's parent: a parent of many offspring counts many times.

    Returns:
        0 where every member has equally many offspring; NaN if the finite losses do not differ.

    References:
        Mühlenbein & Schlierkamp-Voosen 1993, "Predictive models for the breeder genetic algorithm", section 3.
    """
    finite = losses.isfinite()
    everyone, selected = losses[finite].double(), losses[parents][finite[parents]].double()
    spread = float(everyone.std(correction=0)) if len(everyone) else 0.0
    return float(everyone.mean() - selected.mean()) / spread if spread else math.nan


def gradient_cosine(problem: Problem, before: Tensor, after: Tensor, *, step: int = 0, seed: int = 0) -> float:
    """The cosine between a step and the negative gradient at its start, on one batch.

    Args:
        problem: a differentiable one.
        before: `(D,)` where the step started: the population's mean, or its best.
        after: `(D,)` where it ended.
        step: number of the minibatch that the optimizer had.
        seed: of its stream.

    Returns:
        In [-1, 1]: 1 for steepest descent, `es_gradient_cosine` for an evolution strategy's estimate, 0 for a random
        direction; NaN if there was no step or no gradient.

    Raises:
        NotDifferentiableError: if the problem has no gradient.
    """
    gradient = problem.evaluate(before.unsqueeze(0), step, seed=seed, gradient=True).gradient
    assert gradient is not None  # it was asked for
    return cosine(after - before, -gradient[0])


def cosine(first: Tensor, second: Tensor) -> float:
    """The cosine of two `(D,)` vectors, in float64; NaN if one is 0 or not finite."""
    u, v = first.double(), second.double()
    sizes = float(torch.linalg.vector_norm(u)), float(torch.linalg.vector_norm(v))
    if not all(size and math.isfinite(size) for size in sizes):
        return math.nan
    return float((u / sizes[0]) @ (v / sizes[1]))


def es_gradient_cosine(pairs: int, dim: int) -> float:
    """The cosine to expect between the true gradient and an estimate from antithetic pairs: `sqrt(m / (m + n + 1))`.

    Of a linear function, whose `m` pair differences are the normal numbers along the gradient.

    Args:
        pairs: `m`, mirrored pairs of perturbations.
        dim: `n`, number of genes.
    """
    return math.sqrt(pairs / (pairs + dim + 1))


def _relative(rows: Tensor, scale: Tensor, name: str) -> Tensor:
    """`(P, D)` in units of scale, float64."""
    if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1:] != scale.shape:
        raise ShapeError(f"{name}: expected shape (P, {scale.numel()}) with P >= 1, got {tuple(rows.shape)}")
    return rows.double() / scale.double()
