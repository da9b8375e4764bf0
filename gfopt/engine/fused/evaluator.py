"""What the engine calls: losses and outputs of a population through the compiled loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gfopt.engine.criterion import Criterion
from gfopt.engine.fused.arrays import (
    NO_OUTPUTS,
    NO_SHARES,
    NO_TARGETS,
    NO_VALUES,
    check_arrays,
    loss_arrays,
    tile_rows,
    tiled,
)
from gfopt.engine.fused.lower import lower
from gfopt.engine.fused.lowering import NotLowered
from gfopt.nn.parameters import ParameterLayout
from gfopt.rng import torch_seeded
from gfopt.threads import in_threads

CHECKED_SAMPLES = 8  # on which a traced network is compared with itself
SCALED_BYTES = 2**23  # genomes whose weights are normalized ahead of the program, at once


class FusedEvaluator:
    """Evaluates `(P, D)` float32 genomes of a network that has a program.

    Args:
        module: the network as it shall be evaluated.
        layout: where each parameter lies in the genome.
        example: `(B, ...)` samples.

    Attributes:
        lowering: of the network.
        rows: samples in a tile.

    Raises:
        NotLowered: naming the layer that has no program.
    """

    def __init__(self, module: nn.Module, layout: ParameterLayout, example: Tensor) -> None:
        self.lowering = lower(module, layout, example)
        program = self.lowering.program
        self.rows = tile_rows(len(example), program.width, program.heaviest)
        self.classes = program.features
        self._dim, self._features = layout.dim, math.prod(example.shape[1:])
        self._ops, self._numbers, self._stages = program.arrays()
        self._table, self._lengths = program.table()
        self._sizes = np.array([program.width, program.features, program.scratch], dtype=np.int64)
        if self.lowering.traced:
            self._check(module, layout, example[:CHECKED_SAMPLES])

    def _check(self, module: nn.Module, layout: ParameterLayout, rows: Tensor) -> None:
        """Compare a user's own `forward` with what was read of it: what it does to its inputs a trace does not show."""
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        # Not as it was initialized: weights of 0 would hide what is behind them.
        vector = layout.flatten(module)
        vector = vector + 0.1 * torch.cos(torch.arange(len(vector)))
        with torch.no_grad(), torch_seeded(0):
            expected = functional_call(module, {**buffers, **layout.unflatten(vector)}, (rows,))
        found = self.outputs(vector[None], rows[None], [1])[0]
        same = expected.shape == found.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
        if not same:
            raise NotLowered(f"the forward of {type(module).__name__} computes something else than its layers in a row")

    @cached_property
    def _kernel(self) -> Any:
        # Not ahead of the first use: numba takes a second to import, and the first ever call some seconds to compile.
        from gfopt.kernels.evaluate import evaluate

        return evaluate

    def losses(
        self, population: Tensor, inputs: Tensor, criteria: Sequence[Criterion], members: Sequence[int]
    ) -> Tensor:
        """`(P,)` losses.

        Args:
            population: `(P, D)`.
            inputs: `(S, B, ...)` samples of each stream.
            criteria: the loss of each stream, all of one compiled kind.
            members: how many consecutive members see each stream.

        Raises:
            ShapeError: if arrays do not fit together.
        """
        losses = population.new_empty(len(population))
        arrays = loss_arrays(criteria, inputs.shape[1], self.classes, self.rows)
        self._run(population, inputs, members, (*arrays, losses.numpy(), NO_OUTPUTS))
        return losses

    def outputs(self, population: Tensor, inputs: Tensor, members: Sequence[int]) -> Tensor:
        """`(P, B, C)` outputs on `(S, B, ...)` samples of each stream; the caller bounds P.

        Raises:
            ShapeError: if arrays do not fit together.
        """
        outputs = population.new_empty(len(population), inputs.shape[1], self.classes)
        empty = np.empty(0, np.float32)
        self._run(population, inputs, members, (0, NO_TARGETS, NO_VALUES, NO_SHARES, empty, outputs.numpy()))
        return outputs

    def _run(self, population: Tensor, inputs: Tensor, members: Sequence[int], loss: tuple[Any, ...]) -> None:
        count, samples = inputs.shape[:2]
        inputs = inputs.detach().reshape(count, samples, -1)
        check_arrays(population, inputs, members, self._dim, self._features)
        tiles = tiled(inputs.numpy(), self.rows)
        streams = np.repeat(np.arange(count), members)
        counted = min(self.lowering.reference_rows or samples, samples)
        program = self._ops, self._numbers, self._stages, self._table, self._lengths, self._sizes

        def evaluate(genomes: Tensor, first: int, last: int, offset: int) -> None:
            part = slice(offset, offset + len(genomes))
            kind, *others, losses, outputs = loss
            self._kernel(
                genomes.numpy(), first, last, *program, tiles, streams[part], counted, kind, *others, losses[part],
                outputs[part],
            )  # fmt: skip

        for offset, genomes in self._scaled(population.detach().contiguous()):
            in_threads(len(genomes), samples * population.shape[1] // 16, partial(evaluate, genomes, offset=offset))

    def _scaled(self, population: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The genomes, in parts where weights are normalized first."""
        if not self.lowering.scalings:
            yield 0, population
            return
        size = max(1, SCALED_BYTES // (4 * population.shape[1]))
        for offset in range(0, len(population), size):
            part = population[offset : offset + size].clone()
            for scaling in self.lowering.scalings:
                scaling.apply(part)
            yield offset, part


def waits() -> bool:
    """Whether the first evaluation will have to compile the kernel, which takes seconds, once on a machine."""
    from gfopt.compiled import on_disk
    from gfopt.kernels.evaluate import evaluate

    return not on_disk(evaluate)


@cache
def ready() -> None:
    """Load the kernel, or compile it where it never was: what else the first evaluation would wait for."""
    layer = nn.utils.skip_init(nn.Linear, 1, 1)  # type: ignore[no-untyped-call] # it draws nothing
    rows = torch.zeros(1, 1)
    FusedEvaluator(layer, ParameterLayout.of(layer), rows).outputs(torch.empty(0, 2), rows[None], [0])
