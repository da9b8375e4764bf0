"""The losses and gradients of P networks as one batched computation, whatever the network is.

Four strategies give the same numbers up to rounding; the engine takes the first that the network allows:

- `fused`: networks made of layers that gfopt knows, in float32 on the CPU, through one compiled loop
  (`gfopt.engine.fused`);
- `native`: the same networks in torch, on stacked weights `(P, out, in)`;
- `vmap`: any other module through `torch.func.vmap` over stacked parameters and stacked buffers;
- `loop`: modules that torch cannot batch run member by member.

Where torch cannot batch a layer, that layer alone runs member by member (`gfopt.engine.unbatchable`); the whole network
does if it is its own `forward` that cannot be batched. A `SlowPathWarning` says so, and why, once.

In torch, members are evaluated in tiles so that the activations of a tile stay in the processor's cache (see
`gfopt.engine.plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from gfopt.engine.criterion import Criterion, side_by_side
from gfopt.engine.device import Precision, products
from gfopt.engine.fused import evaluator as fused_losses
from gfopt.engine.fused import gradient as fused_gradients
from gfopt.engine.fused.evaluator import FusedEvaluator
from gfopt.engine.fused.gradient import FusedGradients
from gfopt.engine.fused.lowering import NotLowered
from gfopt.engine.members import Members
from gfopt.engine.plan import Plan, Strategy, member_tile
from gfopt.errors import NetworkError, expectation
from gfopt.nn.parameters import ParameterLayout

AnyCriterion = Callable[[Tensor], Tensor]  # (..., B, C) outputs -> (...) losses
T = TypeVar("T")


class PopulationEngine:
    """Evaluates `(P, D)` vectors as networks of one architecture.

    Args:
        module: the network as it shall be evaluated (see `batchnorm.prepare`); never modified.
        layout: where each parameter lies in the vector.
        example: `(B, ...)` rows of the batch size that will be evaluated; they decide the plan.
        strategy: force one instead of choosing; for tests and `gfopt bench`.
        precision: of products on a GPU.

    Attributes:
        plan: what is done, and why nothing faster.
        strategy: the way of the losses.
        tile: members evaluated at once in torch; halved when a GPU runs out of memory.

    Raises:
        NetworkError: if the network does not accept the rows, or has no `strategy` of the one asked for.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: ParameterLayout,
        example: Tensor,
        *,
        strategy: Strategy | None = None,
        precision: Precision = "full",
    ) -> None:
        self.module = module
        self.layout = layout
        self._precision = precision
        self._reasons: dict[str, str] = {}
        self._members = Members(module, layout, precision)
        self.tile = member_tile(module, example)
        self._fused = self._compiled(example) if strategy in (None, "fused") else None
        self._derived = None if self._fused is None else self._differentiated(self._fused, example)
        if strategy == "fused" and self._fused is None:
            raise NetworkError("strategy: " + expectation("a network with a fused kernel", self._reasons["fused"]))
        self._members.choose(example[: min(len(example), 8)], None if strategy == "fused" else strategy)
        self.strategy: Strategy = self._members.strategy if self._fused is None else "fused"
        self._batch = len(example), example.device.type, str(example.dtype).removeprefix("torch.")

    @property
    def reason(self) -> str:
        """Why torch could not batch the network, for `loop`."""
        return self._members.reason

    @property
    def plan(self) -> Plan:
        """What is done, and why nothing faster."""
        gradients: Strategy = self._members.strategy if self._derived is None else "fused"
        members, rows = (self.tile, 0) if self._fused is None else (0, self._fused.rows)
        if self.strategy == "loop":
            members = 1
        batch, device, dtype = self._batch
        reasons = dict(self._reasons) if self._fused is not None else self._reasons | self._members.reasons
        separate = dict(self._members.separate)
        return Plan(self.strategy, members, rows, self.layout.dim, batch, device, dtype, reasons, gradients, separate)

    def ready(self, *, gradient: bool = False) -> None:
        """Load the kernels, or compile them where they never were: what the first evaluation would wait for."""
        if self._fused is not None:
            fused_losses.ready()
        if self._derived is not None and gradient:
            fused_gradients.ready()

    def losses(self, population: Tensor, inputs: Tensor, criterion: AnyCriterion, *, seed: int = 0) -> Tensor:
        """`(P,)` losses of `(P, D)` members on `(B, ...)` rows.

        Args:
            population: `(P, D)`.
            inputs: `(B, ...)` rows, the same for every member.
            criterion: from `(P, B, C)` outputs to `(P,)` losses; a `Criterion` of a known kind goes into the kernel.
            seed: of the dropout masks (see `gfopt.engine.dropout`).
        """
        if len(population) == 0:
            return population.new_empty(0)
        if self._fused is not None and self._fuses(criterion):
            return self._fused.losses(population, inputs[None], [criterion], [len(population)])

        def losses(part: Tensor, first: int) -> Tensor:
            return criterion(self._outputs(part, inputs, seed, first))

        with torch.no_grad(), products(inputs.device, self._precision), self._members.kernels(inputs):
            return torch.cat(list(self._tiles(population, losses)))

    def losses_of_streams(
        self, population: Tensor, inputs: Tensor, criteria: Sequence[AnyCriterion], members: Sequence[int],
        seeds: Sequence[int],
    ) -> Tensor:  # fmt: skip
        """`(P,)` losses where every stream of members sees rows of its own.

        Args:
            population: `(P, D)`, the members of the first stream ahead of those of the second, and so on.
            inputs: `(S, B, ...)` rows of each stream.
            criteria: the loss of each stream.
            members: how many members see each stream.
            seeds: of each stream's dropout masks.
        """
        known = [criterion for criterion in criteria if self._fuses(criterion)]
        if self._fused is not None and len(known) == len(criteria):
            return self._fused.losses(population, inputs, known, members)
        parts = torch.split(population, list(members))
        each = zip(parts, inputs, criteria, seeds, strict=True)
        return torch.cat([self.losses(part, rows, loss, seed=seed) for part, rows, loss, seed in each])

    def gradients(
        self, population: Tensor, inputs: Tensor, criterion: AnyCriterion, *, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """`(P,)` losses and their `(P, D)` gradients; members do not influence each other's."""
        if self._derived is not None and self._fuses(criterion):
            return self._derived.gradients(population, inputs[None], [criterion], [len(population)])
        # One member needs no batching: the plain module and autograd cost half of the batched path.
        members = self._members
        single = members.strategy == "loop" or (len(population) == 1 and not members.random)
        evaluate = members.one if single else members.together

        def gradients(part: Tensor, first: int) -> tuple[Tensor, Tensor]:
            return self._derive(part, lambda own: criterion(evaluate(own, inputs, seed, first)))

        return self._gathered(population, inputs, gradients, 1 if single else None)

    def gradients_of_streams(
        self, population: Tensor, inputs: Tensor, criteria: Sequence[AnyCriterion], seeds: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """`(P,)` losses and `(P, D)` gradients where every member sees `(B, ...)` rows of its own.

        Args:
            population: `(P, D)`.
            inputs: `(P, B, ...)` rows of each member.
            criteria: the loss of each member.
            seeds: of each member's dropout masks.
        """
        known = [criterion for criterion in criteria if self._fuses(criterion)]
        if self._derived is not None and len(known) == len(criteria):
            return self._derived.gradients(population, inputs, known, [1] * len(population))
        if self._members.strategy == "loop" or self._members.draws:
            each = zip(population, inputs, criteria, seeds, strict=True)
            found = [self.gradients(one[None], rows, loss, seed=seed) for one, rows, loss, seed in each]
            return torch.cat([loss for loss, _ in found]), torch.cat([slopes for _, slopes in found])

        def gradients(part: Tensor, first: int) -> tuple[Tensor, Tensor]:
            mine = slice(first, first + len(part))
            loss = side_by_side(criteria[mine])
            return self._derive(part, lambda own: loss(self._members.together(own, inputs[mine], own_rows=True)))

        return self._gathered(population, inputs, gradients)

    def outputs(self, population: Tensor, inputs: Tensor, *, seed: int = 0) -> Tensor:
        """`(P, B, C)` outputs of `(P, D)` members; the caller bounds P."""
        with torch.no_grad(), products(inputs.device, self._precision), self._members.kernels(inputs):
            return torch.cat(list(self._tiles(population, lambda part, at: self._outputs(part, inputs, seed, at))))

    def _fuses(self, criterion: AnyCriterion) -> TypeGuard[Criterion]:
        """Whether the kernel does this loss too."""
        return self._fused is not None and isinstance(criterion, Criterion) and bool(criterion.kind)

    def _outputs(self, part: Tensor, inputs: Tensor, seed: int, first: int) -> Tensor:
        """`(T, B, C)` of a tile of members, the one of number `first` and those that follow."""
        if self._fused is not None:
            return self._fused.outputs(part, inputs[None], [len(part)])
        parameters, members = self.layout.unflatten(part), self._members
        # Alone, a member may lay out its memory otherwise, and with that draw another mask.
        if members.strategy != "loop" and (len(part) > 1 or members.random):
            return members.together(parameters, inputs, seed, first)
        return members.each(parameters, inputs.expand(len(part), *inputs.shape), seed, first)

    def _derive(self, part: Tensor, loss_of: Callable[[dict[str, Tensor]], Tensor]) -> tuple[Tensor, Tensor]:
        """`(T,)` losses of a tile of members, and their `(T, D)` gradients."""
        parameters = {n: t.detach().requires_grad_() for n, t in self.layout.unflatten(part).items()}
        loss = loss_of(parameters)
        found = torch.autograd.grad(loss.sum(), list(parameters.values()), allow_unused=True)
        return loss.detach(), self._flat(part, found)

    def _gathered(
        self,
        population: Tensor,
        inputs: Tensor,
        gradients: Callable[[Tensor, int], tuple[Tensor, Tensor]],
        tile: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        if len(population) == 0:
            return population.new_empty(0), torch.empty_like(population)
        with torch.enable_grad(), products(inputs.device, self._precision):
            found = list(self._tiles(population, gradients, tile))
        return torch.cat([loss for loss, _ in found]), torch.cat([slopes for _, slopes in found])

    def _tiles(self, population: Tensor, work: Callable[[Tensor, int], T], tile: int | None = None) -> Iterator[T]:
        """`work` for one tile of members after the other, with the number of its first.

        When a GPU runs out of memory the tile is halved, for good, and the same members are tried again.
        """
        first = 0
        while first < len(population):
            part = population[first : first + (tile or self.tile)]
            try:
                found = work(part, first)
            except torch.OutOfMemoryError:
                if len(part) == 1 or tile is not None:
                    raise
                self.tile = max(1, len(part) // 2)
                torch.cuda.empty_cache()
                continue
            yield found
            first += len(part)

    def _compiled(self, example: Tensor) -> FusedEvaluator | None:
        """The kernel of this network; without one, the reason is kept."""
        if example.device.type != "cpu" or example.dtype != torch.float32 or self._precision != "full":
            self._reasons["fused"] = "only for float32 on the CPU"
            return None
        try:
            return FusedEvaluator(self.module, self.layout, example)
        except NotLowered as reason:
            self._reasons["fused"] = str(reason)
            return None

    def _differentiated(self, fused: FusedEvaluator, example: Tensor) -> FusedGradients | None:
        """The kernel of this network's gradients; without one, the reason is kept."""
        try:
            return FusedGradients(fused.lowering, self.layout, example)
        except NotLowered as reason:
            self._reasons["fused gradients"] = str(reason)
            return None

    def _flat(self, part: Tensor, found: tuple[Tensor | None, ...]) -> Tensor:
        pieces = [
            part.new_zeros(len(part), group.slice.stop - group.slice.start) if g is None else g.reshape(len(part), -1)
            for group, g in zip(self.layout.groups, found, strict=True)
        ]
        return torch.cat(pieces, dim=1)
