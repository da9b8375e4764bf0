"""A run that is interrupted and goes on is, bit for bit, the one that never was."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

import gfopt
from gfopt import checkpoint as checkpoints
from gfopt.errors import ConfigError, StoreError
from gfopt.types import Callback

CLOCKED = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
BUDGET = {"evaluations": 400}
KINDS = ["adam", "ga", "deap-ga", "pyswarms-gbest", "openai-es", "chain"]


class Interrupt(Callback):
    """Stops the process as Ctrl-C does, after so many steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_generation_end(self, seen):
        if seen.ledger.steps == self.steps:
            raise KeyboardInterrupt


class Watch(Callback):
    """Remembers what it saw, over interruptions too."""

    def __init__(self):
        self.begun, self.losses, self.ended = 0, [], 0

    def on_train_begin(self, dim):
        self.begun += 1

    def on_generation_end(self, seen):
        self.losses.append(seen.batch_loss)

    def on_train_end(self):
        self.ended += 1

    def state_dict(self):
        return {"losses": list(self.losses)}

    def load_state_dict(self, state):
        self.losses = list(state["losses"])


class Enough(Callback):
    def on_generation_end(self, seen):
        return "three steps are enough" if seen.ledger.steps == 3 else None


@pytest.fixture(scope="module")
def problem():
    data = gfopt.load_dataset("iris")
    network = {"kind": "mlp", "hidden": [4], "activation": "tanh", "norm": "batch"}
    return gfopt.SupervisedProblem(network, data, batch_size=16)


@pytest.fixture(autouse=True)
def _every_step(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)


def options_of(kind):
    small = {"ga": {"population": 16}, "deap-ga": {"population": 16}, "openai-es": {"population": 16}}
    if kind == "chain":
        return {"stages": [{"kind": "ga", "population": 16}, {"kind": "adam", "population": 4}]}
    return {**small.get(kind, {}), **({"particles": 16} if kind.startswith("pyswarms") else {})}


def same(one, other):
    assert torch.equal(one.best, other.best)
    pd.testing.assert_frame_equal(one.curve.drop(columns=CLOCKED), other.curve.drop(columns=CLOCKED), check_exact=True)
    pd.testing.assert_frame_equal(one.diagnostics, other.diagnostics, check_exact=True)
    assert (one.status, one.stop_reason) == (other.status, other.stop_reason)
    assert one.scores == other.scores
    return True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 9])
def test_an_interrupted_run_is_the_whole_one(problem, tmp_path, kind, steps):
    given = {"budget": BUDGET, "diagnostics": ["population", "updates"], **options_of(kind)}
    whole = gfopt.minimize(problem, kind, **given)
    with pytest.raises(KeyboardInterrupt):
        gfopt.minimize(problem, kind, checkpoint=tmp_path / "c", callbacks=[Interrupt(steps + 1)], **given)
    resumed = gfopt.minimize(problem, kind, checkpoint=tmp_path / "c", callbacks=[Interrupt(-1)], **given)
    assert same(whole, resumed)
    assert resumed.ledger.steps > steps


def test_a_checkpoint_changes_nothing_and_a_finished_run_is_not_run_again(problem, tmp_path):
    whole = gfopt.minimize(problem, "ga", budget=BUDGET, population=16)
    watch = Watch()
    kept = gfopt.minimize(problem, "ga", budget=BUDGET, population=16, checkpoint=tmp_path / "c", callbacks=[watch])
    again = Watch()
    once_more = gfopt.minimize(
        problem, "ga", budget=BUDGET, population=16, checkpoint=tmp_path / "c", callbacks=[again]
    )
    assert same(whole, kept)
    assert same(whole, once_more)
    assert (watch.begun, watch.ended, again.begun, again.ended) == (1, 1, 0, 1)
    assert again.losses == watch.losses


def test_a_finished_run_goes_on_with_a_larger_budget(problem, tmp_path):
    first = gfopt.minimize(problem, "ga", budget={"evaluations": 160}, population=16, checkpoint=tmp_path / "c")
    more = gfopt.minimize(problem, "ga", budget=BUDGET, population=16, checkpoint=tmp_path / "c")
    assert more.ledger.evaluations >= 400 > first.ledger.evaluations
    assert more.best_loss <= first.best_loss
    whole = gfopt.minimize(problem, "ga", budget=BUDGET, population=16)
    assert more.curve["batch_loss"].iloc[-1] == whole.curve["batch_loss"].iloc[-1]


def test_what_a_callback_has_ended_stays_ended(problem, tmp_path):
    given = {"budget": BUDGET, "population": 16, "checkpoint": tmp_path / "c"}
    ended = gfopt.minimize(problem, "ga", callbacks=[Enough()], **given)
    assert (ended.ledger.steps, str(ended.stop_reason)) == (3, "callback")
    assert ended.message == "Enough: three steps are enough"
    assert ended.curve["steps"].iloc[-1] == 3
    assert same(ended, gfopt.minimize(problem, "ga", callbacks=[Enough()], **given))


def test_a_diverged_run_stays_diverged(tmp_path):
    def fails(rows):
        return torch.where(rows[:, 0] == rows[0, 0], torch.nan, torch.nan)

    problem = gfopt.FunctionProblem(fails, 3, differentiable=False)
    for _ in range(2):
        run = gfopt.minimize(problem, "ga", budget=BUDGET, checkpoint=tmp_path / "c")
        assert str(run.status) == "diverged"
        assert run.ledger.steps == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "a run with the seed 1"),
        ({"optimizer": "openai-es"}, "a run with the optimizer 'openai-es'"),
        ({"mutation_strength": 0.1}, "a run with the options"),
        ({"start": "zeros"}, "a run with the start"),
        ({"callbacks": [Watch()]}, r"those that the run was started with \(none\), got `Watch`"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_stays(problem, tmp_path, change, named):
    given = {"optimizer": "ga", "budget": BUDGET, "population": 16, "checkpoint": tmp_path / "c"}
    gfopt.minimize(problem, **given)
    before = (tmp_path / "c").read_bytes()
    change = {"start": torch.zeros(problem.dim)} if "start" in change else change
    with pytest.raises(ConfigError, match=named):
        gfopt.minimize(problem, **{**given, **change})
    assert (tmp_path / "c").read_bytes() == before


def test_other_data_are_noticed(problem, tmp_path):
    gfopt.minimize(problem, "ga", budget=BUDGET, checkpoint=tmp_path / "c")
    network = {"kind": "mlp", "hidden": [4], "activation": "tanh", "norm": "batch"}
    inputs, labels = load_iris(return_X_y=True)
    other = gfopt.SupervisedProblem(network, gfopt.data.from_arrays(inputs, labels[::-1]), batch_size=16)
    with pytest.raises(ConfigError, match="expected a problem on which the start has the loss"):
        gfopt.minimize(other, "ga", budget=BUDGET, checkpoint=tmp_path / "c")


def test_a_damaged_checkpoint_and_an_absent_folder_are_refused(problem, tmp_path):
    (tmp_path / "c").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="expected a whole checkpoint"):
        gfopt.minimize(problem, "ga", budget=BUDGET, checkpoint=tmp_path / "c")
    with pytest.raises(ConfigError, match="expected a file in a folder that exists"):
        gfopt.minimize(problem, "ga", budget=BUDGET, checkpoint=tmp_path / "no" / "c")


_OTHER = """
import sys
import gfopt, torch
data = gfopt.load_dataset("iris")
network = {"kind": "mlp", "hidden": [4], "activation": "tanh", "norm": "batch"}
problem = gfopt.SupervisedProblem(network, data, batch_size=16)
from gfopt.types import Callback
class Interrupt(Callback): pass
run = gfopt.minimize(problem, "ga", budget={"evaluations": 400}, population=16, checkpoint=sys.argv[1],
                     callbacks=[Interrupt()])
print(run.best.numpy().tobytes().hex())
"""


def test_a_new_process_goes_on_where_the_old_one_was(problem, tmp_path):
    whole = gfopt.minimize(problem, "ga", budget=BUDGET, population=16)
    with pytest.raises(KeyboardInterrupt):
        gfopt.minimize(problem, "ga", budget=BUDGET, population=16, checkpoint=tmp_path / "c", callbacks=[Interrupt(7)])
    command = [sys.executable, "-c", _OTHER, str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == whole.best.numpy().tobytes().hex()
