"""L-BFGS against torch's, its line searches against their conditions, and what a held minibatch sees."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gfopt.errors import ConfigError
from gfopt.optimizers import _line_search as line_search
from gfopt.optimizers._curvature import Curvature
from gfopt.optimizers.base import Optimizer
from gfopt.testing import driving
from gfopt.testing.driving import drive, evaluate, make, same

SEARCHES = ["none", "backtracking", "strong-wolfe"]


def bowl(rows: Tensor, batch: int = 0) -> Tensor:
    """A quadratic whose curvatures differ a hundredfold; a batch moves its optimum."""
    weights = torch.logspace(0, 2, rows.shape[1], dtype=rows.dtype)
    return (weights * (rows - 0.3 - 0.1 * batch).square()).sum(dim=1)


def valley(rows: Tensor, batch: int = 0) -> Tensor:
    """Rosenbrock's function."""
    return (100 * (rows[:, 1:] - rows[:, :-1].square()).square() + (1 - rows[:, :-1]).square()).sum(dim=1)


@pytest.mark.parametrize("memory", [2, 10])
def test_without_a_line_search_each_row_is_torchs(memory: int) -> None:
    trace = drive(make("lbfgs", dtype=torch.float64, line_search="none", memory=memory), bowl, (0,) * 12)
    for row, start in enumerate(driving.starts(6, 6, torch.float64)):
        parameter = torch.nn.Parameter(start)
        reference = torch.optim.LBFGS([parameter], lr=1.0, max_iter=1, history_size=memory)
        for rows, _ in trace:
            torch.testing.assert_close(rows[row], parameter.detach(), rtol=1e-8, atol=1e-8)

            def closure(parameter: torch.nn.Parameter = parameter) -> Tensor:
                parameter.grad = None
                loss = bowl(parameter[None]).sum()
                loss.backward()
                return loss

            reference.step(closure)


def test_the_two_loops_are_the_product_with_the_matrix_of_bfgs() -> None:
    # Nocedal and Wright, eq. 7.16: H <- (I - rho s y') H (I - rho y s') + rho s s', from H = gamma I.
    generator = torch.Generator().manual_seed(0)
    pairs = [torch.randn(2, 5, generator=generator, dtype=torch.float64) for _ in range(4)]
    pairs = [(s, y if s @ y > 0 else -y) for s, y in pairs]
    curvature = Curvature(torch.zeros(2, 5, dtype=torch.float64), 3)
    for s, y in pairs:
        curvature.add(torch.tensor([1]), s[None], y[None])
    s, y = pairs[-1]
    inverse = torch.eye(5, dtype=torch.float64) * (s @ y / (y @ y))
    for s, y in pairs[1:]:  # the oldest of four has made room
        rho = 1 / (s @ y)
        left = torch.eye(5, dtype=torch.float64) - rho * torch.outer(s, y)
        inverse = left @ inverse @ left.T + rho * torch.outer(s, s)
    gradient = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    product = curvature.times(torch.tensor([0, 1]), gradient)
    torch.testing.assert_close(product, torch.stack([gradient[0], inverse @ gradient[1]]))


def test_a_pair_without_positive_curvature_is_left_out() -> None:
    curvature = Curvature(torch.zeros(3, 2), 2)
    step = torch.tensor([[1.0, 0.0]] * 3)
    curvature.add(torch.arange(3), step, torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
    assert curvature.empty(torch.arange(3)).tolist() == [False, True, True]


def _search(name: str, phi: Any, slope: Any, step: float, **options: Any) -> tuple[str, float, int]:
    """The verdict, the step and the trials of a whole search."""
    search = line_search.begin(name, phi(0.0), slope(0.0), step, limit=30, **options)
    verdict, tried = "again", step
    while verdict == "again":
        tried = search.step
        search = line_search.restored(search.state_dict())  # what is stored is all there is
        verdict = search.tell(phi(tried), slope(tried))
    return verdict, tried, search.trials


# phi, phi' and a first step: functions of More and Thuente 1994 (eqs. 5.1 and 5.2), and a parabola.
FUNCTIONS = {
    "5.1": (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
    "5.2": (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, lambda a: 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),
    "parabola": (lambda a: (a - 3) ** 2, lambda a: 2 * (a - 3)),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("first", [1e-3, 0.1, 10.0, 1000.0])
def test_strong_wolfe_ends_where_both_conditions_hold(function: str, first: float) -> None:
    phi, slope = FUNCTIONS[function]
    verdict, step, trials = _search("strong-wolfe", phi, slope, first, decrease=1e-4, flatness=0.1)
    assert verdict == "here"
    assert phi(step) <= phi(0) + 1e-4 * step * slope(0)
    assert abs(slope(step)) <= 0.1 * abs(slope(0))
    assert trials <= 20


@pytest.mark.parametrize("first", [1.0, 100.0])
def test_backtracking_ends_where_the_loss_has_fallen_enough(first: float) -> None:
    phi, slope = FUNCTIONS["parabola"]
    verdict, step, _ = _search("backtracking", phi, slope, first, decrease=0.3)
    assert verdict == "here"
    assert phi(step) <= phi(0) + 0.3 * step * slope(0)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_comes_back_from_where_everything_fails(name: str) -> None:
    verdict, step, _ = _search(name, lambda a: math.inf if a > 0.1 else -a, lambda a: -1.0 if a <= 0.1 else 0.0, 50.0)
    assert verdict in ("here", "lowest")
    assert step <= 0.1 or verdict == "lowest"


def test_a_search_uphill_takes_none() -> None:
    for name in ("backtracking", "strong-wolfe"):
        assert _search(name, lambda a: a, lambda a: -1.0, 1.0)[0] == "none"


@pytest.mark.parametrize("name", ["backtracking", "strong-wolfe"])
def test_rosenbrocks_valley_is_followed_to_its_end(name: str) -> None:
    optimizer = make("lbfgs", dtype=torch.float64, line_search=name)
    trace = drive(optimizer, valley, (0,) * 250)
    least = {tuple(rows.shape): 0 for rows, _ in trace}
    assert len(least) > 1  # rows that are done wait for those that still search
    assert (valley(optimizer._point) < 5).all()  # there is a second valley, with a loss of 3.97
    assert (optimizer._slope.norm(dim=1) < 1e-3).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_rows_path_does_not_depend_on_the_others(name: str) -> None:
    start = driving.starts(6, 6, torch.float64)
    together = make("lbfgs", dtype=torch.float64, line_search=name)
    seen: list[Tensor] = []
    for _ in range(25):
        rows = together.ask(0)
        seen.append(rows.clone())
        together.tell(rows, evaluate(driving.rugged, rows, 0, gradient=True))
    asked = torch.cat(seen)
    for row in range(6):
        alone = make("lbfgs", size=1, start=start[[row]], dtype=torch.float64, line_search=name)
        for rows, _ in drive(alone, driving.rugged, (0,) * 6):
            assert (asked == rows).all(dim=1).any()


def _held(optimizer: Optimizer, steps: int, objective: Any = bowl) -> list[tuple[int, Tensor]]:
    """Minibatches as the loop hands them out, with the rows asked on each."""
    batch, trace = 0, []
    for _ in range(steps):
        rows = optimizer.ask(batch)
        trace.append((batch, rows.clone()))
        optimizer.tell(rows, evaluate(objective, rows, batch, gradient=True))
        batch += not optimizer.hold_batch
    return trace


@pytest.mark.parametrize("name", ["backtracking", "strong-wolfe"])
def test_a_line_search_holds_its_minibatch_and_begins_with_the_rows_themselves(name: str) -> None:
    optimizer = make("lbfgs", dtype=torch.float64, line_search=name)
    trace = _held(optimizer, 60)
    firsts = [i for i, (batch, _) in enumerate(trace) if i == 0 or batch != trace[i - 1][0]]
    assert 10 < len(firsts) <= 30  # two evaluations or more on each
    assert all(len(trace[i][1]) == 6 for i in firsts)
    assert not optimizer._curvature.empty(torch.arange(6)).any()  # pairs are of one minibatch each


def test_without_a_line_search_a_pair_across_minibatches_is_left_out() -> None:
    optimizer = make("lbfgs", line_search="none", learning_rate=0.001)
    drive(optimizer, bowl, range(5))
    assert not optimizer.hold_batch
    assert optimizer._curvature.empty(torch.arange(6)).all()
    drive(optimizer, bowl, (5, 5))
    assert not optimizer._curvature.empty(torch.arange(6)).any()


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8])
def test_a_search_goes_on_exactly_where_it_was_left(name: str, cut: int) -> None:
    batches = (0,) * 6 + (1,) * 6
    options: dict[str, Any] = {
        "line_search": name,
        "schedule": {"kind": "plateau", "patience": 0},
        "weight_decay": 0.01,
    }
    whole = drive(make("lbfgs", **options), valley, batches)
    first, second = make("lbfgs", **options), make("lbfgs", **options)
    before = drive(first, valley, batches[:cut])
    second.load_state_dict(first.state_dict())
    assert second.hold_batch == first.hold_batch
    assert same(whole, before + drive(second, valley, batches[cut:]))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_row_recovers_from_a_step_that_failed(name: str) -> None:
    # Beyond 0.2 there is nothing; the optimum at 0.3 draws every step there.
    def wall(rows: Tensor, batch: int) -> Tensor:
        return torch.where((rows > 0.2).any(dim=1), torch.nan, bowl(rows, batch))

    start = torch.full((2, 3), -1.0, dtype=torch.float64)
    start[1, 0] = 0.5  # fails from the start: nothing can be done for it
    optimizer = make("lbfgs", dim=3, size=2, start=start, dtype=torch.float64, line_search=name)
    trace = drive(optimizer, wall, (0,) * 60)
    assert any(torch.isinf(loss[0]) for _, loss in trace)
    assert torch.isfinite(optimizer._point).all()
    assert wall(optimizer._point, 0)[0] < 0.5 * wall(start, 0)[0]
    assert torch.equal(optimizer._point[1], start[1])


def test_a_weight_decay_is_part_of_loss_and_gradient() -> None:
    optimizer = make("lbfgs", dim=2, size=1, dtype=torch.float64, weight_decay=2.0)
    drive(optimizer, lambda rows, batch: (rows - 1).square().sum(dim=1), (0,) * 20)
    torch.testing.assert_close(optimizer._point, torch.full((1, 2), 0.5, dtype=torch.float64))  # x^2 + (x - 1)^2


def test_conditions_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"flatness: expected more than the decrease of 0.5, got 0.3"):
        make("lbfgs", flatness=0.3, decrease=0.5)
