"""What the classifier and the regressor share: from checked rows to a problem, a run and a network."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from gfopt.callbacks import Callback, EarlyStopping, Observation, ProgressBar
from gfopt.estimators.module import ScaledNetwork
from gfopt.estimators.rows import Rows
from gfopt.estimators.settings import batch_size_of, budget_of, options_of, seed_of
from gfopt.problems import SupervisedProblem
from gfopt.run import Run, minimize
from gfopt.trace import Status


class GradientFreeEstimator(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A multilayer perceptron, trained by one of gfopt's optimizers; the base of the two estimators."""

    def _train(self, rows: Rows, start: ScaledNetwork | None) -> None:
        """Train on checked rows, from `start` if there is one, and set the fitted attributes."""
        rows, seed = rows.distinct(), seed_of(self.random_state)
        inputs = rows.input_scaling() if start is None else start.input_scaling
        targets = rows.target_scaling() if start is None else start.target_scaling
        dataset, weight = rows.dataset(inputs, targets, self.validation_fraction, seed)
        problem = SupervisedProblem(
            {"kind": "mlp", "hidden": self.hidden, "activation": self.activation, "norm": self.norm},
            dataset,
            loss=self.loss,
            batch_size=batch_size_of(self.batch_size, len(dataset.x_train)),
            device=self.device,
            sample_weight=weight,
        )
        best = _BestOnValidation() if dataset.splits else None
        run = minimize(
            problem,
            self.optimizer,
            budget=budget_of(self.budget),
            seed=seed,
            start=None if start is None else start.network,
            callbacks=self._callbacks(best),
            **options_of(self.optimizer_options),
        )
        if run.status is not Status.OK:
            warnings.warn(f"the training has diverged: {run.message}", ConvergenceWarning, stacklevel=3)
        vector, self.loss_ = (run.best, run.best_loss) if best is None else best.found(run)
        self.module_ = ScaledNetwork(problem.module(vector).cpu(), inputs, targets).eval()
        self.history_ = run.curve
        self.n_iter_ = run.ledger.steps
        self.stop_reason_ = "diverged" if run.stop_reason is None else str(run.stop_reason)

    def _callbacks(self, best: _BestOnValidation | None) -> list[Callback]:
        """Those behind the options, and the user's own."""
        found: list[Callback] = [] if best is None else [best]
        if self.patience is not None:
            monitor = "loss" if best is None else "validation_loss"
            found.append(EarlyStopping(self.patience, self.min_delta, unit="evaluations", monitor=monitor))
        found.extend(self.callbacks)
        return [*found, ProgressBar()] if self.verbose else found

    def _network(self) -> ScaledNetwork | None:
        """The fitted network to go on from; `None` before the first fit."""
        found: ScaledNetwork | None = getattr(self, "module_", None)
        return found

    def _outputs(self, x: object) -> Tensor:
        """`(N, C)` outputs of the fitted network for rows `(N, F)` that are checked here."""
        check_is_fitted(self)
        checked = validate_data(self, x, reset=False, dtype=np.float64)
        with torch.no_grad():
            outputs: Tensor = self.module_(torch.tensor(checked))
        return outputs


def checked_weight(sample_weight: object, x: np.ndarray) -> np.ndarray | None:
    """`(N,)` weights of the rows; `None` where none are given.

    Raises:
        ValueError: for another shape, and for weights that are negative or not finite.
    """
    if sample_weight is None:
        return None
    weight: np.ndarray = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
    return weight


class _BestOnValidation(Callback):
    """Keeps the incumbent whose loss on the validation rows is the lowest of all logged points."""

    def __init__(self) -> None:
        self._best: Tensor | None = None
        self._loss = self._lowest = math.inf

    def on_generation_end(self, seen: Observation) -> str | None:
        """Look at the incumbent of a logged point."""
        value = seen.scores["validation_loss"]
        if seen.logged and value < self._lowest:
            self._best, self._loss, self._lowest = seen.incumbent.clone(), seen.loss, value
        return None

    def found(self, run: Run) -> tuple[Tensor, float]:
        """Its vector and its training loss; the run's last incumbent where no validation loss was finite."""
        return (run.best, run.best_loss) if self._best is None else (self._best, self._loss)
