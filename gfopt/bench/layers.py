"""What normalization adds to an evaluation, and populations of recurrent networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gfopt import data
from gfopt.bench import peers
from gfopt.bench.evaluation import LOOP, OURS, Way, timed
from gfopt.bench.floor import Hardware
from gfopt.bench.options import BenchOptions
from gfopt.bench.results import Cell, Contender
from gfopt.bench.tasks import SEED, evaluator, mlp_problem, population_of, task_of
from gfopt.bench.timing import Entry, in_turn
from gfopt.problems import SupervisedProblem


def norm_cells(options: BenchOptions) -> Iterator[Cell]:
    """A cell for each batch: the network with every norm, against the one with none."""
    for batch in options.batches:
        entries = {}
        for norm in options.norms:
            problem = mlp_problem(options.norm_network, batch, norm=norm)
            population = population_of(problem, options.norm_members)
            entries[norm] = Entry(evaluator(problem, population), options.norm_members)
        times = in_turn(entries, options.repeats, patience=options.patience)
        labels: dict[str, str | int] = {
            "network": options.norm_network,
            "batch": batch,
            "members": options.norm_members,
        }
        yield Cell(
            labels,
            tuple(Contender(norm, t.median, t.best, t.repeats, ours=True, against="none") for norm, t in times.items()),
        )


@dataclass(frozen=True)
class Recurrent:
    """A kind of torch's recurrent layers: its gates, and activations a unit and step."""

    layer: Callable[..., nn.RNNBase]
    gates: int
    passes: int


RECURRENT = {
    "LSTM": Recurrent(nn.LSTM, 4, 5),
    "GRU": Recurrent(nn.GRU, 3, 3),
    "RNN": Recurrent(nn.RNN, 1, 1),
}
INPUTS, UNITS, STEPS, ROWS, MEMBERS = 8, 32, 20, 32, 64


class LastState(nn.Module):
    """A recurrent layer of torch; what it returns are the outputs of the last step."""

    def __init__(self, make: Callable[..., nn.RNNBase]) -> None:
        super().__init__()
        self.layer = make(INPUTS, UNITS, batch_first=True)

    def forward(self, rows: Tensor) -> Tensor:
        """`(B, 32)` from `(B, T, 8)`."""
        output: Tensor = self.layer(rows)[0][:, -1]
        return output


def recurrent_cells(options: BenchOptions, hardware: Hardware) -> Iterator[Cell]:
    """A cell for LSTM, GRU and RNN: a population against the loop over torch's own fused layers."""
    dataset = _sequences()
    for name, kind in RECURRENT.items():
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(SEED)
            module = LastState(kind.layer)
        problem = SupervisedProblem(module, dataset, device="cpu")
        population = population_of(problem, MEMBERS)
        task = task_of(problem, population)
        ways = {
            OURS: Way(evaluator(problem, population), MEMBERS),
            LOOP: Way(peers.module_loop(task, MEMBERS), MEMBERS),
        }
        labels: dict[str, str | int] = {"network": f"{name} {INPUTS}-{UNITS}", "batch": ROWS, "members": MEMBERS}
        floor = hardware.recurrent(kind.gates, kind.passes, INPUTS, UNITS, STEPS, ROWS)
        yield Cell({**labels, "steps": STEPS}, timed(ways, options), floor)


def _sequences() -> data.Dataset:
    """32 sequences of 20 steps and 8 numbers each; a class for each unit of the last state."""
    x, y = np.random.default_rng(SEED).standard_normal((ROWS, STEPS, INPUTS)), np.arange(ROWS) % UNITS
    return data.from_arrays(x, y, validation_fraction=0.0, test=(x, y), task="classification", name="sequences")
