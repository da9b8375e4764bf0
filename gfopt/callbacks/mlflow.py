"""A run's curve for MLflow."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gfopt.callbacks._arguments import missing, row, unit_of_budget
from gfopt.errors import ConfigError, expectation
from gfopt.types import Callback, Observation

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MLflowLogger(Callback):
    """Writes each logged point as metrics of one MLflow run: the columns of `Run.curve`.

    It speaks to the tracking store through a client of its own, so that MLflow's active run and its global settings
    stay as they are. A resumed run goes on with the same MLflow run; points that this one already has are, bit for bit,
    those that come again, and are not written twice.

    Args:
        experiment: name of the experiment, made if it is not there.
        run_name: name of the run.
        tracking_uri: of the store, as `sqlite:///mlflow.db`; `None` for MLflow's own setting.
        params: written once as the run's parameters, as `{"optimizer": "ga", "population": 64}`.
        unit: of the ledger, the metrics' step; rounded.

    Attributes:
        run_id: MLflow's, once a run has begun.

    Raises:
        ConfigError: for arguments of another kind.
        MissingExtraError: before the first step, if the package mlflow-skinny (or mlflow) is not installed.
    """

    def __init__(
        self,
        experiment: str = "gfopt",
        run_name: str = "gfopt",
        tracking_uri: str | None = None,
        params: Mapping[str, object] | None = None,
        unit: str = "forward_equivalents",
    ) -> None:
        for name, text in (("experiment", experiment), ("run_name", run_name)):
            if not isinstance(text, str) or not text:
                raise ConfigError(f"{name}: " + expectation("a name", text))
        if params is not None and not isinstance(params, Mapping):
            raise ConfigError("params: " + expectation("a mapping from name to value", params))
        self.experiment, self.run_name, self.tracking_uri = experiment, run_name, tracking_uri
        self.params = dict(params or {})
        self.unit = unit_of_budget("unit", unit)
        self.run_id: str | None = None
        self._client: MlflowClient | None = None
        self._written = -1  # the step of the last point that the store has

    def on_train_begin(self, dim: int) -> None:
        """Begin a run in the store."""
        client = self._client = self._connected()
        found = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if found is None else found.experiment_id
        self.run_id = client.create_run(experiment, run_name=self.run_name).info.run_id
        self._written = -1
        for name, value in {"dim": dim, **self.params}.items():
            client.log_param(self.run_id, name, value)

    def on_generation_end(self, seen: Observation) -> str | None:
        """Add the metrics of a logged point."""
        if not seen.logged or self.run_id is None:
            return None
        if self._client is None:  # a resumed run
            self._client = self._connected()
            self._written = max((m.step for m in self._client.get_metric_history(self.run_id, "steps")), default=-1)
        step = round(getattr(seen.ledger, self.unit))
        if step > self._written:
            self._client.log_batch(self.run_id, metrics=_metrics(row(seen), step))
            self._written = step
        return None

    def on_train_end(self) -> None:
        """Mark the run in the store as finished."""
        if self._client is not None and self.run_id is not None:
            self._client.set_terminated(self.run_id)
        self._client = None

    def _connected(self) -> MlflowClient:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise missing("mlflow", "MLflowLogger", "mlflow") from error
        return MlflowClient(tracking_uri=self.tracking_uri)

    def state_dict(self) -> dict[str, Any]:
        """Which run of the store it is."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the run of `state`."""
        self.run_id, self._client = state["run_id"], None


def _metrics(values: Mapping[str, float], step: int) -> list[Any]:
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    return [Metric(name, float(value), now, step) for name, value in values.items() if math.isfinite(value)]
