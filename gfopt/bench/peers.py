"""How others evaluate a population of MLPs: what a user writes, or finds in a tutorial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.utils import vector_to_parameters

from gfopt.nn import ParameterLayout

Evaluate = Callable[[], Tensor]  # the losses of the members that it evaluates


@dataclass(frozen=True)
class Task:
    """What is evaluated.

    Attributes:
        module: the network; peers change its parameters.
        layout: where each parameter lies in a vector.
        sizes: units of each layer of an MLP, inputs first; empty for another network.
        inputs: `(B, ...)` rows.
        targets: `(B,)` class indices.
        population: `(P, D)`.
    """

    module: nn.Module
    layout: ParameterLayout
    sizes: tuple[int, ...]
    inputs: Tensor
    targets: Tensor
    population: Tensor

    def loss(self) -> Tensor:
        """The loss of what the module holds."""
        return F.cross_entropy(self.module(self.inputs), self.targets)


def module_loop(task: Task, count: int) -> Evaluate:
    """Member by member through the module, without gradients."""
    rows = task.population[:count]

    def evaluate() -> Tensor:
        losses = []
        with torch.no_grad():
            for vector in rows:
                vector_to_parameters(vector, task.module.parameters())
                losses.append(task.loss())
        return torch.stack(losses)

    return evaluate


def deap_lists(task: Task, count: int) -> Evaluate:
    """DEAP's way: an individual is a list of floats, which its evaluation makes a tensor of."""
    individuals = [row.tolist() for row in task.population[:count]]

    def one(individual: list[float]) -> float:
        vector_to_parameters(torch.tensor(individual), task.module.parameters())
        with torch.no_grad():
            return task.loss().item()

    return lambda: torch.tensor([one(individual) for individual in individuals])


def hand_vmap(task: Task, chunk: int | None = None) -> Evaluate:
    """`torch.func.vmap` over the population, all of it at once or in chunks."""

    def one(vector: Tensor) -> Tensor:
        own = {group.name: vector[group.slice].reshape(group.shape) for group in task.layout.groups}
        return F.cross_entropy(functional_call(task.module, own, (task.inputs,)), task.targets)

    batched = vmap(one, chunk_size=chunk)

    def evaluate() -> Tensor:
        with torch.no_grad():
            return batched(task.population)

    return evaluate


def numpy_loop(task: Task, count: int, dtype: DTypeLike) -> Evaluate:
    """Member by member in numpy: what pyswarms' tutorial on neural networks shows, which is in float64."""
    inputs, targets = task.inputs.numpy().astype(dtype), task.targets.numpy()
    particles = task.population[:count].numpy().astype(dtype)
    return lambda: torch.from_numpy(numpy_losses(particles, inputs, targets, task.sizes))


def numpy_losses(
    particles: NDArray[Any], inputs: NDArray[Any], targets: NDArray[Any], sizes: tuple[int, ...]
) -> NDArray[Any]:
    """`(P,)` losses of `(P, D)` particles, one after the other."""
    numbers = np.arange(len(targets))

    def one(particle: NDArray[Any]) -> float:
        h = inputs
        for last, weight, bias in _layers(particle, sizes):
            z = h.dot(weight.T) + bias
            h = z if last else np.tanh(z)
        exponentials = np.exp(h)
        shares = exponentials / exponentials.sum(axis=1, keepdims=True)
        return float(-np.log(shares[numbers, targets]).mean())

    return np.array([one(particle) for particle in particles])


def _layers(vector: NDArray[Any], sizes: tuple[int, ...]) -> Iterator[tuple[bool, NDArray[Any], NDArray[Any]]]:
    """Whether it is the last layer, its weights `(out, in)` and its biases `(out,)`, one layer after the other."""
    place = 0
    for number, (before, after) in enumerate(pairwise(sizes)):
        weight = vector[place : place + before * after].reshape(after, before)
        place += before * after
        yield number == len(sizes) - 2, weight, vector[place : place + after]
        place += after
