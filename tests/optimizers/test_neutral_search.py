"""Search of scale-redundant genomes: with projection it keeps its step along the sphere, without it rows grow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt import optimizers
from gfopt.optimizers.base import Optimizer
from gfopt.testing import driving
from gfopt.types import Group

WIDTH, UNITS, MEMBERS = 64, 5, 30
STRENGTH = 0.2
GROUPS = (
    Group("layers.0.weight", slice(0, UNITS * WIDTH), (UNITS, WIDTH), "rows"),
    Group("layers.0.shift", slice(UNITS * WIDTH, UNITS * WIDTH + UNITS), (UNITS,)),
)
DIM = UNITS * WIDTH + UNITS
SWARMS = ("pyswarms-gbest", "pyswarms-lbest")
QUIET = {"elites": 0, "tournament_size": 1, "crossover_probability": 0.0, "mutation_strength": STRENGTH}


def build(
    kind: str,
    *,
    seed: int = 0,
    start: Tensor | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
    **options: Any,
) -> Optimizer:
    """An optimizer of one normalized layer, each gene of scale `1 / sqrt(WIDTH)`: rows of unit length."""
    scale = torch.full((DIM,), WIDTH**-0.5, dtype=torch.float64)
    if start is None:
        start = scale * torch.randn(MEMBERS, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    size = driving.size_option(kind, MEMBERS)
    return optimizers.build(
        kind, {**size, **options}, start, np.random.default_rng(seed), scale=scale, bounds=bounds, groups=GROUPS
    )


def weights(genomes: Any) -> Tensor:
    """`(P, UNITS, WIDTH)` rows in front of the normalization."""
    return torch.as_tensor(genomes)[:, : UNITS * WIDTH].reshape(-1, UNITS, WIDTH)


def directed(rows: Tensor, batch: int = 0) -> Tensor:
    """A loss that knows only the directions of the weights, as a normalized layer does, and the shifts.

    Its lowest value is 0, where all weights of a unit are the same positive number; at a random place it is about 1.
    """
    cosine = torch.nn.functional.normalize(weights(rows), dim=-1).sum(-1) / WIDTH**0.5
    return (1 - cosine).mean(-1) + 0.1 * (rows[:, UNITS * WIDTH :] - 0.01 * batch).square().mean(1)


def turned(optimizer: Optimizer) -> float:
    """Mean angle, in radians, between rows of weights before and after one generation of mutation alone."""
    before = optimizer.state_dict()["genomes"]
    optimizer.ask(0)
    after = optimizer.state_dict()["genomes"]
    one, other = (torch.nn.functional.normalize(weights(genomes), dim=-1) for genomes in (after, before))
    # Of all individuals before, the parent is the one with the nearest direction.
    return float(torch.einsum("pui,qui->upq", one, other).amax(-1).clamp(max=1).arccos().mean())


class TestGeneticAlgorithm:
    def test_without_projection_rows_grow_as_a_random_walk(self) -> None:
        """`|w_t|^2 = |w_0|^2 + t sigma^2 D` on average: mutation adds independent noise."""
        optimizer = build("deap-ga", **QUIET)
        start = weights(optimizer.state_dict()["genomes"]).square().sum(-1).mean()
        driving.drive(optimizer, directed, [0] * 101)
        grown = weights(optimizer.state_dict()["genomes"]).square().sum(-1).mean()
        np.testing.assert_allclose(grown, start + 100 * STRENGTH**2, rtol=0.1)

    def test_they_grow_under_selection_too_since_it_does_not_see_length(self) -> None:
        optimizer = build("deap-ga", elites=1, mutation_strength=STRENGTH)
        driving.drive(optimizer, directed, [0] * 101)
        grown = weights(optimizer.state_dict()["genomes"]).square().sum(-1).mean()
        assert 3 < grown < 7

    def test_with_projection_lengths_stay(self) -> None:
        optimizer = build("deap-ga", project_neutral=True)
        for rows, _ in driving.drive(optimizer, directed, [0] * 20):
            np.testing.assert_allclose(weights(rows).norm(dim=-1), 1, rtol=1e-12)
        shifts = optimizer.state_dict()["genomes"][:, UNITS * WIDTH :]
        assert len(np.unique(np.linalg.norm(shifts, axis=1))) == MEMBERS

    @pytest.mark.parametrize(("options", "later"), [
        # tan(angle) = (noise across the row) / length, and across a row is what D - 1 of D genes do.
        ({"project_neutral": True}, 1.0),
        ({"mutation_scale": "relative"}, 1.0),
        ({}, 1 / math.sqrt(1 + 100 * STRENGTH**2)),
    ])  # fmt: skip
    def test_the_angle_of_a_mutation_shrinks_unless_something_is_done(
        self, options: dict[str, Any], later: float
    ) -> None:
        optimizer = build("deap-ga", **QUIET, **options)
        driving.drive(optimizer, directed, (0,))
        across = STRENGTH * math.sqrt((WIDTH - 1) / WIDTH)
        np.testing.assert_allclose(math.tan(turned(optimizer)), across, rtol=0.05)
        driving.drive(optimizer, directed, [0] * 100)
        np.testing.assert_allclose(math.tan(turned(optimizer)), across * later, rtol=0.1)

    def test_clones_of_projected_parents_keep_their_loss(self) -> None:
        optimizer = build("deap-ga", project_neutral=True, crossover_probability=0.0, mutation_probability=0.3)
        asked = [len(rows) for rows, _ in driving.drive(optimizer, directed, [0] * 10)]
        assert asked[0] == MEMBERS
        assert 0.1 * MEMBERS < sum(asked[1:]) / 9 < 0.5 * MEMBERS

    def test_the_elite_keeps_its_genes_and_its_loss(self) -> None:
        optimizer, best = build("deap-ga", project_neutral=True, elites=1), math.inf
        for _ in range(20):
            driving.drive(optimizer, directed, (0,))
            state = optimizer.state_dict()
            assert state["loss"].min() <= best
            best = state["loss"].min()
        losses = directed(torch.from_numpy(state["genomes"]))
        np.testing.assert_allclose(state["loss"], losses, rtol=1e-12)


@pytest.mark.parametrize("kind", SWARMS)
class TestSwarms:
    def test_positions_and_bests_keep_their_length_and_velocities_are_tangential(self, kind: str) -> None:
        optimizer = build(kind, project_neutral=True)
        for batch in [0] * 6 + [1, 1, 2]:
            driving.drive(optimizer, directed, (batch,))
            state = optimizer.state_dict()
            for name in ("position", "pbest_pos"):
                lengths = weights(np.atleast_2d(state[name])).norm(dim=-1)
                np.testing.assert_allclose(lengths, 1, rtol=1e-12)
            along = (weights(state["velocity"]) * weights(state["position"])).sum(-1)
            np.testing.assert_allclose(along, 0, atol=1e-12)
            assert np.linalg.norm(state["velocity"]) > 0

    def test_the_first_velocities_are_tangential(self, kind: str) -> None:
        state = build(kind, project_neutral=True).state_dict()
        along = (weights(state["velocity"]) * weights(state["position"])).sum(-1)
        np.testing.assert_allclose(along, 0, atol=1e-12)

    def test_without_projection_lengths_change(self, kind: str) -> None:
        optimizer = build(kind)
        driving.drive(optimizer, directed, [0] * 10)
        lengths = weights(optimizer.state_dict()["position"]).norm(dim=-1)
        assert float((lengths - 1).abs().max()) > 0.3

    def test_it_still_learns(self, kind: str) -> None:
        trace = driving.drive(build(kind, project_neutral=True), directed, [0] * 60)
        assert trace[-1][1].min() < 0.6 * trace[0][1].min()

    def test_the_box_lies_around_the_projected_starts(self, kind: str) -> None:
        start = torch.randn(MEMBERS, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        start[:, UNITS * WIDTH :] = 0
        near, far = (
            build(kind, start=factor * start, project_neutral=True, bounds_radius=1.0).ask(0) for factor in (1, 50)
        )
        torch.testing.assert_close(near, far)

    def test_the_box_prevails(self, kind: str) -> None:
        optimizer = build(kind, project_neutral=True, bounds_radius=1.0)
        rows = torch.cat([rows for rows, _ in driving.drive(optimizer, directed, [0] * 10)])
        assert float((rows.amax(0) - rows.amin(0)).max()) <= 2 * WIDTH**-0.5 + 1e-12


@pytest.mark.parametrize("kind", ["deap-ga", *SWARMS])
def test_the_bounds_of_the_problem_prevail(kind: str) -> None:
    high = torch.full((DIM,), 0.15, dtype=torch.float64)  # of rows whose weights are 0.125 on average
    start = 0.01 * torch.randn(MEMBERS, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    optimizer = build(kind, project_neutral=True, bounds=(-high, high), start=start)
    rows = torch.cat([rows for rows, _ in driving.drive(optimizer, directed, [0] * 10)])
    assert float(weights(rows).abs().max()) == 0.15


OPTIONS = [
    ("deap-ga", {"project_neutral": True}),
    ("deap-ga", {"mutation_scale": "relative"}),
    ("deap-ga", {"project_neutral": True, "mutation_scale": "relative", "gene_probability": 0.3}),
    *((kind, {"project_neutral": True}) for kind in SWARMS),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
@pytest.mark.parametrize("cut", [0, 2, 5])
def test_resuming_equals_going_on(kind: str, options: dict[str, Any], cut: int) -> None:
    batches = (0, 0, 1, 1, 2, 3, 3)
    whole = driving.drive(build(kind, **options), directed, batches)
    first = build(kind, **options)
    before = driving.drive(first, directed, batches[:cut])
    second = build(kind, seed=99, start=torch.ones(MEMBERS, DIM, dtype=torch.float64), **options)
    second.load_state_dict(first.state_dict())
    assert driving.same(whole, before + driving.drive(second, directed, batches[cut:]))


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_what_the_user_starts_from_is_not_changed(kind: str, options: dict[str, Any]) -> None:
    start = 5 + torch.randn(MEMBERS, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = start.clone()
    optimizer = build(kind, start=start, **options)
    driving.drive(optimizer, directed, (0, 0))
    assert torch.equal(start, kept)


@pytest.mark.parametrize("kind", ["deap-ga", *SWARMS])
def test_projection_changes_nothing_where_nothing_is_neutral(kind: str) -> None:
    plain, asked = (driving.make(kind, project_neutral=on) for on in (False, True))
    assert driving.same(
        driving.drive(plain, driving.rugged, [0, 0, 1, 1]), driving.drive(asked, driving.rugged, [0, 0, 1, 1])
    )
