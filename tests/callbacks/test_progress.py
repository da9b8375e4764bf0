"""The line that says how far a run is."""

from __future__ import annotations

import copy
import io
import subprocess
import sys

import pytest

from gfopt.callbacks import ProgressBar
from gfopt.callbacks.progress import line
from gfopt.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes the standard error a terminal of 60 columns; called in the test, whose own is captured."""

    def made():
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return made


def test_the_line_says_share_loss_scores_and_seconds(step):
    text = line(step(3, 0.51234, spent=0.5, seconds=1.25, validation_accuracy=0.9, validation_loss=3.0))
    assert text == "━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌   50%  loss 0.5123  validation_accuracy 0.9  1.2 s"


def test_a_share_above_one_fills_the_bar(step):
    assert line(step(3, spent=1.3)).startswith("━" * 24 + "  100%")


def test_a_file_gets_one_line_when_the_run_is_over(train, capsys):
    train(ProgressBar())
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert "100%" in streams.err
    assert "\r" not in streams.err


def test_a_terminal_sees_one_line_that_is_written_over(step, terminal):
    terminal = terminal()
    bar = ProgressBar(interval=0)
    bar.on_train_begin(2)
    for cost in (1, 2, 3):
        bar.on_generation_end(step(cost, spent=cost / 3, validation_balanced_accuracy=0.123456))
    assert terminal.getvalue().count("\r") == 3
    assert "\n" not in terminal.getvalue()
    assert {len(text) for text in terminal.getvalue().split("\r")} == {0, 59}
    bar.on_train_end()
    assert terminal.getvalue().endswith("\n")


def test_it_is_not_written_more_often_than_asked_for(step, terminal):
    terminal = terminal()
    bar = ProgressBar(interval=3600)
    bar.on_train_begin(2)
    for cost in (1, 2, 3):
        bar.on_generation_end(step(cost, last=cost == 3))
    assert terminal.getvalue().count("\r") == 2  # the first and the last


def test_it_can_be_copied_after_a_run(train, capsys):
    bar = ProgressBar()
    train(bar)
    copy.deepcopy(bar)


def test_the_interval_is_checked():
    with pytest.raises(ConfigError, match="interval: expected a finite number of at least 0"):
        ProgressBar(interval=-1)


def test_a_short_line_leaves_nothing_of_a_longer_one(step, terminal):
    terminal = terminal()
    bar = ProgressBar(interval=0)
    bar.on_generation_end(step(1, loss=0.1234))
    bar.on_generation_end(step(2, loss=1.0))
    long, short = terminal.getvalue().split("\r")[1:]
    assert len(short) == len(long)
    assert len(short.rstrip()) < len(long.rstrip())


def test_global_random_numbers_stay_when_it_is_imported():
    code = (
        "import random; before = random.getstate(); import gfopt.callbacks.progress; print(random.getstate() == before)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
