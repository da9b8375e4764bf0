"""What is looked into: a problem, the network inside it, and one parameter vector at a time.

Every look returns rows `quantity`, `layer`, `name`, `value`. Where a problem lacks what a look needs, a network or a
gradient, there are none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from gfopt.diagnostics import quantities as q
from gfopt.diagnostics.activations import saturation
from gfopt.diagnostics.backward import backward_gain, gradient_flow
from gfopt.diagnostics.blindness import minibatch_rank_correlation, search_blindness
from gfopt.diagnostics.covariate_shift import input_drift, internal_covariate_shift
from gfopt.diagnostics.generations import gradient_cosine
from gfopt.diagnostics.invariance import invariances
from gfopt.diagnostics.passes import seeded_alike
from gfopt.diagnostics.updates import update_sizes
from gfopt.errors import NetworkError, NotDifferentiableError
from gfopt.problems import Problem, SubspaceProblem, SupervisedProblem

Row = dict[str, Any]

ROWS = 256  # of the batch, where a look needs outputs alone


class Subject:
    """A problem to look into.

    Args:
        problem: any problem; of a subspace, the network behind it is looked at.

    Attributes:
        network: the problem that holds the network, `None` if there is none.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._subspaces: list[SubspaceProblem] = []
        while isinstance(problem, SubspaceProblem):
            self._subspaces.append(problem)
            problem = problem.problem
        self.network = problem if isinstance(problem, SupervisedProblem) else None

    def gradient_flow(self, at: Tensor, minibatch: int, seed: int) -> list[Row]:
        """The back-propagated signal at `(D,)`; one pass with its gradient over the whole batch."""
        if self.network is None or not self.network.differentiable:
            return []
        module, inputs, loss_of = self.network.training_view(self._inner(at), minibatch, seed=seed)
        layers = gradient_flow(module, inputs, inputs, lambda outputs, _: loss_of(outputs))
        rows = q.as_rows(layers)
        if len(layers) > 1:
            rows.append(_of_run(q.BACKWARD_GAIN, backward_gain([layer.norm for layer in layers])))
        return rows

    def saturation(self, at: Tensor, minibatch: int, seed: int) -> list[Row]:
        """The activations' state at `(D,)`; one pass."""
        if self.network is None:
            return []
        module, inputs, _ = self.network.training_view(self._inner(at), minibatch, seed=seed)
        return q.as_rows(saturation(module, inputs[:ROWS]))

    def invariance(self, at: Tensor, minibatch: int, seed: int) -> list[Row]:
        """Which changes the network at `(D,)` does not see; some 30 passes a layer, in float64."""
        if self.network is None:
            return []
        module, inputs, _ = self.network.training_view(self._inner(at), minibatch, seed=seed)
        return q.as_rows(invariances(module, inputs[:ROWS]))

    def search_blindness(self, at: Tensor, minibatch: int, seed: int) -> list[Row]:
        """What the fitness sees of each layer at `(D,)`; 64 evaluations a layer."""
        if self.network is None:
            return []
        return q.as_rows(search_blindness(self.network, self._inner(at), step=minibatch, seed=seed))

    def rank_correlation(self, population: Tensor, minibatch: int, seed: int) -> list[Row]:
        """How a minibatch ranks `(P, D)`; `P` evaluations, and as many on the probe rows. None of a full batch."""
        if self.network is None or self.network.batch(0) == self.network.batch(1):
            return []
        value = minibatch_rank_correlation(self.network, self._inner(population), step=minibatch, seed=seed)
        return [_of_run(q.MINIBATCH_RANK_CORRELATION, value)]

    def updates(self, before: Tensor, after: Tensor) -> list[Row]:
        """The size of a step of each array of weights."""
        if self.network is None:
            return []
        groups = self.network.groups
        weights = {group.name for group in groups if len(group.shape) > 1}
        sizes = update_sizes(self._inner(before), self._inner(after), groups)
        return q.as_rows(size for size in sizes if size.name in weights)

    def internal_covariate_shift(self, before: Tensor, after: Tensor, minibatch: int, seed: int) -> list[Row]:
        """What a step of the layers below does to each layer; one pass with its gradient a layer, and two passes."""
        if self.network is None:
            return []
        old, new = self._inner(before), self._inner(after)
        module, inputs, loss_of = self.network.training_view(old, minibatch, seed=seed)
        groups = self.network.groups
        drift = input_drift(module, inputs[:ROWS], old, new, groups)
        if not self.network.differentiable:
            return q.as_rows(drift)
        return q.as_rows([*internal_covariate_shift(module, inputs, loss_of, old, new, groups), *drift])

    def gradient_cosine(self, before: Tensor, after: Tensor, minibatch: int, seed: int) -> list[Row]:
        """Whether a step goes downhill; one gradient."""
        if not self.problem.differentiable:
            return []
        return [_of_run(q.GRADIENT_COSINE, gradient_cosine(self.problem, before, after, step=minibatch, seed=seed))]

    def _inner(self, vectors: Tensor) -> Tensor:
        """Parameters of the network at points of the problem."""
        for subspace in self._subspaces:
            vectors = subspace.expand(vectors)
        return vectors


def attempt(look: Callable[[], list[Row]], like: Tensor) -> tuple[list[Row], str]:
    """What a look finds, and why it failed: a user's network may raise anything, which must not end a run.

    Nothing around it changes: global random numbers are put back. A network without a layer that is known, or one that
    the loss does not depend on, has no rows and is no failure.

    Args:
        look: the look.
        like: a tensor on the problem's device.
    """
    try:
        with _random_numbers_put_back(like):
            return look(), ""
    except (NetworkError, NotDifferentiableError):
        return [], ""
    except Exception as error:  # noqa: BLE001 - handed on as a sentence, for one warning
        return [], f"{type(error).__name__}: {error}"


@contextmanager
def _random_numbers_put_back(like: Tensor) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
    try:
        with seeded_alike(like):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _of_run(quantity: str, value: float) -> Row:
    return {"quantity": quantity, "layer": 0, "name": "", "value": value}
