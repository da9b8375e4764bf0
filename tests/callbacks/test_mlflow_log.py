"""A run's curve, read back with MLflow's own client."""

from __future__ import annotations

import random
import sys

import pytest

from gfopt.callbacks import MLflowLogger
from gfopt.errors import ConfigError, MissingExtraError

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The address of a store in files, which MLflow wants to be told that one means it."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    return (tmp_path / "store").as_uri()


def history(store, run_id, name):
    client = mlflow.MlflowClient(tracking_uri=store)
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def test_the_metrics_are_the_curve_without_its_start(train, store):
    log = MLflowLogger("flowers", "first", tracking_uri=store, params={"optimizer": "ga", "population": 16})
    curve = train(log).curve.iloc[1:]
    places = curve["forward_equivalents"].round().astype(int).tolist()
    for column in ("loss", "validation_accuracy", "evaluations"):
        assert history(store, log.run_id, column) == list(zip(places, curve[column].tolist(), strict=True))
    run = mlflow.MlflowClient(tracking_uri=store).get_run(log.run_id)
    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"dim": "35", "optimizer": "ga", "population": "16"}


def test_each_run_is_a_run_of_its_own_in_the_same_experiment(train, store):
    log = MLflowLogger("flowers", tracking_uri=store)
    first = (train(log, evaluations=32), log.run_id)[1]
    train(log, evaluations=32)
    client = mlflow.MlflowClient(tracking_uri=store)
    found = client.search_runs([client.get_experiment_by_name("flowers").experiment_id])
    assert {run.info.run_id for run in found} == {first, log.run_id}


def test_a_resumed_run_is_written_once(broken_off, store):
    logs = []

    def make():
        logs.append(MLflowLogger(tracking_uri=store, unit="steps"))
        return logs[-1]

    resumed, _ = broken_off(make)
    assert logs[0].run_id == logs[1].run_id
    expected = [(record.ledger["steps"], record.loss) for record in resumed.trace.records[1:]]
    assert history(store, logs[1].run_id, "loss") == expected


def test_global_settings_of_mlflow_and_random_numbers_stay(train, store):
    before = (mlflow.get_tracking_uri(), mlflow.active_run(), random.getstate())
    train(MLflowLogger(tracking_uri=store), evaluations=32)
    assert (mlflow.get_tracking_uri(), mlflow.active_run(), random.getstate()) == before


def test_without_the_package_the_extra_is_named(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gfopt\[mlflow\]'"):
        train(MLflowLogger())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"experiment": ""}, "experiment: expected a name"),
        ({"run_name": 3}, "run_name: expected a name"),
        ({"params": [1]}, "params: expected a mapping"),
        ({"unit": "sec"}, "unit: expected a unit of the ledger"),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ConfigError, match=words):
        MLflowLogger(**arguments)
