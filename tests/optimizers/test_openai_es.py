from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gfopt.errors import ConfigError
from gfopt.optimizers._distribution import centered_ranks
from gfopt.optimizers.openai_es import OpenAIES
from gfopt.testing.driving import SCALE, drive, make, sphere, starts
from gfopt.types import Evaluation

DEVIATION = 0.5 * SCALE


def strategy(**options: object) -> OpenAIES:
    made = make("openai-es", **options)
    assert isinstance(made, OpenAIES)
    return made


def told_start(optimizer: OpenAIES, batch: int = 0) -> Tensor:
    """Tell the losses of the start; the center, which is the third row."""
    rows = optimizer.ask(batch)
    loss = torch.arange(len(rows)).sub(2).abs().to(rows)
    optimizer.tell(rows, Evaluation(loss, None, 1, batch))
    return rows[2]


@pytest.mark.parametrize(("loss", "expected"), [
    ([3.0, 1.0, 2.0], [-0.5, 0.5, 0.0]),
    ([1.0, 1.0, torch.inf, 0.0], [0.0, 0.0, -0.5, 0.5]),
    ([torch.inf, torch.inf], [0.0, 0.0]),
])  # fmt: skip
def test_centered_ranks(loss: list[float], expected: list[float]) -> None:
    torch.testing.assert_close(centered_ranks(torch.tensor(loss)), torch.tensor(expected))


def test_samples_are_mirrored_around_the_center_and_the_center_is_behind_them() -> None:
    optimizer = strategy(size=400, dim=50)
    center = told_start(optimizer)
    rows = optimizer.ask(1)
    assert rows.shape == (401, 50)
    assert torch.equal(rows[400], center)
    torch.testing.assert_close(rows[:200] + rows[200:400], (2 * center).expand(200, 50))
    noise = (rows[:200] - center) / DEVIATION
    assert float(noise.std()) == pytest.approx(1, abs=0.03)


def test_the_center_is_asked_only_where_its_loss_is_not_known() -> None:
    optimizer = strategy()
    told_start(optimizer)
    assert len(optimizer.ask(0)) == 6  # it is a row of the start, and was evaluated on this batch
    assert len(optimizer.ask(1)) == 7
    lengths = [len(rows) for rows, _ in drive(optimizer, sphere, (0, 0, 1))]
    assert lengths == [6, 7, 7]
    flat = strategy()
    lengths = [len(rows) for rows, _ in drive(flat, lambda rows, batch: 0 * rows[:, 0], (0, 0, 0, 1, 1))]
    assert lengths == [6, 6, 6, 7, 6]  # nothing to follow: the center stays


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_two_steps_by_the_papers_formulas(rule: str) -> None:
    """In float64, with numpy: ranks by hand, the sum over all samples, and the rules' own definitions."""
    options = {"size": 10, "dim": 4, "dtype": torch.float64, "rule": rule, "learning_rate": 0.3, "weight_decay": 0.1}
    optimizer = strategy(**options, betas=(0.8, 0.95))
    center = told_start(optimizer).numpy()
    average = square = np.zeros(4)
    for step in (1, 2):
        rows = optimizer.ask(step)
        loss = np.random.default_rng(step).permutation(11).astype(np.float64)
        optimizer.tell(rows, Evaluation(torch.from_numpy(loss), None, 1, step))
        rank = loss[:10].argsort().argsort()
        noise = (rows[:10].numpy() - center) / DEVIATION
        gradient = ((0.5 - rank / 9)[:, None] * noise).sum(axis=0) / (10 * 0.5)
        if rule == "sgd":
            average = 0.8 * average + gradient
            move = average
        else:
            average, square = 0.8 * average + 0.2 * gradient, 0.95 * square + 0.05 * gradient**2
            move = average / (1 - 0.8**step) / (np.sqrt(square / (1 - 0.95**step)) + 1e-8)
        center = (1 - 0.3 * 0.1) * center + 0.3 * SCALE * move
        np.testing.assert_allclose(optimizer.ask(step + 1)[10].numpy(), center, rtol=1e-10)


def test_the_estimate_points_where_the_gradient_does() -> None:
    optimizer = strategy(size=2000, dim=5, dtype=torch.float64)
    center = told_start(optimizer)
    rows = optimizer.ask(0)
    slope = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    estimate = optimizer._gradient(rows, rows @ slope)
    assert torch.equal(optimizer._center, center)
    assert float(torch.cosine_similarity(estimate, -slope, dim=0)) > 0.99


def test_equal_losses_move_nothing() -> None:
    trace = drive(make("openai-es"), lambda rows, batch: 0 * rows[:, 0], (0, 1, 2))
    assert torch.equal(trace[1][0][6], trace[2][0][6])


def test_the_state_holds_no_population() -> None:
    optimizer = strategy(size=50, dim=100)
    drive(optimizer, sphere, (0, 0, 1))
    state = optimizer.state_dict()
    assert state["start"] is None
    assert max(array.size for array in [state["center"], *state["rule"].values()]) == 100


def test_convergence_with_plain_momentum() -> None:
    optimizer = strategy(size=32, dim=10, start=starts(32, 10), rule="sgd", learning_rate=0.02, deviation=0.1)
    trace = drive(optimizer, sphere, [0] * 200)
    assert min(float(loss.min()) for _, loss in trace) < 1e-3


@pytest.mark.parametrize("rule", ["adamw", "adamax", "nadam", "radam", "rmsprop", "adagrad", "adadelta"])
def test_convergence_with_each_of_torchs_rules(rule: str) -> None:
    optimizer = strategy(size=32, dim=10, start=starts(32, 10), rule=rule, deviation=0.1)
    start, *later = drive(optimizer, sphere, [0] * 150)
    assert min(float(loss.min()) for _, loss in later) < 0.1 * float(start[1].min())


def test_weight_decay_is_torchs_with_adamw_and_none_with_the_others() -> None:
    center = [make("openai-es", rule=rule, learning_rate=0.5, **more) for rule, more in (
        ("adam", {"weight_decay": 0.01}), ("adam", {"weight_decay": 0.0}), ("adamw", {}), ("adam", {}))]  # fmt: skip
    last = [drive(optimizer, sphere, range(4))[-1][0] for optimizer in center]
    assert torch.equal(last[1], last[3])
    torch.testing.assert_close(last[0], last[2], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(last[2], last[3], rtol=1e-4, atol=1e-4)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="population: expected an even number, got 7"):
        make("openai-es", size=7)
    with pytest.raises(ConfigError, match="rule: expected one of 'adam', 'sgd', 'adamw'"):
        make("openai-es", rule="lion")
    with pytest.raises(ConfigError, match=r"betas\.1: expected a number less than 1, got 1"):
        make("openai-es", betas=(0.9, 1.0))
