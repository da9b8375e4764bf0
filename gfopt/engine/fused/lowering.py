"""What a walk through a network collects: its program, and where its parameters are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gfopt.engine.batchnorm import BatchStatistics
from gfopt.engine.fused.traced import OF_LIBRARIES, NotTraced, chain_of
from gfopt.kernels.program import ADD, AFFINE, BATCH, KEEP, LINEAR, NOWHERE, STANDARDIZE, Program
from gfopt.nn.normalization import RowStatistics
from gfopt.nn.normalization.weights import WeightReparametrization
from gfopt.nn.parameters import ParameterLayout

Layers = Mapping[type[nn.Module], Callable[..., None]]
Kinds = Sequence[type[nn.Module]]


class NotLowered(Exception):
    """A layer that has no program; the message says which, and why."""


@dataclass(frozen=True)
class Scaling:
    """A weight that a normalization replaces before the program runs.

    Attributes:
        norm: computes it from stacked weights `(1, out, in)` and gains `(1, out)`.
        weight: its entries of the genome.
        shape: `(out, in)`.
        gain: the gain's entries, `None` where there is none.
    """

    norm: WeightReparametrization
    weight: slice
    shape: tuple[int, ...]
    gain: slice | None

    def apply(self, genomes: Tensor) -> None:
        """Replace the weights of `(T, D)` genomes, in place."""
        for genome in genomes:  # torch's batched products round otherwise in another stack, or at another place of it
            rows = genome[self.weight].reshape(1, *self.shape)
            gain = None if self.gain is None else genome[None, self.gain]
            # Eigenvalues of what is not finite are an error; this bounds every product of two rows.
            finite = rows.square().sum() < torch.inf
            scaled = torch.where(finite, self.norm.scaled(torch.where(finite, rows, 0), gain), torch.nan)
            genome[self.weight] = scaled.flatten()


class Lowering:
    """Walks through a network and collects its program.

    Args:
        layout: where each parameter lies in the genome.
        module: the network.
        sample: shape of a sample.
        layers: what adds each kind of layer.
        flattening: kinds of layers that take samples of any shape.

    Attributes:
        program: what was collected.
        flat: whether samples have become flat rows by now.
        traced: whether a `forward` of a user's own was read.
        scalings: weights to replace ahead of it.
        reference_rows: leading samples that give the statistics of batches, 0 for all; `None` without batch norms.
    """

    def __init__(
        self, layout: ParameterLayout, module: nn.Module, sample: Sequence[int], layers: Layers, flattening: Kinds
    ) -> None:
        self._layers, self._flattening = layers, flattening
        self.program = Program(math.prod(sample))
        self.flat = len(sample) == 1
        self.traced = False
        self.scalings: list[Scaling] = []
        self.reference_rows: int | None = None
        genes = {group.name: group for group in layout.groups}
        self._read: Counter[int] = Counter()
        # By identity: a tied parameter has one place and several names.
        self._genes = {id(p): genes[name] for name, p in module.named_parameters() if name in genes}

    def layer(self, module: nn.Module) -> None:
        """Add what a layer computes.

        Raises:
            NotLowered: if there is no program for it.
        """
        kind = type(module)  # not subclasses: they may compute something else
        if "forward" in vars(module):
            raise NotLowered(f"the forward of a {kind.__name__} was replaced")
        if parametrize.is_parametrized(module) or (
            kind not in self._layers and kind.__module__.startswith(OF_LIBRARIES)
        ):
            raise NotLowered(f"{kind.__name__} has no compiled form")
        if kind not in self._layers:
            self._chain(module)
            return
        if not self.flat and kind not in self._flattening:
            raise NotLowered("samples are no flat rows")
        self._layers[kind](self, module)

    def _chain(self, module: nn.Module) -> None:
        """Add the layers of a network of a class that is not known."""
        self.traced = True
        try:
            chain = chain_of(module, tuple(self._layers))
        except NotTraced as reason:
            raise NotLowered(f"{type(module).__name__}: {reason}") from None
        kept = 0
        for part in chain:
            if isinstance(part, nn.Module):
                self.layer(part)
            elif part == "keep":
                kept = self.program.features
                self.program.add(KEEP, kept)
            elif kept != self.program.features:
                raise NotLowered(f"a sum of {kept} and {self.program.features} features")
            else:
                self.program.add(ADD, kept)

    def place(self, parameter: Tensor | None) -> int:
        """Where a parameter begins in the genome."""
        if parameter is None:
            return NOWHERE
        place: int = self.entries(parameter).start
        self._read[place] += 1
        return place

    def check(self) -> None:
        """Refuse what each layer by itself allows, but not all of them together.

        Raises:
            NotLowered: for a weight that is replaced ahead of the program and that something else reads too, or more
                than one tile to put aside.
        """
        if any(self._read[scaling.weight.start] > 1 for scaling in self.scalings):
            raise NotLowered("a tied weight has one normalization at each of its places")
        skips = [op[0] for op in self.program.ops if op[0] in (KEEP, ADD)]
        if any(code == following for code, following in pairwise(skips)):
            raise NotLowered("skips inside of skips")

    def entries(self, parameter: Tensor) -> slice:
        """A parameter's entries of the genome."""
        group = self._genes.get(id(parameter))
        if group is None:
            raise NotLowered("a frozen parameter is the same for all members")
        return group.slice

    def linear(self, units: int, inputs: int, weight: int, bias: int = NOWHERE, *, normalized: bool = False) -> None:
        """`W x + b`."""
        if inputs != self.program.features:
            raise NotLowered(f"a layer of {inputs} inputs behind {self.program.features} features")
        self.program.add(LINEAR, units, inputs, weight, bias, int(normalized))

    def affine(self, gain: Tensor | None, shift: Tensor | None) -> None:
        """`g x + b`."""
        if gain is not None or shift is not None:
            self.program.add(AFFINE, self.program.features, self.place(gain), self.place(shift))

    def statistics(self, layer: nn.Module) -> None:
        """Take note of which samples give a batch norm's statistics; they are the same for all layers."""
        forgets = isinstance(layer, RowStatistics) and layer.training and not layer.remember
        if not forgets and not isinstance(layer, BatchStatistics):
            raise NotLowered("statistics of earlier batches are remembered")
        self.reference_rows = layer.reference_rows  # type: ignore[assignment] # a module's attributes are untyped

    def batch(self, eps: float, gain: Tensor | None, shift: Tensor | None, *, scales: bool) -> None:
        """`(x - mu) / sigma` over the batch, `sigma = 1` unless it `scales`; then gain and shift."""
        self.program.add(BATCH, self.program.features, int(scales), self.place(gain), self.place(shift), number=eps)

    def standardize(self, eps: float, *, groups: int = 1, centred: bool = True, of_length: bool = False) -> None:
        """`(x - mu) / sigma` over the features of each group of one sample."""
        others = groups, int(centred), int(of_length)
        self.program.add(STANDARDIZE, self.program.features, *others, number=eps)
