"""Naming only the kind trains a network on digits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from gfopt import optimizers
from gfopt.testing.driving import drive

SIZES = (64, 32, 10)
BATCH = 256
# Training loss after 10 000 evaluations (gradient steps: 300); a network that knows nothing has ln 10 = 2.30.
REACHED = {
    "sgd": 0.1,
    "rmsprop": 0.1,
    "adam": 0.1,
    "adamw": 0.1,
    "nadam": 0.1,
    "radam": 0.1,
    "adagrad": 0.1,
    "adadelta": 0.1,
    "rprop": 0.1,
    "lbfgs": 0.01,
    "memetic": 0.8,  # a handful of generations: its gradient steps are counted like those of the others
    "deap-ga": 0.5,
    "deap-mu-plus-lambda": 0.6,
    "deap-mu-comma-lambda": 0.8,
    "deap-islands": 0.8,
    "pyswarms-gbest": 0.7,
    "pyswarms-lbest": 1.0,
    "pyswarms-von-neumann": 0.9,
    "pyswarms-random": 0.7,
    "pyswarms-pyramid": 0.7,
    "pyswarms-binary": 2.1,  # signs alone
    "pso": 0.7,
    "ga": 0.5,
    "openai-es": 0.3,
    "snes": 0.5,
    "xnes": 0.3,
    "pgpe": 0.3,
    "cem": 0.5,
    "ars": 0.5,
    "spsa": 0.5,
    "1+1-es": 0.6,
    "simulated-annealing": 0.5,
    "leea": 0.7,
    "deap-cma": 0.5,  # of a small network, as the two below
    "deap-cma-1+lambda": 0.9,
    "cma": 0.5,
    "deap-de": 0.9,
    "deap-es": 0.4,
    "sep-cma": 0.25,
    "nevergrad": 0.4,
    "random-search": 2.25,
    "chain": 0.1,
    "best-of-n": 2.35,
    "initial": 2.6,  # what it starts at
}
# Evaluations of the whole data set within which the best member classifies 90 % of it.
WITHIN = {"deap-ga": 8_000, "pyswarms-gbest": 8_000, "pyswarms-lbest": 13_000}


class Digits:
    """Cross-entropy of tanh networks on digits, several networks at once."""

    def __init__(self, hidden: int = SIZES[1]) -> None:
        self.sizes = (SIZES[0], hidden, SIZES[2])
        inputs, labels = load_digits(return_X_y=True)
        self.inputs = torch.tensor((inputs - inputs.mean(0)) / np.maximum(inputs.std(0), 1e-6), dtype=torch.float32)
        self.labels = torch.tensor(labels)
        # torch's own initialization: uniform up to 1 / sqrt(inputs), weights and shifts.
        self.limit = torch.cat([torch.full((o * i + o,), i**-0.5) for i, o in itertools.pairwise(self.sizes)])

    def starts(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return (2 * torch.rand(count, len(self.limit), generator=generator) - 1) * self.limit

    def loss(self, rows: Tensor, batch: int | None) -> Tensor:
        chosen = slice(None)
        if batch is not None:
            chosen = np.random.default_rng(batch).permutation(len(self.labels))[:BATCH]
        outputs = self.outputs(rows, chosen)
        labels = self.labels[chosen].expand(len(rows), -1)
        return torch.nn.functional.cross_entropy(outputs.mT, labels, reduction="none").mean(dim=1)

    def outputs(self, rows: Tensor, chosen: Any) -> Tensor:
        hidden, at = self.inputs[chosen].expand(len(rows), -1, -1), 0
        for size, units in itertools.pairwise(self.sizes):
            weight = rows[:, at : at + size * units].reshape(-1, units, size)
            shift = rows[:, at + size * units : at + (size + 1) * units]
            at += (size + 1) * units
            hidden = torch.baddbmm(shift[:, None], hidden if size == 64 else hidden.tanh(), weight.mT)
        return hidden


@pytest.mark.slow
def test_the_kind_alone_trains_digits(kind: str) -> None:
    optimizer_class = optimizers.optimizer_class(kind)
    digits = Digits()
    if optimizer_class.max_dim is not None and len(digits.limit) > optimizer_class.max_dim:
        digits = Digits(hidden=8)
    size = optimizer_class.population_size(optimizers.options_of(kind))
    scale = digits.limit / 3**0.5
    optimizer = optimizers.build(kind, None, digits.starts(size), np.random.default_rng(0), scale=scale)
    spent, step = 0, 0
    budget = 300 if optimizer_class.needs_gradient else 10_000
    while spent < budget and not optimizer.stopped:
        ((rows, loss),) = drive(optimizer, digits.loss, (step,), spent=[spent / budget])
        spent, step = spent + len(rows), step + (not optimizer.hold_batch)
    assert float(digits.loss(rows[[int(loss.argmin())]], None)) < REACHED[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITHIN)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_kind_alone_classifies_nine_digits_of_ten(kind: str, seed: int) -> None:
    digits = Digits()
    size = optimizers.optimizer_class(kind).population_size(optimizers.options_of(kind))
    scale = digits.limit / 3**0.5
    optimizer = optimizers.build(kind, None, digits.starts(size), np.random.default_rng(seed), scale=scale)
    spent, lowest, right = 0, np.inf, 0.0
    while right < 0.9 and spent < WITHIN[kind]:
        ((rows, loss),) = drive(optimizer, lambda rows, _: digits.loss(rows, None), (0,))
        spent += len(rows)
        if loss.min() < lowest:
            lowest, best = float(loss.min()), rows[[int(loss.argmin())]]
            right = float((digits.outputs(best, slice(None)).argmax(dim=2) == digits.labels).float().mean())
    assert right >= 0.9
