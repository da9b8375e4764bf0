from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gfopt.optimizers import leea
from gfopt.optimizers.leea import LEEA
from gfopt.testing.driving import SCALE, drive, make, sphere, starts
from gfopt.types import Evaluation


def algorithm(**options: object) -> LEEA:
    made = make("leea", **options)
    assert isinstance(made, LEEA)
    return made


def told(optimizer: LEEA, loss: Tensor, batch: int = 0) -> Tensor:
    rows = optimizer.ask(batch)
    optimizer.tell(rows, Evaluation(loss, None, 1, batch))
    return rows


def test_losses_add_up_along_the_line_of_descent() -> None:
    """With one parent for all: 5, then 0.75 * 5 + 1, then 0.75 * that + 2, on three batches."""
    optimizer = algorithm(size=4, selection_share=0.25, decay=0.25)
    told(optimizer, torch.tensor([7.0, 5.0, 6.0, 8.0]))
    told(optimizer, torch.tensor([3.0, 2.0, 1.0, 4.0]), 1)
    assert optimizer._rank_loss.tolist() == [6.75, 5.75, 4.75, 7.75]
    told(optimizer, torch.tensor([2.0, 3.0, 4.0, 5.0]), 2)
    assert optimizer._rank_loss.tolist() == [5.5625, 6.5625, 7.5625, 8.5625]


def test_a_child_of_two_parents_inherits_their_mean_and_genes_of_both() -> None:
    options = {"mating_share": 0.5, "mutation_strength": 1e-9, "last_mutation_strength": 1e-9}
    optimizer = algorithm(size=200, dim=40, selection_share=0.01, decay=0.5, **options)
    loss = torch.full((200,), 100.0)
    loss[[17, 91]] = torch.tensor([1.0, 3.0])
    start = told(optimizer, loss)
    children = optimizer.ask(1)
    from_one = torch.isclose(children, start[17], atol=1e-7)
    assert (from_one | torch.isclose(children, start[91], atol=1e-7)).all()
    share = from_one.float().mean(dim=1)
    assert ((share[100:] == 0) | (share[100:] == 1)).all()  # one parent
    mixed = (share > 0) & (share < 1)
    assert mixed[:100].float().mean() == pytest.approx(0.5, abs=0.25)  # half of the pairs are twice the same
    assert float(share[:100][mixed[:100]].mean()) == pytest.approx(0.5, abs=0.1)
    expected = 0.5 * torch.where(mixed, 2.0, torch.where(share == 1, 1.0, 3.0)).double()
    torch.testing.assert_close(optimizer._inherited, expected)


@pytest.mark.parametrize(("spent", "strength"), [(0.0, 0.4), (0.5, 0.2), (1.0, 0.1)])
def test_mutations_become_smaller_as_the_budget_is_spent(spent: float, strength: float) -> None:
    options = {"mutation_strength": 0.4, "last_mutation_strength": 0.1, "selection_share": 0.01}
    optimizer = algorithm(size=20, dim=500, **options)
    start = told(optimizer, torch.arange(20.0))
    optimizer.spent = spent
    assert float((optimizer.ask(1) - start[0]).std()) == pytest.approx(strength * SCALE, rel=0.05)


def test_genes_change_with_their_probability() -> None:
    optimizer = algorithm(size=20, dim=500, gene_probability=0.1, selection_share=0.01)
    start = told(optimizer, torch.arange(20.0))
    assert float((optimizer.ask(1) != start[0]).float().mean()) == pytest.approx(0.1, abs=0.02)


def test_parents_are_not_asked_again_on_a_new_batch() -> None:
    assert [len(rows) for rows, _ in drive(algorithm(), sphere, (0, 1, 2, 2))] == [6, 6, 6, 6]


def test_a_failed_row_has_children_only_if_nothing_else_is_left_and_passes_on_the_highest_loss() -> None:
    optimizer = algorithm(size=4, selection_share=0.5)
    optimizer._inherited[2] = -100.0  # however good its parents were
    told(optimizer, torch.tensor([1.0, 2.0, torch.inf, torch.inf]))
    assert optimizer._order.tolist()[:2] == [0, 1]
    assert optimizer._rank_loss.tolist() == [1.0, 2.0, -98.0, 2.0]


def test_chunks_of_any_size_give_the_same_children(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drive(algorithm(), sphere, range(4))[-1][0]
    monkeypatch.setattr(leea, "_CHUNK", 12)
    assert torch.equal(drive(algorithm(), sphere, range(4))[-1][0], whole)


def test_the_start_is_left_as_it_was() -> None:
    start = starts(6, 6)
    drive(algorithm(start=start), sphere, range(3))
    assert torch.equal(start, starts(6, 6))
