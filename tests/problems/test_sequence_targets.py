"""A target at every step: losses, metrics and whole problems."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, r2_score, root_mean_squared_error
from torch import nn
from torch.nn import functional

import gfopt
from gfopt.data.dataset import Dataset, Scaling
from gfopt.errors import ConfigError, NetworkError, ShapeError
from gfopt.problems.losses import (
    BinaryCrossEntropy,
    CallableLoss,
    ClassificationError,
    CostMatrix,
    CrossEntropy,
    MeanSquaredError,
    make_loss,
)
from gfopt.problems.metrics import metrics
from gfopt.problems.supervised import SupervisedProblem

MEMBERS, ROWS, STEPS = 4, 7, 5


def outputs_of(columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(MEMBERS, ROWS, STEPS, columns, generator=generator, dtype=torch.float64)


def labels(classes: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, classes, (ROWS, STEPS))


def values(columns: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(ROWS, STEPS, columns))


# The loss, output columns, targets, and what torch says about one step of one row.
CASES = {
    "cross_entropy": (CrossEntropy(), 3, labels(3), lambda o, y: functional.cross_entropy(o, y)),
    "binary_cross_entropy": (
        BinaryCrossEntropy(),
        1,
        labels(2),
        lambda o, y: functional.binary_cross_entropy_with_logits(o[0], y),
    ),
    "classification_error": (ClassificationError(), 3, labels(3), lambda o, y: (o.argmax() != y).double()),
    "classification_error, one logit": (ClassificationError(), 1, labels(2), lambda o, y: ((o[0] > 0) != y).double()),
    "mse": (MeanSquaredError(), 2, values(2), lambda o, y: functional.mse_loss(o, y)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_row_counts_with_the_mean_over_its_steps(case, weighted):
    loss, columns, y, reference = CASES[case]
    outputs, targets = outputs_of(columns), loss.targets(y, torch.float64)
    weight = torch.arange(1.0, ROWS + 1) if weighted else None
    rows = torch.tensor(
        [
            [
                np.mean([float(reference(member[row, step], targets[row, step])) for step in range(STEPS)])
                for row in range(ROWS)
            ]
            for member in outputs
        ]
    )
    torch.testing.assert_close(loss.each(outputs, targets).double(), rows.double())
    expected = rows.double().numpy() @ (np.ones(ROWS) / ROWS if weight is None else (weight / weight.sum()).numpy())
    np.testing.assert_allclose(loss(outputs, targets, weight), expected, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_members_at_once_and_one_by_one(case):
    loss, columns, y, _ = CASES[case]
    outputs, targets = outputs_of(columns), loss.targets(y, torch.float64)
    together = loss(outputs, targets)
    assert together.shape == (MEMBERS,)
    assert torch.equal(together, torch.stack([loss(member, targets) for member in outputs]))
    assert loss(outputs[:0], targets).shape == (0,)
    outputs[2, 3, 1] = torch.nan
    broken = loss(outputs, targets)
    assert broken[2].isnan()
    assert torch.equal(broken[[0, 1, 3]], together[[0, 1, 3]])


@pytest.mark.parametrize("case", CASES)
def test_one_step_is_the_loss_without_a_time_axis(case):
    loss, columns, y, _ = CASES[case]
    outputs, single = outputs_of(columns)[:, :, :1], y[:, :1]
    flat = loss(outputs[:, :, 0], loss.targets(single[:, 0], torch.float64))
    torch.testing.assert_close(loss(outputs, loss.targets(single, torch.float64)), flat)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(
        ShapeError, match=r"cross_entropy: outputs: expected shape \(\.\.\., 7, 5, C\), got \(4, 7, 3\)"
    ):
        CrossEntropy()(outputs_of(3)[:, :, 0], torch.as_tensor(labels(3)))
    with pytest.raises(ShapeError, match=r"mse: outputs: expected shape \(\.\.\., 7, 5, 2\), got \(4, 7, 5, 1\)"):
        MeanSquaredError()(outputs_of(1), torch.as_tensor(values(2)))


@pytest.mark.parametrize("loss", ["f1_error", "auc_error", CostMatrix([[0, 1], [1, 0]]), CallableLoss(len)])
def test_losses_of_one_target_a_row_refuse(loss):
    data = gfopt.load_dataset("parity_sequence", every_step=True)
    made = make_loss(loss)
    with pytest.raises(
        ConfigError,
        match=rf"^loss {made.name}: expected one target a row, got `parity_sequence`, with a target at each of 8 "
        r"steps\. Use loss: cross_entropy or classification_error instead",
    ):
        made.check(data)
    made.check(gfopt.load_dataset("parity_sequence"))


def test_metrics_of_classes_count_every_step_and_whole_rows():
    outputs, y = outputs_of(3)[0], labels(3)
    outputs[2] = 5 * functional.one_hot(torch.as_tensor(y[2]), 3)
    outputs[5] = 5 * functional.one_hot(torch.as_tensor(y[5]), 3)
    decided = outputs.argmax(-1).numpy()
    assert metrics("classification", outputs, torch.as_tensor(y)) == pytest.approx(
        {
            "accuracy": accuracy_score(y.ravel(), decided.ravel()),
            "balanced_accuracy": balanced_accuracy_score(y.ravel(), decided.ravel()),
            "f1_macro": f1_score(y.ravel(), decided.ravel(), average="macro"),
            "sequence_accuracy": np.mean((decided == y).all(axis=1)),
        }
    )
    assert metrics("classification", outputs, torch.as_tensor(y))["sequence_accuracy"] == pytest.approx(2 / 7)


def test_a_step_without_a_decision_spoils_its_row():
    outputs = torch.tensor([[[0.0, 9.0], [9.0, 0.0]], [[0.0, 9.0], [torch.nan, 0.0]]])
    got = metrics("classification", outputs, torch.tensor([[1, 0], [1, 0]]))
    assert got["accuracy"] == 3 / 4
    assert got["sequence_accuracy"] == 1 / 2


@pytest.mark.parametrize("whole", [False, True])
def test_metrics_of_quantities_are_those_of_all_steps(whole):
    predicted, y, scale = outputs_of(2)[0].numpy(), values(2), np.array([3.0, 0.5])
    given = np.broadcast_to(scale, (STEPS, 2)) if whole else scale
    got = metrics("regression", torch.as_tensor(predicted), torch.as_tensor(y), target_scale=given)
    p, t = ((array * scale).reshape(-1, 2) for array in (predicted, y))
    assert got == pytest.approx(
        {"rmse": root_mean_squared_error(t.ravel(), p.ravel()), "mae": np.abs(t - p).mean(), "r2": r2_score(t, p)}
    )


def test_metrics_of_outputs_that_do_not_belong_to_the_targets():
    with pytest.raises(ShapeError, match=r"expected shape \(7, 5, C\), got \(7, 3\)"):
        metrics("classification", torch.zeros(7, 3), torch.zeros(7, 5))
    with pytest.raises(ShapeError, match=r"expected shape \(7, 5, 2\), got \(7, 5, 1\)"):
        metrics("regression", torch.zeros(7, 5, 1), torch.zeros(7, 5, 2))


# --- whole problems ---


class Running(nn.Module):
    """The mean of the steps so far and the step itself, through two layers with batch normalization between."""

    def __init__(self, features: int, out_features: int, norm: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2 * features, 6), nn.Linear(6, out_features)
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)
        hidden = self.first(torch.cat([x, x.cumsum(1) / count[:, None]], dim=-1))
        return self.second(torch.tanh(self.norm(hidden.transpose(1, 2)).transpose(1, 2)))


def echo(columns: int = 2) -> Dataset:
    """A regression at every step: the mean of the inputs so far."""
    x = np.random.default_rng(0).normal(size=(60, 6, columns))
    y = x.cumsum(axis=1) / np.arange(1, 7)[:, None]
    return Dataset(
        name="echo",
        task="regression",
        x_train=x[:40],
        y_train=y[:40],
        x_validation=x[:0],
        y_validation=y[:0],
        x_test=x[40:],
        y_test=y[40:],
        input_scaling=Scaling.identity((6, columns)),
        target_scaling=Scaling.identity((6, columns)),
    )


def problem(network: nn.Module, data: Dataset | None = None, **options: object) -> SupervisedProblem:
    data = gfopt.load_dataset("copy_memory", samples=60, alphabet=3, symbols=2, delay=3) if data is None else data
    return SupervisedProblem(network, data, **{"dtype": "float64", "device": "cpu", **options})


@pytest.mark.parametrize("batch_size", [None, 16])
def test_losses_and_gradients_of_a_population_are_those_of_the_plain_module(batch_size):
    p = problem(Running(5, 4), batch_size=batch_size)
    population = p.initial(5, 3)
    found = p.evaluate(population, 2, seed=1, gradient=True)
    torch.testing.assert_close(found.loss, p.evaluate(population, 2, seed=1).loss)
    for member, vector in enumerate(population):
        module, inputs, _ = p.training_view(vector, 2, seed=1)
        rows = p._rows(2, 1)
        targets = torch.as_tensor(np.array(p.dataset.y_train))[slice(None) if rows is None else rows]
        loss = functional.cross_entropy(module(inputs).flatten(0, 1), targets.flatten())
        torch.testing.assert_close(loss, found.loss[member])
        gradient = torch.autograd.grad(loss, list(module.parameters()))
        torch.testing.assert_close(torch.cat([g.flatten() for g in gradient]), found.gradient[member])


def test_reference_rows_stand_before_the_rows_that_count():
    p = problem(Running(5, 4, norm=True), bn_mode="reference", batch_size=16)
    module, inputs, criterion = p.training_view(p.initial(1, 0)[0], 1, seed=2)
    outputs = module(inputs)
    assert len(outputs) == 42 + 16  # all 42 training rows are the reference
    targets = torch.as_tensor(np.array(p.dataset.y_train))[p._rows(1, 2)]
    expected = functional.cross_entropy(outputs[-16:].flatten(0, 1), targets.flatten())
    torch.testing.assert_close(criterion(outputs), expected)
    torch.testing.assert_close(criterion(outputs[None]), expected[None])


def test_a_run_learns_and_is_scored():
    p = problem(Running(1, 2), gfopt.load_dataset("parity_sequence", every_step=True, length=4, samples=16))
    run = gfopt.minimize(p, "adam", budget={"steps": 60}, learning_rate=0.05)
    assert run.best_loss < 0.69
    assert {"test_accuracy", "test_sequence_accuracy"} <= set(run.scores)
    assert run.scores["test_sequence_accuracy"] <= run.scores["test_accuracy"]


def test_quantities_at_every_step():
    p = problem(Running(2, 2), echo(), loss="mse")
    run = gfopt.minimize(p, "adam", budget={"steps": 300}, learning_rate=0.03)
    assert run.scores["test_r2"] > 0.8
    assert p.dataset.targets == 2
    assert p.dataset.steps == 6
    with torch.no_grad():
        error = run.module()(torch.as_tensor(np.array(p.dataset.x_test))) - torch.as_tensor(np.array(p.dataset.y_test))
    assert run.scores["test_rmse"] == pytest.approx(float(error.square().mean().sqrt()))


class LastStep(Running):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, -1]


@pytest.mark.parametrize(
    ("network", "loss", "message"),
    [
        (
            LastStep(5, 4),
            "cross_entropy",
            r"\(B, 7, 4\) for cross_entropy on copy_memory, got `\(B, 4\)`\. .*every step",
        ),
        (Running(5, 3), "cross_entropy", r"\(B, 7, 4\) for cross_entropy on copy_memory, got `\(B, 7, 3\)`"),
    ],
)
def test_networks_that_do_not_fit_are_refused(network, loss, message):
    with pytest.raises(NetworkError, match=rf"^expected a network whose outputs have shape {message}"):
        problem(network, loss=loss)


def test_a_loss_that_takes_one_or_two_outputs_still_wants_every_step():
    data = gfopt.load_dataset("parity_sequence", every_step=True, length=4, samples=16)
    for columns in (1, 2):
        problem(Running(1, columns), data, loss="classification_error")
    with pytest.raises(NetworkError, match=r"shape \(B, 4, C\) for classification_error on .*got `\(B, 2\)`"):
        problem(LastStep(1, 2), data, loss="classification_error")
    with pytest.raises(NetworkError, match=r"shape \(B, 2\) for cross_entropy on parity_sequence, got `\(B, 8, 2\)`"):
        problem(Running(1, 2), gfopt.load_dataset("parity_sequence"))
