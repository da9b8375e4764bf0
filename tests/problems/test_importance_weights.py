"""Importance weights in the loss of a problem: the same for every optimizer, and said in a study file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gfopt.config import from_mapping
from gfopt.data import Dataset, ImportanceOptions, batch_rows, effective_sample_size, importance_weights, load_dataset
from gfopt.errors import ConfigError
from gfopt.problems import SubspaceProblem, SupervisedProblem
from gfopt.store import ResultsFolder
from gfopt.study.build import build_problem
from gfopt.study.execute import execute
from gfopt.study.prepare import prepare

LINE = {"kind": "mlp", "hidden": []}


@pytest.fixture(scope="module")
def data():
    return load_dataset("sinc_shift", samples=200, draw=2)


def problem(data, **options):
    return SupervisedProblem(LINE, data, loss="mse", dtype="float64", device="cpu", **options)


def residuals(made, population, part):
    x, y = (torch.from_numpy(np.array(a)) for a in made.dataset.split(part))
    return torch.stack([(made.module(row)(x).squeeze(-1) - y) ** 2 for row in population]).detach()


@pytest.mark.parametrize("weights", ["true", "ulsif"])
def test_the_loss_is_the_weighted_mean(data, weights):
    made = problem(data, importance={"weights": weights, "flattening": 0.7})
    population = made.initial(3, 0)
    ratio = torch.from_numpy(importance_weights(data, ImportanceOptions(weights=weights, flattening=0.7)).train)
    expected = (residuals(made, population, "train") * ratio).mean(-1)
    for evaluation in (made.evaluate(population), made.evaluate(population, gradient=True), made.probe(population)):
        torch.testing.assert_close(evaluation.loss, expected, rtol=1e-5, atol=1e-9)


def test_the_gradient_is_that_of_the_weighted_loss(data):
    made = problem(data, importance={"weights": "true"})
    start, step = made.initial(1, 0), 1e-6 * torch.eye(made.dim, dtype=torch.float64)
    slope = (made.evaluate(start + step).loss - made.evaluate(start - step).loss) / 2e-6
    torch.testing.assert_close(made.evaluate(start, gradient=True).gradient[0], slope, rtol=1e-5, atol=1e-6)


def test_the_minimum_is_weighted_least_squares(data):
    made = problem(data, importance={"weights": "true"})
    root = np.sqrt(data.importance)
    design = np.column_stack([data.x_train[:, 0], np.ones(len(root))])
    line = np.linalg.lstsq(design * root[:, None], data.y_train * root, rcond=None)[0]
    gradient = made.evaluate(torch.from_numpy(line).reshape(1, -1), gradient=True).gradient
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-4)


def test_a_minibatch_takes_the_weights_of_its_rows(data):
    made = problem(data, importance={"weights": "true"}, batch_size=30)
    population = made.initial(2, 0)
    rows = np.array(batch_rows(len(data.x_train), 30, 7, 3))
    ratio = torch.from_numpy(data.importance[rows])
    expected = (residuals(made, population, "train")[:, rows] * ratio).sum(-1) / ratio.sum()
    torch.testing.assert_close(made.evaluate(population, 3, seed=7).loss, expected, rtol=1e-4, atol=1e-9)


def test_a_minibatch_of_rows_without_weight_has_a_loss():
    data = load_dataset("sinc_shift", samples=200, draw=2)
    fields = {name: getattr(data, name) for name in data.__dataclass_fields__}
    ratio = np.zeros(180)
    ratio[:20] = 1.0
    made = problem(Dataset(**{**fields, "importance": ratio}), importance={"weights": "true"}, batch_size=10)
    losses = torch.stack([made.evaluate(made.initial(2, 0), step).loss for step in range(18)])
    assert torch.isfinite(losses).all()


def test_the_validation_loss_is_weighted_and_the_test_loss_is_not(data):
    made, plain = problem(data, importance={"weights": "true"}), problem(data)
    vector = made.initial(1, 0)
    ratio = torch.from_numpy(np.array(data.importance_validation))
    each = residuals(made, vector, "validation")[0]
    assert made.score(vector[0], "validation")["loss"] == pytest.approx(
        float((each * ratio).sum() / ratio.sum()), rel=1e-4
    )
    assert plain.score(vector[0], "validation")["loss"] == pytest.approx(float(each.mean()))
    assert made.score(vector[0], "test") == plain.score(vector[0], "test")
    assert made.score(vector[0], "validation")["rmse"] == plain.score(vector[0], "validation")["rmse"]


def test_the_weighted_validation_loss_estimates_the_test_loss():
    """Importance-weighted validation (Sugiyama, Krauledat & Müller 2007); without weights it misses by far."""
    data = load_dataset("sinc_shift", samples=8000, test_samples=4000, validation_fraction=0.5)
    losses = {}
    for weights in ("none", "true"):
        made = problem(data, importance={"weights": weights})
        vector = torch.tensor([-0.8, 0.1], dtype=torch.float64)
        losses[weights] = made.score(vector, "validation")["loss"]
        test = made.score(vector, "test")["loss"]
    assert losses["true"] == pytest.approx(test, rel=0.1)
    assert losses["none"] < test / 4


def test_they_multiply_the_users_own_weights(data):
    own = np.linspace(0.1, 2, len(data.x_train))
    made = problem(data, importance={"weights": "true"}, sample_weight=own)
    both = problem(data, sample_weight=own * data.importance)
    population = made.initial(3, 0)
    torch.testing.assert_close(made.evaluate(population).loss, both.evaluate(population).loss, rtol=1e-5, atol=1e-9)
    assert made.effective_sample_size == pytest.approx(effective_sample_size(own * data.importance), rel=1e-4)


def test_the_effective_sample_size_is_there_where_weights_are(data):
    assert problem(data).effective_sample_size is None
    assert problem(data, importance={"weights": "none"}).effective_sample_size is None
    assert problem(data, importance={"weights": "true", "flattening": 0}).effective_sample_size == pytest.approx(180)
    size = problem(data, importance={"weights": "true"}).effective_sample_size
    assert size == pytest.approx(effective_sample_size(data.importance), rel=1e-4)


def test_a_problem_refuses_what_it_cannot_weigh(data):
    with pytest.raises(ConfigError, match="importance: weights: expected one of"):
        problem(data, importance={"weights": "best"})
    with pytest.raises(ConfigError, match="importance: weights: expected a data set with a true density ratio"):
        SupervisedProblem(LINE, "iris", importance={"weights": "true"})


class TestInAStudy:
    STUDY = {
        "name": "weighted",
        "repeats": 1,
        "budget": {"evaluations": 16},
        "problems": {
            "line": {
                "dataset": {"name": "sinc_shift", "samples": 200, "draw": 2},
                "network": LINE,
                "loss": "mse",
                "importance": {"weights": {"grid": ["none", True, "ulsif"]}, "flattening": 0.9},
            }
        },
        "optimizers": {"ga": {"kind": "deap-ga", "population": 8}},
    }

    def edited(self, **changes):
        line = {**self.STUDY["problems"]["line"], **changes}
        return {**self.STUDY, "problems": {"line": line}}

    def test_each_value_may_be_a_grid(self):
        cells = from_mapping(self.STUDY).problem_cells
        assert [cell.config.importance for cell in cells] == [
            {"weights": weights, "flattening": 0.9} for weights in ("none", "true", "ulsif")
        ]
        built = [
            build_problem(cell, load_dataset("sinc_shift", samples=200, draw=2), dtype="float32", device="cpu")
            for cell in cells
        ]
        assert [one.effective_sample_size is None for one in built] == [True, False, False]

    def test_the_table_of_runs_has_the_effective_sample_size(self, tmp_path):
        line = self.STUDY["problems"]["line"]
        problems = {"line": line, "seen": {**line, "importance": {"weights": True}, "subspace": {"dim": 1}}}
        prepared = prepare(from_mapping({**self.STUDY, "problems": problems}), "cpu")
        folder = ResultsFolder.create(tmp_path / "results", {}, {})
        for spec in prepared.specs:
            execute(spec, prepared.datasets[spec.problem.label], folder.path, 1)
        folder.collect([spec.key for spec in prepared.specs])
        runs = folder.read_frames()[0]
        assert set(runs["status"]) == {"ok"}
        weights = runs["importance.weights"].fillna("true")
        sizes = dict(zip(zip(runs["problem"], weights, strict=True), runs["effective_sample_size"], strict=True))
        assert np.isnan(sizes["line", "none"])
        assert 9 < sizes["line", "true"] < 20
        assert sizes["seen", "true"] < sizes["line", "true"]  # no flattening there

    @pytest.mark.parametrize(
        ("importance", "message"),
        [
            ({"weights": "usif"}, r"problems\.line\.importance\.weights: expected one of.*Did you mean 'ulsif'"),
            ({"weight": "ulsif"}, r"importance\.weight: expected a known key.*Did you mean 'weights'"),
            ({"weights": "ulsif", "flattening": -1}, r"importance\.flattening: expected at least 0"),
            (3, r"importance: expected a mapping"),
        ],
        ids=str,
    )
    def test_mistakes_are_named_by_their_place(self, importance, message):
        with pytest.raises(ConfigError, match=message):
            from_mapping(self.edited(importance=importance))

    @pytest.mark.parametrize(
        ("shift", "message"),
        [
            ({"kind": "biased"}, r"dataset\.shift\.kind: expected one of"),
            ({"kind": "corruption", "severity": 2}, r"dataset\.shift\.severity: expected at most 1"),
            ({"kind": "corruption", "group": 1}, r"dataset\.shift.*group: expected no such option for corruption"),
            ({"kind": "corruption", "severty": 1}, r"dataset\.shift\.severty: expected a known key.*severity"),
        ],
        ids=str,
    )
    def test_so_are_those_in_a_shift(self, shift, message):
        with pytest.raises(ConfigError, match=message):
            from_mapping(self.edited(dataset={"name": "iris", "shift": shift}))


def test_a_subspace_sees_the_weighted_loss(data):
    inner = problem(data, importance={"weights": "true"})
    outer = SubspaceProblem(inner, 1)
    point = outer.initial(2, 0)
    torch.testing.assert_close(outer.evaluate(point).loss, inner.evaluate(outer.expand(point)).loss)
