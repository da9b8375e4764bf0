"""How much denser test inputs are than training inputs at a point, estimated from the two samples alone.

Each estimator returns a function of rows, so that one fit weighs training and validation rows alike. Nothing here
looks at a label. Rows are standardized by the mean and deviation of both samples together, because kernels and the
ridge of a classifier depend on units.

References:
    Sugiyama, Suzuki & Kanamori 2012, Density Ratio Estimation in Machine Learning.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfopt import rng

Rows = NDArray[np.float64]
Ratio = Callable[[Rows], Rows]  # (N, F) rows to (N,) ratios, not negative

CENTERS = 100  # kernels; Sugiyama et al. 2008 and Kanamori et al. 2009 take as many
WIDTHS = np.logspace(-1.0, 0.5, 10)  # kernel widths to choose from, in units of the median distance
RIDGES = np.logspace(-3.0, 1.0, 9)  # lambda of uLSIF to choose from
INVERSE_PENALTIES = np.logspace(-3.0, 2.0, 6)  # C of the classifier to choose from
FOLDS = 5
FEW_FEATURES = 10  # up to here the classifier also sees squares and products: the log ratio of two normals has them
MEDIAN_ROWS = 500  # rows that the median distance is taken over
EM_STEPS = 2000
EM_GAP = 1e-3  # log-likelihood that the maximum may lie above what KLIEP stops at
ROUGH_GAP = 1e-2  # the same while widths are compared, which differ by far more


@dataclass(frozen=True, eq=False)
class KernelRatio:
    """`w(x) = sum_l alpha_l exp(-|x - c_l|^2 / (2 sigma^2))`.

    Attributes:
        centers: `(L, F)` test rows `c`.
        width: `sigma`.
        coefficients: `(L,)` `alpha`, not negative.
    """

    centers: Rows = field(repr=False)
    width: float
    coefficients: Rows = field(repr=False)

    def __call__(self, x: Rows) -> Rows:
        """`(N,)` ratios of `(N, F)` rows."""
        return kernels(x, self.centers, self.width) @ self.coefficients


def fit_classifier(x_train: Rows, x_test: Rows) -> Ratio:
    """The ratio from a probabilistic classifier: `w(x) = (N / M) P(test | x) / P(train | x)`.

    A logistic regression between the two samples, on the features and, where they are few, their squares and
    products; its ridge is chosen by 5-fold cross-validated log-likelihood.

    Args:
        x_train: `(N, F)` training inputs.
        x_test: `(M, F)` unlabelled test inputs.

    References:
        Bickel, Brückner & Scheffer 2009, Discriminative learning under covariate shift, JMLR 10.
    """
    with rng.undisturbed():
        sklearn = {
            name: importlib.import_module(f"sklearn.{name}")
            for name in ("exceptions", "linear_model", "model_selection", "pipeline", "preprocessing")
        }
    steps = [sklearn["preprocessing"].StandardScaler(), sklearn["linear_model"].LogisticRegression(max_iter=1000)]
    if x_train.shape[1] <= FEW_FEATURES:
        steps.insert(0, sklearn["preprocessing"].PolynomialFeatures(2, include_bias=False))
    x = np.concatenate([x_train, x_test])
    label = np.repeat([0, 1], [len(x_train), len(x_test)])
    folds = min(FOLDS, len(x_train), len(x_test))
    search = sklearn["model_selection"].GridSearchCV(
        sklearn["pipeline"].make_pipeline(*steps),
        {"logisticregression__C": INVERSE_PENALTIES},
        scoring="neg_log_loss",
        cv=sklearn["model_selection"].StratifiedKFold(folds, shuffle=True, random_state=0),
    )
    with warnings.catch_warnings():
        # A fit that is cut short is a little more regularized, and cross-validation judges it as it is.
        warnings.simplefilter("ignore", sklearn["exceptions"].ConvergenceWarning)
        model: Any = search.fit(x, label).best_estimator_
    return lambda rows: len(x_train) / len(x_test) * np.exp(model.decision_function(rows))


def fit_kliep(x_train: Rows, x_test: Rows) -> KernelRatio:
    """The ratio that gives the test rows the greatest likelihood (Kullback-Leibler importance estimation).

    Maximizes the mean of `log w(x_test)` subject to `mean w(x_train) = 1` and `alpha >= 0`. The width is chosen by
    5-fold likelihood cross-validation. The paper leaves out test rows alone; here training rows are left out with
    them, and the held-out likelihood is that of `w / mean w(x_train)` over those. Otherwise narrow kernels between the
    training rows look likely: they are tall where the constraint does not see them.

    Args:
        x_train: `(N, F)` training inputs.
        x_test: `(M, F)` unlabelled test inputs.

    References:
        Sugiyama, Suzuki, Nakajima, Kashima, von Bünau & Kawanabe 2008, Direct importance estimation for
        covariate shift adaptation, Annals of the Institute of Statistical Mathematics 60.
    """
    centers, unit = _centers(x_test), _median_distance(x_train, x_test)
    folds = min(FOLDS, len(x_train), len(x_test))
    fold_train, fold_test = np.arange(len(x_train)) % folds, np.arange(len(x_test)) % folds
    tiny = np.finfo(float).tiny

    def likelihood(width: float) -> float:
        at_train, at_test = kernels(x_train, centers, width), kernels(x_test, centers, width)
        held_out = []
        for one in range(folds):
            mean = at_train[fold_train != one].mean(axis=0)
            alpha = likeliest_coefficients(mean, at_test[fold_test != one], ROUGH_GAP)
            ratio, norm = at_test[fold_test == one] @ alpha, (at_train[fold_train == one] @ alpha).mean()
            held_out.append(np.log(np.maximum(ratio, tiny)).mean() - np.log(max(norm, tiny)))
        return float(np.mean(held_out))

    width = max((unit * WIDTHS).tolist(), key=likelihood)
    mean, at_test = kernels(x_train, centers, width).mean(axis=0), kernels(x_test, centers, width)
    return KernelRatio(centers, width, likeliest_coefficients(mean, at_test))


def likeliest_coefficients(mean: Rows, at_test: Rows, gap: float = EM_GAP) -> Rows:
    """`(L,)` coefficients `alpha >= 0` that maximize `mean log(at_test @ alpha)` subject to `mean @ alpha = 1`.

    With `beta_l = mean_l alpha_l` these are the proportions of a mixture, so the EM step
    `beta_l <- beta_l mean_j (K_jl / (mean_l w_j))` raises the likelihood and keeps the constraint in every step; the
    paper's projected gradient climbs the same concave function. The largest of those factors, less 1, bounds what is
    still missing to the maximum.

    Args:
        mean: `(L,)` means of the kernels over the training rows.
        at_test: `(M, L)` kernels at the test rows.
        gap: mean log-likelihood that may be missing to the maximum.
    """
    # A kernel without training rows under it could be raised without end; it says nothing about their weights.
    used = mean > 1e-3 * mean.max()
    scaled = at_test[:, used] / mean[used]
    beta = np.full(scaled.shape[1], 1 / scaled.shape[1])
    tiny = np.finfo(float).tiny
    for _ in range(EM_STEPS):
        factor = (scaled / np.maximum(scaled @ beta, tiny)[:, None]).mean(axis=0)
        if factor.max() <= 1 + gap:
            break
        beta *= factor
    alpha = np.zeros(len(mean))
    alpha[used] = beta / beta.sum() / mean[used]
    return alpha


def fit_ulsif(x_train: Rows, x_test: Rows) -> KernelRatio:
    """The ratio with the least squared error (unconstrained least-squares importance fitting), in closed form.

    `alpha = max(0, (H + lambda I)^-1 h)` with `H = mean k(x_train) k(x_train)^T` and `h = mean k(x_test)`; width
    and `lambda` by leave-one-out cross-validation, which has a closed form as well.

    Args:
        x_train: `(N, F)` training inputs.
        x_test: `(M, F)` unlabelled test inputs.

    References:
        Kanamori, Hido & Sugiyama 2009, A least-squares approach to direct importance estimation, JMLR 10,
        eq. 12 and figure 2.
    """
    centers, unit = _centers(x_test), _median_distance(x_train, x_test)

    def errors() -> Iterator[tuple[float, float, float]]:
        for width in (unit * WIDTHS).tolist():
            at_train, at_test = kernels(x_train, centers, width), kernels(x_test, centers, width)
            for ridge in RIDGES.tolist():
                yield leave_one_out(at_train, at_test, ridge), width, ridge

    _, width, ridge = min(errors())
    at_train, at_test = kernels(x_train, centers, width), kernels(x_test, centers, width)
    return KernelRatio(centers, width, least_squares_coefficients(at_train, at_test, ridge))


def least_squares_coefficients(at_train: Rows, at_test: Rows, ridge: float) -> Rows:
    """`(L,)` coefficients of uLSIF, negative ones cut at 0, from kernels `(N, L)` and `(M, L)`."""
    gram = at_train.T @ at_train / len(at_train)  # H
    solved: Rows = np.linalg.solve(gram + ridge * np.eye(len(gram)), at_test.mean(axis=0))
    return np.maximum(solved, 0)


def leave_one_out(at_train: Rows, at_test: Rows, ridge: float) -> float:
    """The mean of `w(x_train_i)^2 / 2 - w(x_test_i)` over pairs of rows that the fit of `w` leaves out.

    As many pairs as the smaller sample has rows. Without a training row, `H` loses a term of rank one, so that the
    inverse follows from that of the whole (Sherman & Morrison).

    Args:
        at_train: `(N, L)` kernels at the training rows.
        at_test: `(M, L)` kernels at the test rows.
        ridge: `lambda`.
    """
    n, m, pairs = len(at_train), len(at_test), min(len(at_train), len(at_test))
    if pairs < 2:
        return 0.0
    left, right = at_train[:pairs], at_test[:pairs]
    # H - k k^T / n, scaled by n / (n - 1), is the H without row i; lambda is scaled back alike.
    base = at_train.T @ at_train / n + ridge * (n - 1) / n * np.eye(at_train.shape[1])
    whole = np.linalg.solve(base, np.concatenate([at_test.sum(axis=0)[:, None], right.T, left.T], axis=1))
    h, without, own = whole[:, :1], whole[:, 1 : pairs + 1], whole[:, pairs + 1 :]
    target = (h - without) / (m - 1)  # base^-1 times the h without test row i, a column for each i
    lost = n - (left.T * own).sum(axis=0)
    alpha = (n - 1) / n * (target + own * ((left.T * target).sum(axis=0) / lost))
    alpha = np.maximum(alpha, 0)
    train, test = (left.T * alpha).sum(axis=0), (right.T * alpha).sum(axis=0)
    return float((train**2).mean() / 2 - test.mean())


def kernels(x: Rows, centers: Rows, width: float) -> Rows:
    """`(N, L)` values `exp(-|x - c|^2 / (2 width^2))`."""
    return np.exp(-_squared_distances(x, centers) / (2 * width**2))


def standardized(x_train: Rows, x_test: Rows) -> Callable[[Rows], Rows]:
    """The map of rows `(N, ...)` to `(N, F)` with mean 0 and deviation 1 over both samples together."""
    both = np.concatenate([x_train, x_test]).reshape(len(x_train) + len(x_test), -1)
    mean, scale = both.mean(axis=0), both.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return lambda x: (x.reshape(len(x), len(mean)) - mean) / scale


def _centers(x_test: Rows) -> Rows:
    chosen = rng.generator("importance", "centers").permutation(len(x_test))[:CENTERS]
    return x_test[np.sort(chosen)]


def _median_distance(x_train: Rows, x_test: Rows) -> float:
    both = np.concatenate([x_train, x_test])
    some = both[rng.generator("importance", "median").permutation(len(both))[:MEDIAN_ROWS]]
    distances = np.sqrt(_squared_distances(some, some)[np.triu_indices(len(some), 1)])
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def _squared_distances(x: Rows, centers: Rows) -> Rows:
    squares = (x**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2 * x @ centers.T
    distances: Rows = np.maximum(squares, 0)
    return distances
