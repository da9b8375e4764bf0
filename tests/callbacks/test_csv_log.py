"""A run's curve in a file, read back."""

from __future__ import annotations

import copy
import csv

import pandas as pd
import pytest

from gfopt.callbacks import CSVLogger
from gfopt.errors import ConfigError, StoreError


def read(path):
    """The table, of floats that are exactly those that were written; as `pandas.read_csv`, which need not be exact."""
    with path.open(newline="") as file:
        table = pd.DataFrame(csv.DictReader(file)).astype(float)
    pd.testing.assert_frame_equal(pd.read_csv(path).astype(float), table)
    return table


def test_the_file_is_the_curve_without_its_start(train, tmp_path):
    run = train(CSVLogger(tmp_path / "run.csv"))
    expected = run.curve.iloc[1:].reset_index(drop=True).astype(float)
    pd.testing.assert_frame_equal(read(tmp_path / "run.csv"), expected, check_exact=True)


def test_a_row_is_there_as_soon_as_its_step_is_done(step, tmp_path):
    log = CSVLogger(tmp_path / "run.csv")
    log.on_train_begin(2)
    for cost in (1, 2, 3):
        log.on_generation_end(step(cost, 1.0 / cost, logged=cost != 2, test_r2=0.5))
        assert list(read(log.path)["steps"]) == [c for c in range(1, cost + 1) if c != 2]


def test_a_new_run_begins_the_file_anew(train, tmp_path):
    log = CSVLogger(str(tmp_path / "run.csv"))
    train(log)
    run = train(log, evaluations=100)
    assert len(read(log.path)) == len(run.curve) - 1


def test_a_resumed_run_leaves_the_file_of_the_whole_one(broken_off, tmp_path):
    resumed, _ = broken_off(lambda: CSVLogger(tmp_path / "run.csv"))
    rows = read(tmp_path / "run.csv")
    assert list(rows["steps"]) == [record.ledger["steps"] for record in resumed.trace.records[1:]]
    assert list(rows["loss"]) == [record.loss for record in resumed.trace.records[1:]]


def test_rows_behind_the_resumed_point_are_dropped_and_a_torn_one_too(step, tmp_path):
    log = CSVLogger(tmp_path / "run.csv")
    log.on_train_begin(2)
    log.on_generation_end(step(1, 9.0))
    state = log.state_dict()
    log.on_generation_end(step(2, 8.0))
    with log.path.open("a") as file:
        file.write("3,30")
    other = CSVLogger(log.path)
    other.load_state_dict(state)
    assert list(read(log.path)["loss"]) == [9.0]
    other.on_generation_end(step(2, 7.0))
    assert list(read(log.path)["loss"]) == [9.0, 7.0]


def test_a_file_that_is_gone_is_begun_anew(step, tmp_path):
    log = CSVLogger(tmp_path / "run.csv")
    log.load_state_dict({"steps": 4})
    log.on_generation_end(step(5, 7.0))
    assert list(read(log.path)["steps"]) == [5]


def test_something_else_than_a_log_is_left_alone(tmp_path):
    (tmp_path / "run.csv").write_text("name,age\nAda,36\n")
    with pytest.raises(StoreError, match="no log of a run"):
        CSVLogger(tmp_path / "run.csv").load_state_dict({"steps": 4})
    assert (tmp_path / "run.csv").read_text() == "name,age\nAda,36\n"


def test_a_folder_that_is_missing_is_said_before_the_first_step(train, tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        train(CSVLogger(tmp_path / "nowhere" / "run.csv"))


def test_it_can_be_copied_and_holds_no_file_open(train, tmp_path):
    log = CSVLogger(tmp_path / "run.csv")
    train(log)
    assert copy.deepcopy(log).path == log.path


@pytest.mark.parametrize("path", ["", None, 3])
def test_the_path_is_checked(path):
    with pytest.raises(ConfigError, match="path: expected a path"):
        CSVLogger(path)
