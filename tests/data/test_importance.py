"""Density ratios against the true ones and against independent computations; the weights made of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize

from gfopt.data import (
    ImportanceOptions,
    ImportanceWarning,
    effective_sample_size,
    from_arrays,
    importance_options,
    importance_weights,
    load_dataset,
)
from gfopt.data.density_ratio import (
    fit_classifier,
    fit_kliep,
    fit_ulsif,
    kernels,
    least_squares_coefficients,
    leave_one_out,
    likeliest_coefficients,
)
from gfopt.errors import ConfigError, DataError, GfoptError

ESTIMATORS = {"classifier": fit_classifier, "kliep": fit_kliep, "ulsif": fit_ulsif}


def normal(x: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / deviation


def toy(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training inputs ~ N(1, 0.5²), test inputs ~ N(2, 0.25²), true ratios of the former."""
    generator = np.random.default_rng(seed)
    x, x_test = generator.normal(1, 0.5, (rows, 1)), generator.normal(2, 0.25, (rows, 1))
    return x, x_test, normal(x[:, 0], 2, 0.25) / normal(x[:, 0], 1, 0.5)


@pytest.fixture(scope="module")
def random_kernels() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    x, x_test = generator.normal(0, 1, (40, 2)), generator.normal(0.5, 0.8, (25, 2))
    return kernels(x, x_test[:12], 0.7), kernels(x_test, x_test[:12], 0.7)


class TestEstimators:
    @pytest.mark.parametrize("method", ESTIMATORS)
    def test_it_finds_the_true_ratio(self, method):
        """CS-4: correlation above 0.9 on the toy."""
        x, x_test, ratio = toy(0, 400)
        estimate = ESTIMATORS[method](x, x_test)(x)
        assert np.corrcoef(estimate, ratio)[0, 1] > 0.9
        assert estimate.min() >= 0
        assert estimate.mean() == pytest.approx(1, abs=0.3)

    @pytest.mark.parametrize("method", ESTIMATORS)
    def test_without_a_shift_the_ratio_is_about_1(self, method):
        generator = np.random.default_rng(2)
        x, x_test = generator.normal(size=(200, 2)), generator.normal(size=(200, 2))
        estimate = ESTIMATORS[method](x, x_test)(x)
        assert effective_sample_size(estimate) > 0.8 * 200

    @pytest.mark.parametrize("method", ESTIMATORS)
    def test_it_is_a_function_of_the_rows(self, method):
        x, x_test, _ = toy(3, 100)
        estimate, again = (ESTIMATORS[method](x, x_test) for _ in range(2))
        np.testing.assert_array_equal(estimate(x), again(x))
        np.testing.assert_allclose(estimate(x[:7]), estimate(x)[:7])

    def test_the_classifiers_odds_are_those_of_two_normals(self):
        """Logistic regression on `x` and `x^2` contains the ratio of two normals."""
        x, x_test, ratio = toy(1, 2000)
        estimate = fit_classifier(x, x_test[:1000])(x)
        assert np.corrcoef(np.log(estimate), np.log(ratio))[0, 1] > 0.999
        assert np.median(np.abs(np.log(estimate / ratio))) < 0.5


class TestKliep:
    def test_the_mean_over_training_rows_is_1(self):
        x, x_test, _ = toy(4, 120)
        assert fit_kliep(x, x_test)(x).mean() == pytest.approx(1, abs=1e-12)

    def test_no_other_coefficients_are_likelier(self, random_kernels):
        """The same concave problem, solved by a general method over log beta."""
        at_train, at_test = random_kernels
        mean = at_train.mean(axis=0)
        alpha = likeliest_coefficients(mean, at_test)

        def loss(logits):
            beta = np.exp(logits - logits.max())
            return -np.log(at_test @ (beta / beta.sum() / mean)).mean()

        best = min(
            minimize(loss, start, method="L-BFGS-B").fun for start in np.random.default_rng(0).normal(size=(3, 12))
        )
        assert mean @ alpha == pytest.approx(1, abs=1e-12)
        assert (alpha >= 0).all()
        assert best - 1e-6 <= -np.log(at_test @ alpha).mean() <= best + 1e-3


class TestUlsif:
    def test_the_coefficients_solve_the_normal_equations(self, random_kernels):
        """Least squares with a ridge, as one stacked system, negative parts cut at 0."""
        at_train, at_test = random_kernels
        for ridge in (0.01, 1.0):
            loops = sum(np.outer(row, row) for row in at_train) / len(at_train) + ridge * np.eye(12)
            solution = np.linalg.lstsq(loops, at_test.mean(axis=0), rcond=None)[0]
            np.testing.assert_allclose(
                least_squares_coefficients(at_train, at_test, ridge), np.clip(solution, 0, None), rtol=1e-8
            )
            assert (solution < 0).any() == (ridge == 0.01)

    @pytest.mark.parametrize("swap", [False, True])
    def test_leave_one_out_is_what_leaving_each_pair_out_gives(self, random_kernels, swap):
        at_train, at_test = random_kernels[::-1] if swap else random_kernels
        for ridge in (0.01, 0.3):
            errors = []
            for row in range(min(len(at_train), len(at_test))):
                train, test = np.delete(at_train, row, axis=0), np.delete(at_test, row, axis=0)
                alpha = least_squares_coefficients(train, test, ridge)
                errors.append((at_train[row] @ alpha) ** 2 / 2 - at_test[row] @ alpha)
            assert leave_one_out(at_train, at_test, ridge) == pytest.approx(np.mean(errors), rel=1e-10)


class TestWeights:
    @pytest.mark.parametrize("method", ["true", *ESTIMATORS])
    @pytest.mark.parametrize("flattening", [1.0, 0.5])
    def test_they_have_mean_1_and_weigh_validation_rows_alike(self, method, flattening):
        data = load_dataset("sinc_shift", samples=200, draw=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportanceWarning)
            weights = importance_weights(data, ImportanceOptions(weights=method, flattening=flattening))
        assert weights.train.mean() == pytest.approx(1)
        assert weights.validation.shape == (20,)
        assert weights.effective_sample_size == pytest.approx(weights.train.sum() ** 2 / (weights.train**2).sum())
        train, x = np.argsort(data.x_train[:, 0]), data.x_validation[:, 0]
        between = np.interp(x, data.x_train[train, 0], weights.train[train])
        np.testing.assert_allclose(weights.validation, between, atol=0.15 * weights.train.max())

    def test_flattening_goes_from_equal_weights_to_the_ratio(self):
        data = load_dataset("sinc_shift")
        sizes = [
            importance_weights(data, ImportanceOptions(weights="true", flattening=f)).effective_sample_size
            for f in (0.0, 0.3, 0.7, 1.0)
        ]
        assert sizes[0] == pytest.approx(135)
        assert sizes == sorted(sizes, reverse=True)
        root = importance_weights(data, ImportanceOptions(weights="true", flattening=0.5)).train
        np.testing.assert_allclose(root, np.sqrt(data.importance) / np.sqrt(data.importance).mean())

    def test_none_are_none(self):
        assert importance_weights(load_dataset("iris"), ImportanceOptions(weights="none")) is None
        assert importance_options(None) is None

    @pytest.mark.parametrize("method", ESTIMATORS)
    def test_labels_and_units_play_no_part(self, method):
        generator = np.random.default_rng(0)
        x = np.concatenate([generator.normal(0, 1, (60, 2)), generator.normal(0.7, 1, (40, 2))])
        y = generator.normal(size=100)
        weights = [
            importance_weights(
                from_arrays(x[:60] * unit, labels[:60], 0, 0, test=(x[60:] * unit, labels[60:]), scale=False),
                ImportanceOptions(weights=method),
            ).train
            for unit, labels in ((1.0, y), (1.0, -y), (1000.0, y))
        ]
        np.testing.assert_array_equal(weights[0], weights[1])
        np.testing.assert_allclose(weights[0], weights[2], rtol=1e-6)

    def test_rows_of_any_rank(self):
        generator = np.random.default_rng(0)
        data = from_arrays(generator.normal(size=(90, 3, 2)), generator.normal(size=90))
        assert importance_weights(data, ImportanceOptions(weights="ulsif")).train.shape == (63,)

    def test_few_effective_rows_are_warned_about(self):
        data = load_dataset("sinc_shift", samples=200, draw=0)
        with pytest.warns(ImportanceWarning, match=r"6\.\d of 180 training rows.*flattening below 1"):
            importance_weights(data, ImportanceOptions(weights="classifier"))

    @pytest.mark.parametrize("method", ESTIMATORS)
    @pytest.mark.filterwarnings("ignore::gfopt.data.ImportanceWarning")
    def test_inputs_that_do_not_overlap_are_refused(self, method):
        generator = np.random.default_rng(0)
        x, y = generator.normal(0, 1, (150, 2)), generator.normal(size=150)
        data = from_arrays(x, y, 0, 0, test=(x + 12, y))
        with pytest.raises(DataError, match="importance: weights: expected training inputs where the test inputs are"):
            importance_weights(data, ImportanceOptions(weights=method))

    def test_what_is_not_there_is_refused_in_words(self):
        with pytest.raises(ConfigError, match=r"importance: weights: .*true density ratio.*classifier, kliep or ulsif"):
            importance_weights(load_dataset("iris"), ImportanceOptions(weights="true"))
        with pytest.raises(ConfigError, match="test_fraction above 0"):
            importance_weights(load_dataset("iris", test_fraction=0), ImportanceOptions(weights="kliep"))

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"weights": "klipe"}, "weights: expected one of"),
            ({"weights": False}, "weights: expected"),
            ({}, "weights: expected a value"),
            ({"weights": "true", "flattening": 2}, "flattening: expected a number of at most 1"),
            ({"weights": "true", "flattening": True}, "flattening: expected a number"),
            ({"weights": "true", "lambda": 1}, "lambda: expected a known option"),
            ("kliep", "expected a mapping"),
        ],
        ids=str,
    )
    def test_options_are_checked(self, given, message):
        with pytest.raises(GfoptError, match=f"importance: {message}"):
            importance_options(given)

    def test_yamls_true_is_a_name_here(self):
        assert importance_options({"weights": True}) == ImportanceOptions(weights="true", flattening=1.0)
        assert ImportanceOptions.model_validate({"weights": True}).weights == "true"


class TestTheToy:
    """CS-1 and CS-3, in closed form: weighted least squares on 200 samples of the toy."""

    @staticmethod
    def errors(truth, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """`(200, 3)` squared distances to the truth on test inputs, for flattening 0, 0.5 and 1; effective sizes."""
        errors, sizes = [], []
        for seed in range(200):
            generator = np.random.default_rng(seed)
            x, x_test = generator.normal(1, 0.5, 150), generator.normal(2, 0.25, 1000)
            y = truth(x) + generator.normal(0, 0.1, 150)
            ratio = normal(x, 2, 0.25) / normal(x, 1, 0.5)
            row = []
            for power in (0, 0.5, 1):
                # numpy weighs the residual, not its square.
                line = np.polyfit(x - 1, y, degree, w=np.sqrt(ratio**power))
                row.append(np.mean((np.polyval(line, x_test - 1) - truth(x_test)) ** 2))
            errors.append(row)
            sizes.append(effective_sample_size(ratio))
        return np.array(errors), np.array(sizes)

    def test_weights_mend_a_misspecified_model(self):
        errors, sizes = self.errors(np.sinc, 1)
        assert errors.mean(axis=0) == pytest.approx([0.302, 0.0032, 0.0034], rel=0.15)
        assert (errors[:, 2] < errors[:, 0]).all()
        assert sizes.mean() == pytest.approx(10.6, abs=1)

    def test_weights_only_add_variance_to_a_well_specified_one(self):
        errors, _ = self.errors(lambda x: x**3 - x, 3)
        assert errors[:, 2].mean() > 1.5 * errors[:, 0].mean()
