"""The regressor for scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from gfopt.callbacks import Callback
from gfopt.errors import DataError, expectation
from gfopt.estimators.base import GradientFreeEstimator, checked_weight
from gfopt.estimators.module import ScaledNetwork
from gfopt.estimators.rows import Rows
from gfopt.trace import Budget


class GradientFreeRegressor(RegressorMixin, GradientFreeEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A multilayer perceptron regressor that is trained without gradients.

    Inputs and targets are standardized. Any optimizer of gfopt trains it, backprop among them.

    Args:
        optimizer: a name of `gfopt list optimizers`.
        hidden: widths of the hidden layers; `()` makes a linear model.
        activation: behind each hidden layer.
        norm: of each hidden layer, as `batch`, or a mapping with its options.
        loss: a name of `gfopt list losses`, a mapping with its options, or a callable `(outputs, targets)`; on
            standardized targets.
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
        module_: the network as a `torch.nn.Module`, from inputs `(N, F)` to predictions `(N, K)`, both in their own
            units.
        history_: the last fit's curve: one row a logged point, with the cost, the loss and the validation scores.
        loss_: the fitted network's training loss, on standardized targets.
        n_iter_: generations (or gradient steps) of the last fit.
        stop_reason_: why the last fit ended: `budget`, `callback`, `self_stopped`, `stalled` or `diverged`.
        n_features_in_: columns of `X`.
        feature_names_in_: their names, where `X` had names that are all text.

    Example:
        >>> import gfopt
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = gfopt.GradientFreeRegressor(random_state=0).fit(X, y)
        >>> bool(model.score(X, y) > 0.5)
        True
    """

    def __init__(
        self,
        optimizer: str = "snes",
        hidden: Sequence[int] = (16,),
        activation: str = "tanh",
        norm: str | Mapping[str, Any] = "none",
        loss: Any = "mse",
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

    def fit(self, X: object, y: object, sample_weight: object = None) -> GradientFreeRegressor:
        """Train on `(N, F)` rows and their targets.

        Args:
            X: finite numbers.
            y: `(N,)` finite numbers, or `(N, K)` for `K` targets.
            sample_weight: `(N,)` weights of the rows in the loss and in the standardization.

        Raises:
            ConfigError, NetworkError, DataError, NotDifferentiableError: before anything starts; all but the last are
                `ValueError`s.
        """
        return self._go_on(X, y, sample_weight, self._network() if self.warm_start else None)

    def partial_fit(self, X: object, y: object, sample_weight: object = None) -> GradientFreeRegressor:
        """Spend a further budget on the rows given, from the fitted network as it is.

        The standardization stays that of the first call. What earlier rows have taught is forgotten as far as it does
        not help with these: give all that still matters.

        Args:
            X: `(N, F)` finite numbers.
            y: `(N,)` or `(N, K)` finite numbers, as in the first call.
            sample_weight: `(N,)` weights of the rows.

        Raises:
            DataError: for another number of targets, and as `fit`.
        """
        return self._go_on(X, y, sample_weight, self._network())

    def _go_on(self, X: object, y: object, sample_weight: object, start: ScaledNetwork | None) -> GradientFreeRegressor:
        x, values = validate_data(self, X, y, dtype=np.float64, reset=start is None, multi_output=True, y_numeric=True)
        if values.ndim == 2 and values.shape[1] == 1:
            values = column_or_1d(values, warn=True)
        if start is not None and values.shape[1:] != start.target_mean.shape:
            raise DataError("y: " + expectation(f"rows of shape {tuple(start.target_mean.shape)}", values.shape[1:]))
        self._train(Rows("regression", x, values.astype(np.float64), checked_weight(sample_weight, x)), start)
        return self

    def predict(self, X: object) -> np.ndarray:
        """`(N,)` predictions, or `(N, K)` after a fit to `K` targets, in the targets' own units."""
        outputs: np.ndarray = self._outputs(X).numpy()
        return outputs[:, 0] if self.module_.target_mean.ndim == 0 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
