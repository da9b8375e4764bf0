"""Running a network for a look inside, and leaving it as it was: values, buffers, hooks and random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gfopt.errors import NetworkError, ShapeError, expectation
from gfopt.rng import torch_seeded

if TYPE_CHECKING:
    from gfopt.types import Group


@contextmanager
def seeded_alike(inputs: Tensor) -> Iterator[None]:
    """Every block draws the same random numbers (dropout's masks), and torch's generators are put back."""
    cuda = [inputs.device] if inputs.is_cuda else []
    with torch_seeded(0), torch.random.fork_rng(cuda):
        if cuda:
            torch.cuda.manual_seed(0)
        yield


def forward(module: nn.Module, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
    """The output of `module` for `inputs` with other parameters; what it does to its buffers is forgotten.

    Args:
        module: the network; hooks that are on it run.
        inputs: `(B, ...)`.
        parameters: name to value; the others are the module's own.
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with seeded_alike(inputs):
        output: Tensor = functional_call(module, {**buffers, **(parameters or {})}, (inputs,))
    return output


def named(vector: Tensor, groups: Sequence[Group], what: str) -> dict[str, Tensor]:
    """Name to value of each parameter in a `(D,)` vector.

    Args:
        vector: `(D,)`.
        groups: its layout.
        what: the vector's name in messages.

    Raises:
        ShapeError: if the vector does not have that layout.
    """
    return {g.name: part.reshape(g.shape) for g, part in zip(groups, split(vector, groups, what), strict=True)}


def split(vector: Tensor, groups: Sequence[Group], what: str) -> list[Tensor]:
    """The entries of each group of a `(D,)` vector, flat.

    Raises:
        ShapeError: if the vector does not have that layout.
    """
    dim = max((g.slice.stop for g in groups), default=0)
    if tuple(vector.shape) != (dim,):
        raise ShapeError(f"{what}: " + expectation(f"shape ({dim},)", f"`{tuple(vector.shape)}`"))
    return [vector[g.slice] for g in groups]


def no_layers() -> NetworkError:
    """What to raise for a network without a layer to look at."""
    return NetworkError("module: " + expectation("a network that runs a layer with weights, as nn.Linear", "`none`"))
