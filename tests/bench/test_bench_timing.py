"""Contenders in turn, on a clock that the test moves."""

from __future__ import annotations

import pytest

from gfopt.bench.timing import Entry, in_turn


class Machine:
    """A clock, and work that moves it."""

    def __init__(self):
        self.now, self.calls, self.waits = 0.0, [], 0

    def clock(self):
        return self.now

    def wait(self):
        self.waits += 1

    def work(self, name, *seconds):
        """Takes these seconds call by call; the last of them from then on."""
        left = list(seconds)

        def go():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return go


def test_each_round_calls_everybody_once_and_the_median_counts():
    machine = Machine()
    entries = {"a": Entry(machine.work("a", 9, 2, 4, 3), 2), "b": Entry(machine.work("b", 8, 1, 1, 1))}
    found = in_turn(entries, 3, clock=machine.clock)
    assert machine.calls == ["a", "b", "a", "b", "a", "b", "a", "b"]  # the first of each only warms up
    assert (found["a"].median, found["a"].best, found["a"].repeats) == (1.5, 1.0, 3)
    assert found["b"].median == 1.0


def test_short_work_is_repeated_until_the_clock_can_see_it():
    machine = Machine()
    found = in_turn({"a": Entry(machine.work("a", 0.5, 0.004), 4)}, 2, clock=machine.clock)
    assert len(machine.calls) == 2 + 2 * 13  # two to warm up; 13 x 4 ms fill the 50 ms of a stretch
    assert found["a"].median == pytest.approx(0.001)


def test_who_is_slow_sits_out_after_one_round():
    machine = Machine()
    entries = {"slow": Entry(machine.work("slow", 5)), "quick": Entry(machine.work("quick", 0.1))}
    found = in_turn(entries, 4, patience=1, clock=machine.clock)
    assert found["slow"].repeats == 1
    assert found["quick"].repeats == 4


def test_the_device_is_waited_for_around_each_reading():
    machine = Machine()
    in_turn({"a": Entry(machine.work("a", 2))}, 3, settle=machine.wait, clock=machine.clock)
    assert machine.waits == 2 * 4
