"""The losses and gradients of P networks as one batched computation, whatever the network is.

Three strategies give the same numbers; the engine takes the first that the network allows:

- `native`: networks made of layers that gfopt knows run on stacked weights `(P, out, in)` directly;
- `vmap`: any other module through `torch.func.vmap` over stacked parameters and stacked buffers;
- `loop`: modules that torch cannot batch run member by member; a `SlowPathWarning` says why, once.

Members are evaluated in tiles so that the activations of a tile stay in the processor's cache; the tile depends on the
network and the batch alone, so that results never depend on the machine's load.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gfopt.engine.device import full_precision
from gfopt.engine.dropout import KEY, drops, member_keys
from gfopt.engine.native import native_forward
from gfopt.errors import NetworkError, SlowPathWarning
from gfopt.nn.parameters import ParameterLayout
from gfopt.rng import torch_seeded

Strategy = Literal["native", "vmap", "loop"]
Criterion = Callable[[Tensor], Tensor]  # (..., B, C) outputs -> (...) losses

# Activations of one layer that a tile of members may fill, in bytes: within the cache on a CPU, and large enough to
# keep a GPU busy. Measured on MLPs from 64-32-10 to 64-[64]x10-10.
TILE_BYTES = {"cpu": 2**21, "cuda": 2**28}
MAX_TILE = {"cpu": 32, "cuda": 4096}
SEQUENCE_BYTES = 2**28


class PopulationEngine:
    """Evaluates `(P, D)` vectors as networks of one architecture.

    Args:
        module: the network as it shall be evaluated (see `batchnorm.prepare`); never modified.
        layout: where each parameter lies in the vector.
        example: `(B, ...)` rows of the batch size that will be evaluated; they decide strategy and tile.
        strategy: force one instead of choosing; for tests and `gfopt bench`.

    Attributes:
        strategy: the way that was taken.
        reason: why torch could not batch the network, for `loop`.
        tile: members evaluated at once.
    """

    def __init__(
        self, module: nn.Module, layout: ParameterLayout, example: Tensor, *, strategy: Strategy | None = None
    ) -> None:
        self.module = module
        self.layout = layout
        self._frozen = {n: t.detach() for n, t in layout.frozen(module).items()}
        self._buffers = dict(module.named_buffers())
        self._random = drops(module)
        self._keys = [name for name in self._buffers if name.rpartition(".")[2] == KEY]
        # Looking for tied weights costs a walk through the module at every call: only where there are any.
        self._tied = _has_ties(module)
        self._native = native_forward(module)
        self.reason = ""
        self.tile = _tile(module, example)
        self.strategy: Strategy = strategy or self._choose(example[: min(len(example), 8)])

    def losses(self, population: Tensor, inputs: Tensor, criterion: Criterion, *, seed: int = 0) -> Tensor:
        """`(P,)` losses of `(P, D)` members on `(B, ...)` rows.

        Args:
            population: `(P, D)`.
            inputs: `(B, ...)` rows, the same for every member.
            criterion: from `(P, B, C)` outputs to `(P,)` losses.
            seed: of the dropout masks (see `gfopt.engine.dropout`).
        """
        if len(population) == 0:
            return population.new_empty(0)
        with torch.no_grad(), full_precision(inputs.device):
            return torch.cat([criterion(outputs) for outputs in self._tiles(population, inputs, seed)])

    def gradients(
        self, population: Tensor, inputs: Tensor, criterion: Criterion, *, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """`(P,)` losses and their `(P, D)` gradients; members do not influence each other's."""
        if len(population) == 0:
            return population.new_empty(0), torch.empty_like(population)
        losses, gradients = [], []
        # One member needs no batching: the plain module and autograd cost half of the batched path.
        single = self.strategy == "loop" or (len(population) == 1 and not self._random)
        with torch.enable_grad(), full_precision(inputs.device):
            for first, part in _split(population, 1 if single else self.tile):
                parameters = {n: t.detach().requires_grad_() for n, t in self.layout.unflatten(part).items()}
                evaluate = self._one if single else self._many
                outputs = evaluate(parameters, inputs, seed, first)
                loss = criterion(outputs)
                found = torch.autograd.grad(loss.sum(), list(parameters.values()), allow_unused=True)
                gradients.append(self._flat(part, found))
                losses.append(loss.detach())
        return torch.cat(losses), torch.cat(gradients)

    def outputs(self, population: Tensor, inputs: Tensor, *, seed: int = 0) -> Tensor:
        """`(P, B, C)` outputs of `(P, D)` members; the caller bounds P."""
        with torch.no_grad(), full_precision(inputs.device):
            return torch.cat(list(self._tiles(population, inputs, seed)))

    def _tiles(self, population: Tensor, inputs: Tensor, seed: int) -> Iterator[Tensor]:
        """`(T, B, C)` outputs of one tile of members after the other."""
        for first, part in _split(population, self.tile):
            parameters = self.layout.unflatten(part)
            # Alone, a member may lay out its memory otherwise, and with that draw another mask.
            if self.strategy != "loop" and (len(part) > 1 or self._random):
                yield self._many(parameters, inputs, seed, first)
                continue
            rows = [{n: t[i : i + 1] for n, t in parameters.items()} for i in range(len(part))]
            yield torch.cat([self._one(row, inputs, seed, first + i) for i, row in enumerate(rows)])

    def _one(self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, member: int = 0) -> Tensor:
        """`(1, B, C)` of a single member, through the plain module."""
        own = {n: t[0] for n, t in parameters.items()}
        # Buffers that the module updates while it runs must not carry over to the next member.
        buffers = {n: b.clone() for n, b in self._buffers.items()}
        for name in self._keys:
            buffers[name] = member_keys(seed, member, 1, inputs.device)[0]
        if not self._random:
            output: Tensor = self._call({**self._frozen, **buffers, **own}, inputs)
        else:
            with torch_seeded(seed):
                output = self._call({**self._frozen, **buffers, **own}, inputs)
        return output.unsqueeze(0)

    def _many(self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, first: int = 0) -> Tensor:
        """`(T, B, C)` of a tile of members, the one of number `first` and those that follow."""
        if self.strategy == "native" and self._native is not None:
            return self._native(parameters, self._frozen, inputs)
        members = len(next(iter(parameters.values())))
        buffers = {n: b.expand(members, *b.shape).clone() for n, b in self._buffers.items()}
        for name in self._keys:
            buffers[name] = member_keys(seed, first, members, inputs.device)

        def forward(own: dict[str, Tensor], state: dict[str, Tensor]) -> Tensor:
            output: Tensor = self._call({**self._frozen, **state, **own}, inputs)
            return output

        # One mask for all members of all tiles; and of attention the kernel that can be batched.
        seeded = torch_seeded(seed) if self._random else nullcontext()
        with sdpa_kernel(SDPBackend.MATH), seeded:
            return vmap(forward, randomness="same" if self._random else "error")(dict(parameters), buffers)

    def _call(self, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
        output: Tensor = functional_call(self.module, tensors, (inputs,), tie_weights=self._tied)
        return output

    def _choose(self, rows: Tensor) -> Strategy:
        """The first strategy that runs; the plain loop with a warning if torch cannot batch a layer."""
        vector = self.layout.flatten(self.module).to(rows)
        pair = vector.expand(2, -1)
        with torch.no_grad():
            self._one(
                {n: t[:1] for n, t in self.layout.unflatten(pair).items()}, rows, 0
            )  # a broken module fails here, as it is
            if self._native is not None:
                return "native"
            self.strategy = "vmap"
            try:
                self._many(self.layout.unflatten(pair), rows, 0)
            except RuntimeError as error:  # what torch.func raises for layers without a batching rule
                self.reason = str(error).splitlines()[0][:300]
        if not self.reason:
            return "vmap"
        warnings.warn(
            f"this network is evaluated member by member, because torch cannot batch one of its layers: {self.reason}",
            SlowPathWarning,
            stacklevel=4,
        )
        return "loop"

    def _flat(self, part: Tensor, found: tuple[Tensor | None, ...]) -> Tensor:
        pieces = [
            part.new_zeros(len(part), group.slice.stop - group.slice.start) if g is None else g.reshape(len(part), -1)
            for group, g in zip(self.layout.groups, found, strict=True)
        ]
        return torch.cat(pieces, dim=1)


def _split(population: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Parts of so many members, with the number of each one's first."""
    return ((first, population[first : first + size]) for first in range(0, len(population), size))


def _has_ties(module: nn.Module) -> bool:
    """Whether a parameter or buffer stands in the module under more than one name."""
    tensors = [t for m in module.modules() for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
    return len({id(t) for t in tensors}) < len(tensors)


def _tile(module: nn.Module, example: Tensor) -> int:
    """Members to evaluate at once."""
    device = example.device.type if example.device.type in TILE_BYTES else "cpu"
    width, sequence = _widest(module, example)
    tile = min(MAX_TILE[device], TILE_BYTES[device] // max(1, width * example.element_size()))
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
