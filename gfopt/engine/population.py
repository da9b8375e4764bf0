"""The losses and gradients of P networks as one batched computation, whatever the network is.

Four strategies give the same numbers up to rounding; the engine takes the first that the network allows:

- `fused`: losses of networks made of layers that gfopt knows, in float32 on the CPU, through one compiled loop
  (`gfopt.engine.fused`); their gradients are `native`;
- `native`: the same networks in torch, on stacked weights `(P, out, in)`;
- `vmap`: any other module through `torch.func.vmap` over stacked parameters and stacked buffers;
- `loop`: modules that torch cannot batch run member by member.

Where torch cannot batch a layer, that layer alone runs member by member (`gfopt.engine.unbatchable`); the whole network
does if it is its own `forward` that cannot be batched. A `SlowPathWarning` says so, and why, once.

In torch, members are evaluated in tiles so that the activations of a tile stay in the processor's cache (see
`gfopt.engine.plan`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gfopt.engine.criterion import Criterion, side_by_side
from gfopt.engine.device import Precision, lowered, products, seeded
from gfopt.engine.dropout import KEY, drops, member_keys
from gfopt.engine.fused import evaluator as fused_losses
from gfopt.engine.fused import gradient as fused_gradients
from gfopt.engine.fused.evaluator import FusedEvaluator
from gfopt.engine.fused.gradient import FusedGradients
from gfopt.engine.fused.lower import NotLowered
from gfopt.engine.native import native_forward
from gfopt.engine.plan import Plan, Strategy, member_tile
from gfopt.engine.unbatchable import MembersDiffer, isolate
from gfopt.errors import NetworkError, SlowPathWarning, expectation
from gfopt.nn.parameters import ParameterLayout

AnyCriterion = Callable[[Tensor], Tensor]  # (..., B, C) outputs -> (...) losses
T = TypeVar("T")

SAME = 1e-3  # relative difference of outputs: far above rounding, far below what another order of writes makes


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
        reason: why torch could not batch the network, for `loop`.
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
        self._batch_module = module  # what is batched: with layers that run by themselves, a copy
        self._separate: dict[str, str] = {}
        self._precision = precision
        self.layout = layout
        self._frozen = {n: t.detach() for n, t in layout.frozen(module).items()}
        self._buffers = dict(module.named_buffers())
        self._random = drops(module)
        self._keys = [name for name in self._buffers if name.rpartition(".")[2] == KEY]
        # Looking for tied weights costs a walk through the module at every call: only where there are any.
        self._tied = _has_ties(module)
        self._reasons: dict[str, str] = {}
        self._native = native_forward(module)
        self.reason = ""
        self.tile = member_tile(module, example)
        self._fused = self._compiled(example) if strategy in (None, "fused") else None
        self._derived = None if self._fused is None else self._differentiated(self._fused, example)
        self.strategy: Strategy = self._choose(example[: min(len(example), 8)], strategy)
        if strategy == "fused" and self._fused is None:
            raise NetworkError("strategy: " + expectation("a network with a fused kernel", self._reasons["fused"]))
        self._batch = len(example), example.device.type, str(example.dtype).removeprefix("torch.")

    @property
    def plan(self) -> Plan:
        """What is done, and why nothing faster."""
        gradients: Strategy = self.strategy
        if gradients == "fused" and self._derived is None:
            gradients = "vmap" if self._native is None else "native"
        fused = self._fused if self.strategy == "fused" else None
        members, rows = (self.tile, 0) if fused is None else (0, fused.rows)
        if self.strategy == "loop":
            members = 1
        batch, device, dtype = self._batch
        reasons, separate = dict(self._reasons), dict(self._separate)
        return Plan(self.strategy, members, rows, self.layout.dim, batch, device, dtype, reasons, gradients, separate)

    def ready(self, *, gradient: bool = False) -> None:
        """Load the kernels, or compile them where they never were: what the first evaluation would wait for."""
        if self._fused is not None and self.strategy == "fused":
            fused_losses.ready()
        if self._derived is not None and self.strategy == "fused" and gradient:
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

        with torch.no_grad(), products(inputs.device, self._precision):
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
        single = self.strategy == "loop" or (len(population) == 1 and not self._random)
        evaluate = self._one if single else self._together

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
        if self.strategy == "loop" or self._random or self._keys:
            each = zip(population, inputs, criteria, seeds, strict=True)
            found = [self.gradients(one[None], rows, loss, seed=seed) for one, rows, loss, seed in each]
            return torch.cat([loss for loss, _ in found]), torch.cat([slopes for _, slopes in found])

        def gradients(part: Tensor, first: int) -> tuple[Tensor, Tensor]:
            mine = slice(first, first + len(part))
            loss = side_by_side(criteria[mine])
            return self._derive(part, lambda own: loss(self._together(own, inputs[mine], own_rows=True)))

        return self._gathered(population, inputs, gradients)

    def outputs(self, population: Tensor, inputs: Tensor, *, seed: int = 0) -> Tensor:
        """`(P, B, C)` outputs of `(P, D)` members; the caller bounds P."""
        with torch.no_grad(), products(inputs.device, self._precision):
            return torch.cat(list(self._tiles(population, lambda part, at: self._outputs(part, inputs, seed, at))))

    def _fuses(self, criterion: AnyCriterion) -> TypeGuard[Criterion]:
        """Whether the kernel does this loss too."""
        return self.strategy == "fused" and isinstance(criterion, Criterion) and bool(criterion.kind)

    def _outputs(self, part: Tensor, inputs: Tensor, seed: int, first: int) -> Tensor:
        """`(T, B, C)` of a tile of members, the one of number `first` and those that follow."""
        if self.strategy == "fused" and self._fused is not None:
            return self._fused.outputs(part, inputs[None], [len(part)])
        parameters = self.layout.unflatten(part)
        # Alone, a member may lay out its memory otherwise, and with that draw another mask.
        if self.strategy != "loop" and (len(part) > 1 or self._random):
            return self._together(parameters, inputs, seed, first)
        return self._each(parameters, inputs.expand(len(part), *inputs.shape), seed, first)

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

    def _each(self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, first: int = 0) -> Tensor:
        """`(T, B, C)` member by member, on `(T, B, ...)` rows."""
        members = [{n: t[i : i + 1] for n, t in parameters.items()} for i in range(len(inputs))]
        each = enumerate(zip(members, inputs, strict=True))
        return torch.cat([self._one(own, rows, seed, first + i) for i, (own, rows) in each])

    def _one(self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, member: int = 0) -> Tensor:
        """`(1, B, C)` of a single member, through the plain module."""
        own = {n: t[0] for n, t in parameters.items()}
        # Buffers that the module updates while it runs must not carry over to the next member.
        buffers = {n: b.clone() for n, b in self._buffers.items()}
        for name in self._keys:
            buffers[name] = member_keys(seed, member, 1, inputs.device)[0]
        if not self._random:
            output = self._call(self.module, {**self._frozen, **buffers, **own}, inputs)
        else:
            with seeded(seed, inputs.device):
                output = self._call(self.module, {**self._frozen, **buffers, **own}, inputs)
        return output.unsqueeze(0)

    def _together(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int = 0, first: int = 0, *, own_rows: bool = False
    ) -> Tensor:
        """`(T, B, C)` of a tile of members, the one of number `first` and those that follow.

        Args:
            parameters: stacked ones.
            inputs: `(B, ...)`, or `(T, B, ...)` if each member has its own rows.
            seed: of the dropout masks.
            first: number of the first member.
            own_rows: see `inputs`.
        """
        try:
            return self._many(parameters, inputs, seed, first, own_rows)
        except MembersDiffer:  # in a layer that runs by itself: only the whole network gives each its own way
            members = len(next(iter(parameters.values())))
            return self._each(parameters, inputs if own_rows else inputs.expand(members, *inputs.shape), seed, first)

    def _many(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, first: int = 0, own_rows: bool = False
    ) -> Tensor:
        if self.strategy in ("fused", "native") and self._native is not None and not own_rows:
            with lowered(inputs.device, self._precision):
                return self._native(parameters, self._frozen, inputs).to(inputs.dtype)
        return self._batched(parameters, inputs, seed, first, own_rows)

    def _batched(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, first: int, own_rows: bool
    ) -> Tensor:
        """`(T, B, C)` through `torch.func.vmap`."""
        members = len(next(iter(parameters.values())))
        buffers = {n: b.expand(members, *b.shape).clone() for n, b in self._buffers.items()}
        for name in self._keys:
            buffers[name] = member_keys(seed, first, members, inputs.device)

        def forward(own: dict[str, Tensor], state: dict[str, Tensor], rows: Tensor) -> Tensor:
            return self._call(self._batch_module, {**self._frozen, **state, **own}, rows)

        # One mask for all members of all tiles; and of attention the kernel that can be batched.
        draws = seeded(seed, inputs.device) if self._random else nullcontext()
        with sdpa_kernel(SDPBackend.MATH), draws:
            batched = vmap(
                forward, in_dims=(0, 0, 0 if own_rows else None), randomness="same" if self._random else "error"
            )
            return batched(dict(parameters), buffers, inputs)

    def _call(self, module: nn.Module, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
        with lowered(inputs.device, self._precision):
            output: Tensor = functional_call(module, tensors, (inputs,), tie_weights=self._tied)
        return output if self._precision == "full" else output.to(inputs.dtype)

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

    def _choose(self, rows: Tensor, wanted: Strategy | None) -> Strategy:
        """The first strategy that runs, or the one that is `wanted`; what is slow is said where there was a choice."""
        if wanted in ("fused", "loop"):
            return wanted
        vector = self.layout.flatten(self.module).to(rows)
        pair = self.layout.unflatten(torch.stack([vector, 0.9 * vector]))
        with torch.no_grad():
            alone = self._each(pair, rows.expand(2, *rows.shape), 0)  # a broken module fails here, as it is
            if self._fused is not None:
                return "fused"
            self.strategy = wanted or ("vmap" if self._native is None else "native")
            if self._native is None:
                self._reasons["native"] = "its layers have no form of their own for stacked weights"
            self.reason = self._not_batched(lambda: self._many(pair, rows, 0), alone)
        if not self.reason and not self._separate:
            return self.strategy
        if self.reason:
            slow, why = "this network is", f"torch cannot batch it: {self.reason}"
        else:
            slow = f"of this network layer {' and layer '.join(self._separate)} alone is"
            why = f"torch cannot batch it: {next(iter(self._separate.values()))}"
        if wanted is None:
            warnings.warn(f"{slow} evaluated member by member, because {why}", SlowPathWarning, stacklevel=4)
        if not self.reason:
            return self.strategy
        self._reasons["vmap"] = self.reason
        return wanted or "loop"

    def _not_batched(self, attempt: Callable[[], Tensor], alone: Tensor) -> str:
        """Why the network cannot be batched, even with layers that run by themselves; empty if it can.

        Args:
            attempt: evaluates a few members as one computation.
            alone: `(T, B, C)`, what they give one by one.
        """
        try:
            attempt()
            return ""
        except RuntimeError:  # what torch.func raises for what it cannot batch
            self._batch_module = copy.deepcopy(self.module)
            self._native = self._native and native_forward(self._batch_module)
        try:
            self._separate = isolate(self._batch_module, attempt)
            scale = float(alone.nan_to_num(0, 0, 0).abs().max())
            if self._random or torch.allclose(attempt(), alone, rtol=0, atol=SAME * scale, equal_nan=True):
                return ""
            reason = "its layers write over what others read, or draw random numbers"
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:300]
        self._batch_module, self._separate = self.module, {}
        return reason

    def _flat(self, part: Tensor, found: tuple[Tensor | None, ...]) -> Tensor:
        pieces = [
            part.new_zeros(len(part), group.slice.stop - group.slice.start) if g is None else g.reshape(len(part), -1)
            for group, g in zip(self.layout.groups, found, strict=True)
        ]
        return torch.cat(pieces, dim=1)


def _has_ties(module: nn.Module) -> bool:
    """Whether a parameter or buffer stands in the module under more than one name."""
    tensors = [t for m in module.modules() for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
    return len({id(t) for t in tensors}) < len(tensors)
