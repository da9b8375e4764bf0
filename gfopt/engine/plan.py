"""How a population is going to be evaluated: the strategy, and how many members and samples at once.

The plan follows from the network, the shape of the batch, the number type and the kind of device. Nothing else: not the
size of the population, not the memory that is free, not a clock, so that the same study gives the same bits everywhere
that these agree. (Members at once are the exception on a GPU: they follow its free memory, and give way when it runs
out.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gfopt.errors import NetworkError
from gfopt.rng import torch_seeded

Strategy = Literal["fused", "native", "vmap", "loop"]

# Activations of one layer that a tile of members may fill, in bytes: within the cache on a CPU, and large enough to
# keep a GPU busy. Measured on MLPs from 64-32-10 to 64-[64]x10-10.
TILE_BYTES = {"cpu": 2**21, "cuda": 2**28}
MAX_TILE = {"cpu": 32, "cuda": 4096}
SEQUENCE_BYTES = 2**28
FREE_SHARE = (
    8  # a tile's widest activations, with what is kept beside them, fill at most an eighth of a GPU's free memory
)
KEPT = 4  # tensors as wide as the widest layer's output that live at the same time: its input, output, and two between

_WAYS = {
    "fused": "one compiled loop over members and tiles of samples, all layers and the loss in the cache",
    "native": "stacked weights through batched products of torch",
    "vmap": "torch.func.vmap over stacked weights",
    "loop": "member by member",
}


@dataclass
class Plan:
    """What an engine does.

    Attributes:
        strategy: the way that is taken.
        members: evaluated at once; 0 where that is no question.
        rows: samples in a tile; 0 where the whole batch goes through at once.
        parameters: of one member.
        batch: samples in a batch.
        device: kind of device.
        dtype: of the numbers.
        reasons: why each faster strategy was passed over.
        gradients: the way of gradients.
        separate: layers that torch cannot batch, by name, and why; they run member by member, all others do not.
    """

    strategy: Strategy
    members: int
    rows: int
    parameters: int
    batch: int
    device: str
    dtype: str
    reasons: dict[str, str]
    gradients: Strategy
    separate: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        tiles = [f"{self.members} members at once"] if self.members else ["any number of members, one after the other"]
        tiles.append(f"{self.rows} samples at once" if self.rows else "the whole batch at once")
        lines = [
            f"{self.parameters:,} parameters, batch {self.batch}, {self.dtype} on {self.device}",
            f"  losses: {self.strategy}: {_WAYS[self.strategy]}; {', '.join(tiles)}",
            f"  gradients: {self.gradients}: {_WAYS[self.gradients]}",
        ]
        lines += [f"  not {way}: {why}" for way, why in self.reasons.items()]
        lines += [f"  layer {name} member by member: {why}" for name, why in self.separate.items()]
        return "\n".join(lines)


def member_tile(module: nn.Module, example: Tensor) -> int:
    """Members to evaluate at once.

    Args:
        module: the network.
        example: `(B, ...)` rows.

    Raises:
        NetworkError: if it does not accept them.
    """
    device = example.device.type if example.device.type in TILE_BYTES else "cpu"
    width, sequence = _widest(module, example)
    tile = min(MAX_TILE[device], TILE_BYTES[device] // max(1, width * example.element_size()))
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info(example.device)
        tile = min(tile, free // (FREE_SHARE * KEPT * width * example.element_size()))
    if sequence:
        # All steps of a sequence are never in the cache at once; what they need is bounded by itself.
        tile = min(2 * tile, SEQUENCE_BYTES // (3 * sequence * example.element_size()))
    return max(1, tile)


def _widest(module: nn.Module, example: Tensor) -> tuple[int, int]:
    """Numbers in the largest output of a layer for this batch; and of one that returns its states beside it."""
    largest, sequence = 1, 0

    def look(_module: nn.Module, _args: object, output: object) -> None:
        nonlocal largest, sequence
        if isinstance(output, Tensor):
            largest = max(largest, output.numel())
        elif isinstance(output, tuple) and output and isinstance(output[0], Tensor):
            sequence = max(sequence, output[0].numel())

    handles = [m.register_forward_hook(look) for m in module.modules()]
    buffers = {n: b.clone() for n, b in module.named_buffers()}
    try:
        with torch.no_grad(), torch_seeded(0):
            functional_call(module, buffers, (example,))
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(
            f"the network does not accept rows of shape {tuple(example.shape[1:])}: {type(error).__name__}: {error}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return largest, sequence
