"""The clock of a trainer, and the trainers."""

from __future__ import annotations

import pytest
import torch

from gfopt import optimizers
from gfopt.bench import target, tasks
from gfopt.bench.overhead import KINDS
from gfopt.bench.results import Reached
from gfopt.bench.watch import Stopped, Watch


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def one(loss):
    return torch.tensor([9.0, loss]), torch.tensor([[0.0], [loss]])


def test_the_first_time_of_each_target_is_kept(clock):
    accuracies = {0.5: 0.7, 0.4: 0.91, 0.3: 0.93, 0.2: 0.96}
    watch = Watch(lambda vector: accuracies[round(float(vector[0]), 1)], 100, clock=clock)
    for seconds, loss in ((1, 0.5), (2, 0.4), (3, 0.3)):
        watch.record(*one(loss), 10 * seconds, seconds)
    with pytest.raises(Stopped):
        watch.record(*one(0.2), 40, 4)
    race = watch.race("a", ours=True, against="b", note="c")
    assert race.reached == {"0.9": Reached(2, 20), "0.95": Reached(4, 40)}
    assert (race.accuracy, race.seconds, race.evaluations) == (0.96, 4, 40)
    assert (race.name, race.ours, race.against, race.note) == ("a", True, "b", "c")


def test_only_a_lower_loss_is_looked_at(clock):
    looked = []
    watch = Watch(lambda vector: looked.append(float(vector[0])) or 0.1, 100, clock=clock)
    for loss in (0.5, 0.6, 0.4, 0.4):
        watch.record(*one(loss), 1, 1)
    assert looked == pytest.approx([0.5, 0.4])


def test_the_limit_ends_a_trainer_that_reaches_nothing(clock):
    watch = Watch(lambda _: 0.1, 5, clock=clock)
    watch.record(*one(0.5), 1, 4.9)
    with pytest.raises(Stopped):
        watch.record(*one(0.5), 2, 5.1)
    assert watch.race("a").reached == {}


def test_looking_at_the_accuracy_takes_no_time(clock):
    def slow(_):
        clock.now += 50
        return 0.1

    watch = Watch(slow, 100, clock=clock)
    clock.now += 7  # the trainer prepares
    watch.start()
    for loss in (0.5, 0.4):
        clock.now += 2
        watch.generation(*one(loss), 1)
    assert watch.seconds == pytest.approx(4)


def test_every_gradient_free_optimizer_and_every_peer_takes_part(tiny, monkeypatch):
    monkeypatch.setattr(target, "NETWORK", "64-2-10")
    found = list(target.races(tiny))
    names = [race.name for race in found]
    assert names[: len(KINDS) + 1] == ["gfopt adam", *(f"gfopt {kind}" for kind in KINDS)]
    assert names[len(KINDS) + 1 :] == list(target.PEERS)
    for race in found:
        assert race.evaluations > 0
        assert race.seconds >= tiny.limit or len(race.reached) == 2
        assert 0 < race.accuracy <= 1
        assert race.ours == race.name.startswith("gfopt")
        assert (race.against in target.PEERS) == race.ours


def test_who_is_held_against_whom():
    assert target.rival_of("deap-ga") == target.DEAP
    assert target.rival_of("pyswarms-lbest") == target.SWARM
    assert target.rival_of("snes") == target.STRATEGY
    assert {target.rival_of(kind) for kind in optimizers.names(usable=True)} <= set(target.PEERS)


def test_adam_by_hand_learns_digits(tiny):
    problem = tasks.mlp_problem(target.NETWORK, 1437)
    task = tasks.task_of(problem, problem.initial(1, 0))
    trainer, note = target.PEERS[target.ADAM]
    race = target.race("adam", trainer, problem, task, 30.0, note=note)
    assert race.reached["0.9"].evaluations <= race.reached["0.95"].evaluations < 100
    vector = problem.initial(1, 0)[0]
    outputs = problem.module(vector)(task.inputs)
    assert target.accuracy(task, vector) == pytest.approx(float((outputs.argmax(1) == task.targets).double().mean()))
