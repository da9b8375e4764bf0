"""Islands: each a genetic algorithm of its own, evaluated together, with migration in a ring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gfopt import optimizers
from gfopt.errors import ConfigError
from gfopt.testing import driving
from gfopt.testing.driving import drive, make
from gfopt.types import Evaluation

KIND = "deap-islands"
QUIET = {"crossover_probability": 0.0, "mutation_probability": 0.0, "selection": "tools.selBest"}


def losses(optimizer: Any) -> list[list[float]]:
    return [island["loss"].tolist() for island in optimizer.state_dict()["islands"]]


def told(optimizer: Any, batch: int, loss: list[float]) -> None:
    rows = optimizer.ask(batch)
    optimizer.tell(rows, Evaluation(torch.tensor(loss), None, 1, batch))


def test_without_migration_each_island_is_a_deap_ga_of_its_own() -> None:
    optimizer = make(KIND, size=13, islands=3, migration_every=100)
    streams = np.random.default_rng(0)
    parts = driving.starts(13, 6).split([5, 4, 4])
    alone = [
        make(
            "deap-ga", start=part, size=len(part), elites=1, mutation="self-adaptive", seed=int(streams.integers(2**63))
        )
        for part in parts
    ]
    for batch in (0, 0, 1, 1, 2):
        ((rows, _),) = drive(optimizer, driving.rugged, (batch,))
        expected = torch.cat([drive(island, driving.rugged, (batch,))[0][0] for island in alone])
        assert torch.equal(rows, expected)


def test_copies_of_the_best_replace_the_worst_of_the_next_island_with_their_losses() -> None:
    optimizer = make(KIND, size=9, islands=3, migrants=2, migration_every=2, **QUIET)
    # Whoever is best has the lowest number; no genes change, so that nobody is asked again.
    told(optimizer, 0, [1.0, 2, 3, 4, 5, 6, 7, 8, 9])
    optimizer.ask(0)  # one generation
    assert losses(optimizer) == [[1, 1, 2], [4, 4, 5], [7, 7, 8]]  # the elite, and the two that selBest chooses
    genomes = [island["genomes"] for island in optimizer.state_dict()["islands"]]
    optimizer._migrate()  # type: ignore[attr-defined]
    assert [sorted(island) for island in losses(optimizer)] == [[1, 7, 7], [1, 1, 4], [4, 4, 7]]
    after = [island["genomes"] for island in optimizer.state_dict()["islands"]]
    for place, island in enumerate(after):
        known = {tuple(row): value for row, value in zip(np.vstack(genomes), [1, 1, 2, 4, 4, 5, 7, 7, 8], strict=True)}
        assert [known[tuple(row)] for row in island] == losses(optimizer)[place]


def test_migration_happens_every_so_many_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer, when = make(KIND, size=8, islands=2, migration_every=3), []
    migrate = optimizer._migrate  # type: ignore[attr-defined]
    monkeypatch.setattr(optimizer, "_migrate", lambda: (when.append(optimizer._generation), migrate()))  # type: ignore[attr-defined]
    drive(optimizer, driving.rugged, [0] * 11)
    assert when == [3, 6, 9]


def test_migration_spreads_what_one_island_has_found() -> None:
    start = torch.full((16, 6), 9.0)
    start[0] = 0.3  # the optimum
    reached = []
    for every in (1, 1000):
        optimizer = make(KIND, size=16, islands=4, migration_every=every, start=start.clone())
        drive(optimizer, driving.sphere, [0] * 8)
        reached.append([min(island) for island in losses(optimizer)])
    assert max(reached[0]) < 1e-6
    assert min(reached[1][1:]) > 10


def test_a_generation_of_which_one_island_knows_all_is_not_bred_again() -> None:
    """Asking twice: islands without anything to evaluate wait for the others."""
    optimizer = make(KIND, size=6, islands=3, crossover_probability=0.0, mutation_probability=0.4)
    for _ in range(12):
        rows = optimizer.ask(0)
        if len(rows):
            before = [island["genomes"] for island in optimizer.state_dict()["islands"]]
            assert torch.equal(optimizer.ask(0), rows)
            for one, other in zip(before, optimizer.state_dict()["islands"], strict=True):
                np.testing.assert_array_equal(one, other["genomes"])
            optimizer.tell(rows, Evaluation(driving.rugged(rows), None, 1, 0))


def test_islands_are_as_many_as_have_room() -> None:
    def sizes(**options: Any) -> list[int]:
        return optimizers.options_of(KIND, options).sizes  # type: ignore[attr-defined, no-any-return]

    assert sizes() == [16] * 4
    assert sizes(population=5) == [3, 2]
    assert sizes(population=2) == [2]
    assert sizes(population=11, islands=3) == [4, 4, 3]


@pytest.mark.parametrize(("options", "message"), [
    ({"population": 9, "islands": 5}, "islands: expected at most 4, two individuals for each, got 5"),
    ({"population": 12, "islands": 4, "elites": 3}, "elites: expected less than the 3 individuals of an island, got 3"),
    ({"population": 12, "migrants": 3}, "migrants: expected less than the 3 individuals of an island, got 3"),
])  # fmt: skip
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        optimizers.options_of(KIND, options)
