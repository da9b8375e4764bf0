"""Losses and gradients of a population through the compiled loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gfopt.engine.criterion import Criterion
from gfopt.engine.fused.arrays import check_arrays, loss_arrays, tile_rows
from gfopt.engine.fused.lower import lower
from gfopt.engine.fused.lowering import Lowering, NotLowered
from gfopt.kernels.tape import padded, tape_of
from gfopt.nn.parameters import ParameterLayout
from gfopt.threads import in_threads


class FusedGradients:
    """Derives `(P, D)` float32 genomes of a network that has a program.

    Every member is derived by itself: its numbers depend neither on the others nor on the number of threads.

    Args:
        lowering: of the network.
        layout: where each parameter lies in the genome.
        example: `(B, ...)` samples.

    Attributes:
        rows: samples in a tile.

    Raises:
        NotLowered: if weights are replaced ahead of the program, where its slopes would end.
    """

    def __init__(self, lowering: Lowering, layout: ParameterLayout, example: Tensor) -> None:
        if lowering.scalings:
            kind = type(lowering.scalings[0].norm).__name__
            raise NotLowered(f"{kind} replaces weights ahead of the compiled loop")
        program, tape = lowering.program, tape_of(lowering.program)
        self.rows = tile_rows(len(example), program.width, program.heaviest)
        self._dim, self._features, self._classes = layout.dim, math.prod(example.shape[1:]), program.features
        self._reference_rows = lowering.reference_rows
        sizes = (
            program.width, program.features, program.scratch, tape.features, tape.weights, tape.sums, tape.inputs,
            tape.bottom,
        )  # fmt: skip
        self._program = *program.arrays(), *program.table(), np.array(sizes, dtype=np.int64), tape.places

    @cached_property
    def _kernels(self) -> Any:
        # Not ahead of the first use: numba takes a second to import, and the first ever call some seconds to compile.
        from gfopt.kernels import differentiate as gradient_kernel

        return gradient_kernel

    def gradients(
        self, population: Tensor, inputs: Tensor, criteria: Sequence[Criterion], members: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """`(P,)` losses and their `(P, D)` gradients.

        Args:
            population: `(P, D)`.
            inputs: `(S, B, ...)` samples of each stream.
            criteria: the loss of each stream, all of one compiled kind.
            members: how many consecutive members see each stream.

        Raises:
            ShapeError: if arrays do not fit together.
        """
        count, samples = inputs.shape[:2]
        inputs = inputs.detach().reshape(count, samples, -1)
        check_arrays(population, inputs, members, self._dim, self._features)
        genomes = population.detach().contiguous()
        losses, gradients = genomes.new_empty(len(genomes)), torch.empty_like(genomes)
        arguments = (
            *self._program, *self._tiled(inputs.contiguous().numpy()), np.repeat(np.arange(count), members),
            min(self._reference_rows or samples, samples),
            *loss_arrays(criteria, samples, self._classes, self.rows), losses.numpy(), gradients.numpy(),
        )  # fmt: skip
        differentiate, rows = self._kernels.differentiate, genomes.numpy()
        in_threads(
            len(genomes), samples * self._dim // 8, lambda first, last: differentiate(rows, first, last, *arguments)
        )
        return losses, gradients

    def _tiled(self, samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`(S, N, F)` as `(S, T, width, rows)`, and as `(S, T, rows, width)`.

        The last sample fills up the last tile. Its slopes there are 0 times what they are for itself, so it makes a
        gradient NaN only where that is NaN already; a sample of zeros could.
        """
        streams, count, features = samples.shape
        tiles, width = math.ceil(count / self.rows), padded(features)
        columns = np.empty((streams, tiles, width, self.rows), np.float32)
        lines = np.zeros((streams, tiles, self.rows, width), np.float32)
        self._kernels.lay_out(samples, columns, lines)
        return columns, lines


@cache
def ready() -> None:
    """Load the kernel, or compile it where it never was: what else the first gradient would wait for."""
    layer = nn.utils.skip_init(nn.Linear, 1, 1)  # type: ignore[no-untyped-call] # it draws nothing
    layout, rows = ParameterLayout.of(layer), torch.zeros(1, 1)
    criterion = Criterion(nn.CrossEntropyLoss(), torch.zeros(1, dtype=torch.int64), kind="cross_entropy")
    FusedGradients(lower(layer, layout, rows), layout, rows).gradients(torch.empty(0, 2), rows[None], [criterion], [0])
