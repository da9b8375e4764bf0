"""One network, one data set, one loss: the same problem for every optimizer."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import gfopt
from gfopt.errors import ConfigError, NetworkError, NotDifferentiableError, ShapeError, SlowPathWarning
from gfopt.problems.supervised import SupervisedProblem

SPEC = {"kind": "mlp", "hidden": [6], "activation": "tanh"}


@pytest.fixture(scope="module")
def iris():
    return gfopt.load_dataset("iris")


def problem(data, network=SPEC, **options):
    return SupervisedProblem(network, data, **{"dtype": "float64", "device": "cpu", **options})


def test_losses_are_those_of_the_plain_module(iris):
    p = problem(iris)
    population = p.initial(5, 3)
    losses = p.evaluate(population).loss
    x, y = torch.tensor(np.array(iris.x_train)), torch.tensor(np.array(iris.y_train))
    for vector, loss in zip(population, losses, strict=True):
        module = p.module(vector)
        torch.testing.assert_close(nn.functional.cross_entropy(module(x), y), loss, rtol=1e-12, atol=0)


def test_gradients_are_finite_differences(iris):
    p = problem(iris, {**SPEC, "norm": "batch"}, batch_size=32)
    vector = p.initial(1, 0)
    found = p.evaluate(vector, 4, seed=9, gradient=True)
    for place in range(0, p.dim, 9):
        step = torch.zeros_like(vector)
        step[0, place] = 1e-6
        up, down = (p.evaluate(vector + sign * step, 4, seed=9).loss[0] for sign in (1, -1))
        torch.testing.assert_close((up - down) / 2e-6, found.gradient[0, place], rtol=1e-4, atol=1e-8)


def test_a_minibatch_is_the_same_for_every_member_and_depends_on_stream_and_step_alone(iris):
    p = problem(iris, batch_size=16)
    same = p.initial(1, 0).expand(4, -1)
    losses = p.evaluate(same, 3, seed=1).loss
    assert losses.unique().numel() == 1
    p.evaluate(same, 17, seed=5)
    assert p.evaluate(same, 3, seed=1).loss.equal(losses)
    assert not p.evaluate(same, 4, seed=1).loss.equal(losses)
    assert not p.evaluate(same, 3, seed=2).loss.equal(losses)
    assert [p.batch(step) for step in (0, 1, 7)] == [0, 1, 7]
    assert {problem(iris).batch(step) for step in (0, 1, 7)} == {0}


def test_samples_count_the_rows_that_a_member_sees(iris):
    population = problem(iris).initial(2, 0)
    assert problem(iris).evaluate(population).samples == len(iris.x_train)
    assert problem(iris, batch_size=16).evaluate(population).samples == 16
    p = problem(iris, {**SPEC, "norm": "batch"}, batch_size=16, bn_mode="reference")
    assert p.evaluate(p.initial(2, 0)).samples == 16 + min(128, len(iris.x_train))  # the reference rows are paid for
    assert problem(iris, batch_size=16, bn_mode="reference").evaluate(population).samples == 16  # nothing to refer to


@pytest.mark.parametrize("bn_mode", ["batch", "reference", "running"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_every_mode_of_batch_norm_trains_and_scores(iris, norm, bn_mode):
    p = problem(iris, {**SPEC, "norm": norm}, bn_mode=bn_mode)
    assert p.evaluate(p.initial(3, 0)).loss.isfinite().all()  # a population, too
    run = gfopt.minimize(p, "adam", budget={"steps": 60}, learning_rate=0.05)
    assert run.best_loss < 0.3
    assert run.scores["test_accuracy"] > 0.85


def test_the_winner_is_scored_with_its_own_statistics(iris):
    """Full-batch statistics of training are the re-estimated ones of scoring, so the training loss is the same."""
    p = problem(iris, {**SPEC, "norm": "batch"})
    vector = p.initial(3, 1)[2]
    torch.testing.assert_close(
        p.score(vector, "train")["loss"], float(p.evaluate(vector[None]).loss[0]), rtol=1e-9, atol=0
    )
    p.score(p.initial(1, 5)[0], "test")  # another winner in between leaves no trace
    torch.testing.assert_close(
        p.score(vector, "train")["loss"], float(p.evaluate(vector[None]).loss[0]), rtol=1e-9, atol=0
    )


def test_running_statistics_are_never_genes(iris):
    p = problem(iris, {**SPEC, "norm": "batch"})
    assert p.dim == sum(t.numel() for t in p.template().parameters())
    assert not [g.name for g in p.groups if "running" in g.name]


def test_only_trainable_parameters_are_genes(iris):
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    p = problem(iris, network, trainable="2.*")
    assert p.dim == 8 * 3 + 3
    module = p.module(p.initial(1, 4)[0])
    assert module[0].weight.equal(network[0].weight.double())
    assert not module[2].weight.equal(network[2].weight.double())
    assert p.evaluate(p.initial(3, 0), gradient=True).gradient.shape == (3, p.dim)


def test_the_users_network_is_left_alone(iris):
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    before = copy.deepcopy(network.state_dict())
    p = problem(iris, network)
    p.evaluate(p.initial(4, 0), gradient=True)
    p.score(p.initial(1, 0)[0])
    assert all(t.equal(before[name]) and t.dtype == before[name].dtype for name, t in network.state_dict().items())


def test_sample_weights_weight_the_loss(iris):
    weight = np.zeros(len(iris.x_train))
    weight[:10] = 2.0
    p = problem(iris, sample_weight=weight)
    vector = p.initial(1, 0)
    x, y = torch.tensor(np.array(iris.x_train[:10])), torch.tensor(np.array(iris.y_train[:10]))
    expected = nn.functional.cross_entropy(p.module(vector[0])(x), y)
    torch.testing.assert_close(p.evaluate(vector).loss[0], expected, rtol=1e-12, atol=0)


def test_an_objective_reports_one_loss_and_differentiates_another(iris):
    p = problem(iris, objective={"loss": "classification_error", "surrogate": "cross_entropy"})
    vector = p.initial(1, 0)
    error = p.evaluate(vector).loss[0]
    assert error == pytest.approx(1 - p.score(vector[0], "train")["accuracy"])
    assert float(p.probe(vector).loss[0]) == float(error)
    torch.testing.assert_close(p.evaluate(vector, gradient=True).loss, problem(iris).evaluate(vector).loss)
    assert gfopt.minimize(p, "adam", budget={"steps": 80}, learning_rate=0.05).best_loss < 0.1


def test_a_users_loss_per_row_or_over_the_set_is_accepted(iris):
    def per_row(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    def over_all(outputs, targets):
        return float((outputs.argmax(-1) != targets).double().mean())

    reference = problem(iris)
    population = reference.initial(3, 0)
    p = problem(iris, loss=per_row)
    torch.testing.assert_close(p.evaluate(population).loss, reference.evaluate(population).loss)
    assert p.differentiable
    q = problem(iris, loss=over_all)
    with pytest.warns(SlowPathWarning):
        losses = q.evaluate(population).loss
    torch.testing.assert_close(losses, problem(iris, loss="classification_error").evaluate(population).loss)
    assert not q.differentiable


def test_what_has_no_gradient_says_which_part_and_what_to_do(iris):
    step = problem(iris, {**SPEC, "activation": "step"})
    with pytest.raises(NotDifferentiableError, match="Step is not differentiable"):
        step.evaluate(step.initial(1, 0), gradient=True)
    error = problem(iris, loss="classification_error")
    with pytest.raises(NotDifferentiableError, match="surrogate"):
        gfopt.minimize(error, "adam", budget={"steps": 1})
    assert gfopt.minimize(step, "deap-ga", budget={"evaluations": 600}).best_loss < 1.0


def test_starts_are_network_initializations_with_a_common_prefix(iris):
    p = problem(iris)
    assert p.initial(7, 2)[:3].equal(p.initial(3, 2))
    assert not p.initial(1, 2).equal(p.initial(1, 3))
    measured = p.initial(400, 0).std(0)
    torch.testing.assert_close(p.scale, measured, rtol=0.35, atol=0)
    single = problem(iris, dtype="float32")
    assert single.initial(3, 2).double().equal(p.initial(3, 2))  # the same starts in every precision


def test_sizes_come_from_data_and_loss(iris):
    assert problem(iris).out_features == 3
    assert problem("breast_cancer", loss="binary_cross_entropy").out_features == 1
    regression = problem("diabetes", loss="mse")
    assert regression.out_features == 1
    run = gfopt.minimize(regression, "adam", budget={"steps": 300}, learning_rate=0.02)
    assert run.scores["test_r2"] > 0.3
    assert 40 < run.scores["test_rmse"] < 65  # in the data's own units; the targets' deviation is 77


def test_images_and_users_modules_run(iris):
    rng = np.random.default_rng(0)
    images = gfopt.data.from_arrays(rng.normal(size=(90, 1, 6, 6)), np.arange(90) % 3)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    p = problem(images, lambda: copy.deepcopy(network), batch_size=30)
    assert p.evaluate(p.initial(5, 0)).loss.isfinite().all()
    assert p.score(p.initial(1, 0)[0])["accuracy"] >= 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 10_000}, ConfigError, "batch_size: expected between 1 and the 1.. training rows"),
        ({"batch_size": 0}, ConfigError, "batch_size"),
        (
            {"batch_size": 4, "network": {**SPEC, "norm": "batch"}},
            ConfigError,
            "at least 8 rows for batch normalization",
        ),
        ({"bn_mode": "refrence"}, ConfigError, "Did you mean 'reference'"),
        ({"loss": "mse"}, ConfigError, "cross_entropy"),
        ({"loss": "cros_entropy"}, ConfigError, "Did you mean 'cross_entropy'"),
        ({"network": nn.Linear(4, 5)}, NetworkError, r"outputs have shape \(B, 3\).*got `\(B, 5\)`"),
        ({"network": nn.Linear(7, 3)}, NetworkError, r"does not accept rows of shape \(4,\)"),
        ({"network": 3}, NetworkError, "an nn.Module, a factory"),
        ({"network": lambda: 3}, NetworkError, "a factory that returns an nn.Module"),
        ({"network": {**SPEC, "norm": "bath"}}, NetworkError, "Did you mean 'batch'"),
        ({"network": {**SPEC, "hidden": [1], "norm": "layer"}}, NetworkError, "at least 2 units"),
        ({"sample_weight": [1.0, 2.0]}, ConfigError, "one per training row"),
        ({"dtype": "float16"}, ConfigError, "float32 or float64"),
        ({"device": "tpu"}, ConfigError, "auto, cpu or cuda"),
        ({"objective": {"losss": "mse"}}, ConfigError, "the keys loss and surrogate"),
        ({"trainable": "haed.*"}, gfopt.GfoptError, "layers"),
    ],
)
def test_what_does_not_fit_is_said_with_the_fix(iris, options, error, message):
    given = dict(options)
    with pytest.raises(error, match=message):
        problem(iris, given.pop("network", SPEC), **given)


def test_a_population_of_another_shape_is_refused(iris):
    p = problem(iris)
    with pytest.raises(ShapeError, match=rf"expected shape \(P, {p.dim}\), got \(3, 5\)"):
        p.evaluate(torch.zeros(3, 5))


@pytest.mark.parametrize(
    ("options", "judge"),
    [
        ({}, "task"),
        ({"loss": "classification_error"}, "task"),
        ({"objective": {"loss": "f1_error", "surrogate": "cross_entropy"}}, "loss"),
        ({"loss": {"kind": "cost_matrix", "matrix": [[0, 1, 5], [1, 0, 1], [1, 1, 0]]}}, "loss"),
    ],
)
def test_a_loss_of_the_studys_own_choice_is_what_counts(iris, options, judge):
    p = problem(iris, **options)
    assert p.judged_by == judge
    assert gfopt.SubspaceProblem(p, 3).judged_by == judge


def test_sorted_batches_go_class_by_class():
    problem = gfopt.SupervisedProblem({"kind": "mlp"}, "iris", batch_size=16, batch_order="sorted")
    y = problem.dataset.y_train
    seen = [y[problem._rows(step, seed).numpy()] for seed in (0, 1) for step in range(len(y) // 16)]
    assert (np.diff(np.concatenate(seen[: len(y) // 16])) >= 0).all()
    assert len(set(seen[0])) == 1
    assert all((a == b).all() for a, b in zip(seen[: len(y) // 16], seen[len(y) // 16 :], strict=True))
    with pytest.raises(ConfigError, match=r"batch_order: expected one of shuffled, sorted"):
        gfopt.SupervisedProblem({"kind": "mlp"}, "iris", batch_order="by-class")
