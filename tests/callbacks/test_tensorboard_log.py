"""A run's curve, read back with TensorBoard's own reader."""

from __future__ import annotations

import math
import sys

import pytest

from gfopt.callbacks import TensorBoardLogger
from gfopt.errors import ConfigError, MissingExtraError

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def scalars(folder, tag):
    reader = accumulators.EventAccumulator(str(folder))
    reader.Reload()
    return [(point.step, point.value) for point in reader.Scalars(tag)]


def test_the_scalars_are_the_curve_without_its_start(train, tmp_path):
    run = train(TensorBoardLogger(tmp_path / "run"))
    curve = run.curve.iloc[1:]
    for tag, column in (("loss", "loss"), ("validation_accuracy", "validation_accuracy"), ("ledger/steps", "steps")):
        found = scalars(tmp_path / "run", tag)
        assert [place for place, _ in found] == curve["forward_equivalents"].round().astype(int).tolist()
        assert [value for _, value in found] == pytest.approx(curve[column].tolist())


def test_another_unit_may_be_the_axis(train, tmp_path):
    run = train(TensorBoardLogger(str(tmp_path), unit="steps"))
    assert [place for place, _ in scalars(tmp_path, "loss")] == run.curve["steps"].iloc[1:].tolist()


def test_what_is_not_finite_is_left_out(step, tmp_path):
    log = TensorBoardLogger(tmp_path, unit="steps")
    log.on_train_begin(2)
    log.on_generation_end(step(1, math.inf))
    log.on_generation_end(step(2, 3.0))
    log.on_train_end()
    assert scalars(tmp_path, "loss") == [(2, 3.0)]


def test_a_resumed_run_reads_as_the_whole_one(broken_off, tmp_path):
    resumed, _ = broken_off(lambda: TensorBoardLogger(tmp_path, unit="steps"))
    records = resumed.trace.records[1:]
    found = scalars(tmp_path, "loss")
    assert [place for place, _ in found] == [record.ledger["steps"] for record in records]
    assert [value for _, value in found] == pytest.approx([record.loss for record in records])


def test_without_the_package_the_extra_is_named(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gfopt\[tensorboard\]'"):
        train(TensorBoardLogger(tmp_path))


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="folder: expected a path"):
        TensorBoardLogger(None)
    with pytest.raises(ConfigError, match="Did you mean 'steps'"):
        TensorBoardLogger(tmp_path, unit="step")
