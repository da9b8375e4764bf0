"""Torch's layers that `torch.func.vmap` cannot batch, or not well, behind the same names as layers that it can."""

from __future__ import annotations

from torch import nn

from gfopt.engine.attention import batchable_attention
from gfopt.engine.parametrizations import batchable_parametrizations
from gfopt.engine.recurrent import batchable_recurrent


def batchable(module: nn.Module) -> None:
    """Prepare the layers of a private copy of a user's network for populations, in place.

    Parameters, buffers and their names stay as they are, and so does what the network computes, to rounding. Doing it
    twice changes nothing.
    """
    batchable_recurrent(module)
    batchable_attention(module)
    batchable_parametrizations(module)
