# ruff: noqa: E501 - one line for each case
from __future__ import annotations

import pytest

P = "s.yaml: problems.deep."
N = "problems.deep.network"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems.deep.batchsize": 3}, P + "batchsize: expected a known key, got 'batchsize'. Did you mean 'batch_size'?"),
        ({"problems.deep.batch_size": 0}, P + "batch_size: expected at least 1, got 0"),
        ({"problems.deep.batch_size": "all"}, P + "batch_size: expected a whole number, got 'all'"),
        ({"problems.deep.bn_mode": "refrence"}, P + "bn_mode: expected one of 'batch', 'reference', 'running', got 'refrence'. Did you mean 'reference'?"),
        ({"problems.deep.dataset": ...}, P + "dataset: expected a value, got nothing: this key is required. Add it, for example {name: digits}."),
        ({"problems.deep.dataset": 3}, P + "dataset: expected a mapping, as {name: digits} or {path: data.csv, target: y}, got 3"),
        ({"problems.deep.dataset": {}}, P + "dataset: expected the key name, as {name: digits}, or the key path"),
        ({"problems.deep.dataset": {"name": "digit"}}, P + "dataset.name: expected a known dataset, got 'digit'. Did you mean 'digits'?"),
        ({"problems.deep.dataset": {"name": ["digits"]}}, P + "dataset.name: expected a known dataset, got ['digits']"),
        ({"problems.deep.dataset": {"name": "digits", "path": "x.csv"}}, P + "dataset: expected either name or path, got `both`"),
        ({"problems.deep.dataset.test_fractoin": 0.2}, P + "dataset.test_fractoin: expected a known key, got 'test_fractoin'. Did you mean 'test_fraction'?"),
        ({"problems.deep.dataset.test_fraction": 1.5}, P + "dataset.test_fraction: expected less than 1.0, got 1.5."),
        ({"problems.deep.dataset": {"name": "digits", "test_fraction": 0.6, "validation_fraction": 0.6}}, P + "dataset: test_fraction + validation_fraction: expected a sum below 1, got 1.2."),
        ({"problems.deep.dataset": {"name": "moons", "samples": 2}}, P + "dataset.samples: expected at least 10, got 2. Without this key it is 500."),
        ({"problems.deep.dataset": {"path": "x.csv", "tagret": "y"}}, P + "dataset.tagret: expected a known key, got 'tagret'. Did you mean 'target'?"),
        ({N: ...}, P + "network: expected a value, got nothing: this key is required."),
        ({N: "mlp"}, P + "network: expected a mapping, as {kind: mlp, hidden: [32]}, got 'mlp'"),
        ({N: {"hidden": [3]}}, P + "network.kind: expected the name of a known network, got nothing. Add it, as {kind: mlp}."),
        ({N: {"knid": "mlp"}}, P + "network.kind: expected the name of a known network, got nothing. Did you mean 'knid'? Add it"),
        ({N + ".kind": "mpl"}, P + "network.kind: expected a known network, got 'mpl'. Did you mean 'mlp'?"),
        ({N + ".hiden": [3]}, P + "network.hiden: expected a known key, got 'hiden'. Did you mean 'hidden'?"),
        ({N + ".hidden": [8, 0]}, P + "network.hidden[1]: expected more than 0, got 0"),
        ({N + ".hidden": 8}, P + "network.hidden: expected a list, as [1, 2], got 8"),
        ({N + ".activation": "tnah"}, P + "network.activation: expected a known activation, got 'tnah'. Did you mean 'tanh'?"),
        ({N + ".norm": "bathc"}, P + "network.norm: expected a known norm, got 'bathc'. Did you mean 'batch'?"),
        ({N + ".norm": {"grid": ["none", "bathc"]}}, P + "network.norm: grid[1]: expected a known norm, got 'bathc'. Did you mean 'batch'?"),
        ({N: {"grid": [{"kind": "mlp"}, {"kind": "mlp", "hidden": ["a"]}]}}, P + "network: grid[1].hidden[0]: expected a whole number, got 'a'"),
        ({N: {"module": "pkg.mod:make"}}, P + "network.module: expected a network that gfopt has, as {kind: mlp}, got `pkg.mod:make`, code of your own. If you trust the file, run it with --allow-code."),
        ({"problems.deep.loss": "cross_entrpy"}, P + "loss: expected a known loss, got 'cross_entrpy'. Did you mean 'cross_entropy'?"),
        ({"problems.deep.loss": {"kind": "mee"}}, P + "loss.kind: expected a known loss, got 'mee'."),
        ({"problems.deep.loss": "cost_matrix"}, P + "loss.matrix: expected a square matrix of numbers"),
        ({"problems.deep.loss": {"kind": "cost_matrix", "matrix": [[0, 1], [2]]}}, P + "loss.matrix: expected a square matrix of numbers"),
        ({"problems.deep.loss": {"kind": "cost_matrix", "matrix": [[0, "a"], [2, 0]]}}, P + "loss.matrix: expected a square matrix of numbers"),
        ({"problems.deep.loss": {"kind": "cost_matrix", "matrix": [[0, 1], [1, 0]], "matrx": 1}}, P + "loss.matrx: expected a known key, got 'matrx'. Did you mean 'matrix'?"),
        ({"problems.deep.objective": {"surrogate": "mse"}}, P + "objective.loss: expected a value, got nothing: this key is required."),
        ({"problems.deep.objective": {"loss": "f1_error", "surrogate": "msee"}}, P + "objective.surrogate: expected a known loss, got 'msee'. Did you mean 'mse'?"),
        ({"problems.deep.objective": {"loss": "f1_error"}, "problems.deep.loss": "mse"}, P + "loss: expected either loss or objective, got `both`."),
        ({"problems.deep.trainable": []}, P + "trainable: expected a pattern, as head.*, or a list of them, got []."),
        ({"problems.deep.sample_weight": [1.0]}, P + "sample_weight: expected no weights in a file, got [1.0]."),
        ({"problems.deep.subspace": {"dim": 0}}, P + "subspace.dim: expected at least 1, got 0. For example 20."),
        ({"problems.deep.function": {"name": "sphere", "dim": 2}}, P + "function: expected either function, or dataset and network, got `function` beside dataset, network, batch_size."),
        ({"problems.ball.function.name": "spher"}, "s.yaml: problems.ball.function.name: expected a known function, got 'spher'. Did you mean 'sphere'?"),
        ({"problems.ball.function": {"name": "sphere"}}, "s.yaml: problems.ball.function.dim: expected a value, got nothing: this key is required. Add it, for example 10."),
        ({"problems.ball.function.dim": -1}, "s.yaml: problems.ball.function.dim: expected at least 1, got -1."),
        ({"optimizers.ga.kind": "deap-g"}, "s.yaml: optimizers.ga.kind: expected a known optimizer, got 'deap-g'. Did you mean 'deap-ga'?"),
        ({"optimizers.ga": {}}, "s.yaml: optimizers.ga.kind: expected the name of a known optimizer, got nothing."),
        ({"optimizers.ga.popualtion": 8}, "s.yaml: optimizers.ga.popualtion: expected a known key, got 'popualtion'. Did you mean 'population'?"),
        ({"optimizers.ga.population": "many"}, "s.yaml: optimizers.ga.population: expected a whole number, got 'many'."),
        ({"optimizers.ga.population": {"grid": [8, 1]}}, "s.yaml: optimizers.ga.population: grid[1]: expected at least 2, got 1."),
        ({"optimizers.adam.learning_rate": {"grid": [0.1, "0.01"]}}, "s.yaml: optimizers.adam.learning_rate: grid[1]: expected a number, got '0.01'. Write it without quotes."),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused(refused, changes, message) -> None:
    text = refused(changes)
    assert message in text
    assert len(text.splitlines()) == 1


def test_layer_norm_over_one_unit_names_layer_and_norm(refused) -> None:
    text = refused({"problems.deep.network.hidden": [8, 1], "problems.deep.network.norm": "layer"})
    assert text.startswith("s.yaml: problems.deep.network.hidden[1]")
    assert "'layer'" in text
    assert "got 1" in text


def test_batch_norm_over_a_handful_of_rows_names_the_ways_out(refused, study) -> None:
    text = refused({"problems.deep.batch_size": 7})
    assert text == (
        "s.yaml: problems.deep.batch_size: with network.norm=batch: expected at least 8 rows for batch "
        "normalization, got 7. Use a larger batch, norm: layer, rms or weight, or bn_mode: reference."
    )
    for way_out in (
        {"problems.deep.batch_size": 8},
        {"problems.deep.batch_size": None},
        {"problems.deep.batch_size": 7, "problems.deep.bn_mode": "reference"},
        {"problems.deep.batch_size": 7, "problems.deep.network.norm": "layer"},
    ):
        study(way_out)


def test_defaults_are_filled_in(study) -> None:
    config = study({"problems.deep.network.norm": "none"}).problem_cells[0].config
    assert (config.loss, config.bn_mode, config.objective, config.trainable) == (
        "cross_entropy",
        "batch",
        None,
        None,
    )
    assert config.network == {"kind": "mlp", "hidden": [8], "activation": "tanh", "norm": "none"}


def test_a_data_set_may_be_given_by_name_alone(study) -> None:
    assert study({"problems.deep.dataset": "moons"}).problem_cells[0].config.dataset == {"name": "moons"}


def test_objective_and_cost_matrix(study) -> None:
    matrix = {"kind": "cost_matrix", "matrix": [[0, 1], [5, 0]]}
    changes = {"problems.deep.objective": {"loss": matrix, "surrogate": "cross_entropy"}}
    objective = study(changes).problem_cells[0].config.objective
    assert (objective.loss, objective.surrogate) == (matrix, "cross_entropy")
