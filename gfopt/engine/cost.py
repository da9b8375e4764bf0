"""What one sample costs one network: floating-point operations, counted once on the plain reference path."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gfopt.engine.batchable import batchable
from gfopt.errors import NetworkError
from gfopt.rng import torch_seeded, undisturbed

# Layers whose matrix is looked up, not multiplied: they cost no operations.
_LOOKUPS = (nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True)
class MeasuredCost:
    """Operations of one sample: `forward`, and `backward` (0 where no gradient is wanted)."""

    forward: float
    backward: float


def measure_cost(module: nn.Module, inputs: Tensor, loss: Callable[[Tensor], Tensor] | None) -> MeasuredCost:
    """Operations of a forward and a backward pass of one sample, counted on `(B, ...)` rows.

    The backward:forward ratio is a property of the network (2.15 for 784-128-128-10, 2.96 for a small convolutional
    one): the first layer needs no gradient of its input. Elementwise work, normalization included, is not counted by
    torch's counter, which is why reports show seconds beside operations.

    Args:
        module: the network, on the CPU; not modified.
        inputs: `(B, ...)` rows, on the CPU.
        loss: from outputs to a scalar; `None` leaves the backward pass out.

    Raises:
        NetworkError: naming a layer with a weight matrix whose operations torch's counter cannot see.
    """
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    module = copy.deepcopy(module)  # it collects gradients
    batchable(module)  # the counter reads next to nothing for torch's fused recurrent layers
    # Torch's counter imports its compiler, which sets an environment variable.
    with undisturbed(), torch_seeded(0), _decomposed(), _layers_that_run(module) as ran:
        with FlopCounterMode(display=False) as counter, torch.enable_grad():
            output = torch.func.functional_call(module, buffers, (inputs,))
            forward = counter.get_total_flops()
            seen = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
            if loss is not None:
                loss(output).backward()  # type: ignore[no-untyped-call] # untyped in torch
        backward = counter.get_total_flops() - forward
    _check_counted(module, seen, ran)
    if not forward:
        raise NetworkError(
            f"the operations of {type(module).__name__} cannot be counted: torch's counter saw no matrix product or "
            "convolution in it, so its cost cannot be compared. Write its products with torch.matmul or nn.Linear"
        )
    return MeasuredCost(forward / len(inputs), backward / len(inputs))


def _check_counted(module: nn.Module, seen: Mapping[str, int], ran: set[str]) -> None:
    for name, layer in module.named_modules():
        matrix = any(p.ndim >= 2 for p in layer.parameters(recurse=False))
        leaf = next(layer.children(), None) is None
        if name not in ran or not matrix or not leaf or isinstance(layer, _LOOKUPS):
            continue
        counted = [flops for path, flops in seen.items() if path == name or path.endswith(f".{name}")]
        if name and not any(counted):
            raise NetworkError(
                f"the operations of layer {name!r} ({type(layer).__name__}) cannot be counted, so its cost cannot be "
                "compared. Write its products with torch.matmul, torch.einsum or nn.Linear"
            )


@contextmanager
def _layers_that_run(module: nn.Module) -> Iterator[set[str]]:
    ran: set[str] = set()
    handles = [
        layer.register_forward_pre_hook(lambda _m, _a, name=name: ran.add(name))
        for name, layer in module.named_modules()
    ]
    try:
        yield ran
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _decomposed() -> Iterator[None]:
    """Fused kernels off: the counter reads 0 for a fused LSTM or attention, and the truth for its plain products."""
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")  # torch warns about TF32 of GPUs that are not there
        with torch.backends.mkldnn.flags(enabled=False):
            yield
