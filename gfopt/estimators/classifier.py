"""The classifier for scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from gfopt.callbacks import Callback
from gfopt.errors import DataError, expectation
from gfopt.estimators.base import GradientFreeEstimator, checked_weight
from gfopt.estimators.module import ScaledNetwork
from gfopt.estimators.rows import Rows
from gfopt.trace import Budget


class GradientFreeClassifier(ClassifierMixin, GradientFreeEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A multilayer perceptron classifier that is trained without gradients.

    Inputs are standardized. Any optimizer of gfopt trains it, backprop among them.

    Args:
        optimizer: a name of `gfopt list optimizers`.
        hidden: widths of the hidden layers; `()` makes a linear model.
        activation: behind each hidden layer.
        norm: of each hidden layer, as `batch`, or a mapping with its options.
        loss: a name of `gfopt list losses`, a mapping with its options, or a callable `(outputs, targets)`.
        budget: what one fit may cost: a number of evaluations (of one network on one batch), a mapping from units as
            `{"forward_equivalents": 1e6}`, or a `gfopt.Budget`.
        batch_size: rows per evaluation; `None` for all; `"auto"` for all up to 2048, else minibatches of 512.
        optimizer_options: the optimizer's own options, as `{"population": 128}`.
        validation_fraction: share of the rows to hold out. The fitted network is then the one with the lowest
            loss on them, of all logged points, in place of the one with the lowest training loss.
        patience: end the fit after as many evaluations without improvement (see `gfopt.callbacks.EarlyStopping`) of
            the loss on the held-out rows, or of the training loss if there are none; `None` for never.
        min_delta: the least that counts as an improvement.
        warm_start: `fit` goes on from the fitted network and its scaling.
        random_state: seed of everything that is random; `None` takes a fresh one from the operating system, and a
            `RandomState` gives one to each fit. numpy's and torch's global random numbers are never touched.
        device: `cpu`, `cuda`, or `auto`.
        callbacks: `gfopt.callbacks` to look on.
        verbose: show a line with the progress.

    Attributes:
        classes_: `(C,)` labels, sorted.
        module_: the network as a `torch.nn.Module`, from inputs `(N, F)` in their own units to logits `(N, C)`.
        history_: the last fit's curve: one row a logged point, with the cost, the loss and the validation scores.
        loss_: the fitted network's training loss.
        n_iter_: generations (or gradient steps) of the last fit.
        stop_reason_: why the last fit ended: `budget`, `callback`, `self_stopped`, `stalled` or `diverged`.
        n_features_in_: columns of `X`.
        feature_names_in_: their names, where `X` had names that are all text.

    Example:
        >>> import gfopt
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gfopt.GradientFreeClassifier(random_state=0).fit(X, y)
        >>> bool(model.score(X, y) > 0.9)
        True
    """

    def __init__(
        self,
        optimizer: str = "snes",
        hidden: Sequence[int] = (16,),
        activation: str = "tanh",
        norm: str | Mapping[str, Any] = "none",
        loss: Any = "cross_entropy",
        budget: float | Mapping[str, float] | Budget = 10_000,
        batch_size: int | str | None = "auto",
        optimizer_options: Mapping[str, Any] | None = None,
        validation_fraction: float = 0.0,
        patience: float | None = None,
        min_delta: float = 0.0,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
        callbacks: Sequence[Callback] = (),
        verbose: bool = False,
    ) -> None:
        self.optimizer = optimizer
        self.hidden = hidden
        self.activation = activation
        self.norm = norm
        self.loss = loss
        self.budget = budget
        self.batch_size = batch_size
        self.optimizer_options = optimizer_options
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.min_delta = min_delta
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X: object, y: object, sample_weight: object = None) -> GradientFreeClassifier:
        """Train on `(N, F)` rows and their `(N,)` labels.

        Args:
            X: finite numbers.
            y: labels: text, bools or whole numbers, of at least two classes.
            sample_weight: `(N,)` weights of the rows in the loss and in the standardization.

        Raises:
            ConfigError, NetworkError, DataError, NotDifferentiableError: before anything starts; all but the last are
                `ValueError`s.
        """
        start = self._network() if self.warm_start else None
        x, labels = validate_data(self, X, y, dtype=np.float64, reset=start is None)
        check_classification_targets(labels)
        classes = np.unique(labels)
        if start is None:
            self.classes_ = _at_least_two(classes)
        return self._go_on(x, labels, sample_weight, start)

    def partial_fit(
        self, X: object, y: object, classes: object = None, sample_weight: object = None
    ) -> GradientFreeClassifier:
        """Spend a further budget on the rows given, from the fitted network as it is.

        The standardization stays that of the first call. What earlier rows have taught is forgotten as far as it does
        not help with these: give all that still matters.

        Args:
            X: `(N, F)` finite numbers.
            y: `(N,)` labels.
            classes: all labels that will ever come; needed in the first call where `y` has not all of them.
            sample_weight: `(N,)` weights of the rows.

        Raises:
            DataError: for a label that is none of the classes, and as `fit`.
        """
        start = self._network()
        x, labels = validate_data(self, X, y, dtype=np.float64, reset=start is None)
        check_classification_targets(labels)
        if start is None:
            self.classes_ = _at_least_two(np.unique(labels if classes is None else np.asarray(classes)))
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise DataError("classes: " + expectation(f"those of the first call, {self.classes_.tolist()}", classes))
        return self._go_on(x, labels, sample_weight, start)

    def _go_on(
        self, x: np.ndarray, labels: np.ndarray, sample_weight: object, start: ScaledNetwork | None
    ) -> GradientFreeClassifier:
        strangers = np.setdiff1d(labels, self.classes_)
        if len(strangers):
            known = self.classes_.tolist()
            raise DataError("y: " + expectation(f"one of the classes {known}", strangers.tolist()[0]))
        indices = np.searchsorted(self.classes_, labels)
        weight = checked_weight(sample_weight, x)
        self._train(Rows("classification", x, indices, weight, tuple(self.classes_.tolist())), start)
        return self

    def predict_proba(self, X: object) -> np.ndarray:
        """`(N, C)` probabilities of the classes, in the order of `classes_`.

        They are the softmax of the logits (of one logit: its sigmoid); estimates of probabilities if the loss is a
        cross-entropy, and else no more than a ranking.
        """
        outputs = self._outputs(X)
        if outputs.shape[1] == 1 and len(self.classes_) == 2:
            second = outputs.sigmoid()
            return np.hstack([1.0 - second.numpy(), second.numpy()])
        found: np.ndarray = outputs.softmax(1).numpy()
        return found

    def predict(self, X: object) -> np.ndarray:
        """`(N,)` labels, each the most probable."""
        most_probable = self.predict_proba(X).argmax(1)  # says first that there is no fit, if there is none
        found: np.ndarray = self.classes_[most_probable]
        return found


def _at_least_two(classes: np.ndarray) -> np.ndarray:
    if len(classes) < 2:
        raise DataError("y: " + expectation("at least two classes", f"`1 class, {classes.tolist()}`"))
    return classes
