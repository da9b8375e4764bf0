"""The networks and data of the benchmark, as a gfopt problem and as the same task in plain tensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from gfopt import data
from gfopt.bench.options import DIGITS_ROWS, sizes_of
from gfopt.bench.peers import Task
from gfopt.problems import SupervisedProblem

SEED = 0


@cache
def digits() -> data.Dataset:
    """The first 1437 of scikit-learn's digits to train on, the other 360 to test."""
    x, y = load_digits(return_X_y=True)
    train, test = slice(DIGITS_ROWS), slice(DIGITS_ROWS, None)
    return data.from_arrays(x[train], y[train], validation_fraction=0.0, test=(x[test], y[test]), name="digits")


@cache
def random_rows(features: int, classes: int, rows: int) -> data.Dataset:
    """Normal inputs with random labels: the time of an evaluation does not depend on what they are."""
    generator = np.random.default_rng(SEED)
    x, y = generator.standard_normal((rows, features)), np.arange(rows) % classes
    return data.from_arrays(
        x, y, validation_fraction=0.0, test=(x[:classes], y[:classes]), task="classification", name="random rows"
    )


def mlp_problem(network: str, batch: int, *, norm: str = "none", device: str = "cpu") -> SupervisedProblem:
    """A tanh MLP with cross-entropy: on digits where its sizes fit, else on random rows."""
    sizes = sizes_of(network)
    fits = sizes[0] == 64 and sizes[-1] == 10
    dataset = digits() if fits else random_rows(sizes[0], sizes[-1], max(batch, sizes[-1]))
    spec: dict[str, Any] = {"kind": "mlp", "hidden": list(sizes[1:-1]), "activation": "tanh", "norm": norm}
    size = None if batch >= len(dataset.x_train) else batch
    return SupervisedProblem(spec, dataset, batch_size=size, device=device)


def population_of(problem: SupervisedProblem, members: int) -> Tensor:
    """`(members, D)` networks: one initialization, with noise of its own scale on each."""
    noise = torch.randn(members, problem.dim, generator=torch.Generator().manual_seed(SEED))
    return problem.initial(1, SEED) + 0.5 * problem.scale * noise.to(problem.device)


def task_of(problem: SupervisedProblem, population: Tensor, sizes: tuple[int, ...] = ()) -> Task:
    """The rows of the problem's first minibatch in plain tensors, and a network of its kind."""
    x, y = problem.dataset.x_train, problem.dataset.y_train
    rows = data.batch_rows(len(x), problem.batch_size, SEED, 0)
    module: nn.Module = problem.template().to(problem.device).requires_grad_(False)
    inputs = torch.tensor(x[rows], dtype=torch.float32, device=problem.device)
    return Task(module, problem.layout, sizes, inputs, torch.tensor(y[rows], device=problem.device), population)


def evaluator(problem: SupervisedProblem, population: Tensor) -> Callable[[], Tensor]:
    """What calls the problem as an optimizer does, with the next minibatch at each call, from the first."""
    step = -1

    def evaluate() -> Tensor:
        nonlocal step
        step += 1
        return problem.evaluate(population, step, seed=SEED).loss

    return evaluate


def available_memory() -> int:
    """Bytes that may be had without swapping; all of the memory where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = {line.split(":")[0]: line.split()[1] for line in lines}
        return 1024 * int(found["MemAvailable"])
    except (OSError, KeyError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**33
