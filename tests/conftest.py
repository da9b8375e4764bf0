"""One small study, run once; and runs without worker processes for tests that are not about them."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
import torch

from gfopt import cli

torch.set_num_threads(1)  # the tensors of tests are small: a second thread only waits

STUDY = """
name: tiny
seed: 3
repeats: 2
budget: {forward_equivalents: 6000}
problems:
  flowers:
    dataset: {name: iris}
    network: {kind: mlp, hidden: [4], norm: {grid: [none, batch]}}
    batch_size: 32
  bowl:
    function: {name: sphere, dim: 3}
    budget: {evaluations: 60}
optimizers:
  adam: {kind: adam, learning_rate: 0.05}
  ga: {kind: deap-ga, population: 8}
report: {baseline: adam}
"""


class Inline(Executor):
    """Does each task at once, in this process."""

    def __init__(self, workers: int, **_: object) -> None:
        self.tasks = 0

    def submit(self, fn, /, *args, **kwargs):
        self.tasks += 1
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as an executor does  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


@pytest.fixture
def inline(monkeypatch):
    """Studies run in this process: for what does not depend on processes."""
    monkeypatch.setattr("gfopt.study.study.LocalExecutor", Inline)


@pytest.fixture(scope="session")
def study_file(tmp_path_factory) -> Path:
    """A study of 12 runs."""
    file = tmp_path_factory.mktemp("study") / "tiny.yaml"
    file.write_text(STUDY)
    return file


@pytest.fixture(scope="session")
def finished(study_file, tmp_path_factory):
    """The results of `study_file`, made by two workers; not to be changed."""
    from gfopt import load_study

    return load_study(study_file).run(tmp_path_factory.mktemp("finished") / "tiny", workers=2)


@pytest.fixture
def gfopt_command(capsys, monkeypatch, tmp_path):
    """Call the command line in an empty folder; `(exit status, standard output, standard error)`."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        try:
            cli.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = end.code
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return call


@pytest.fixture(autouse=True)
def global_random_numbers_of_torch_go_on():
    """A test may seed or draw from torch's global generator; the next one finds it as it was."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)
