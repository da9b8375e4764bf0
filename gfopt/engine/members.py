"""Outputs of the members of a population through torch, in the fastest way that their network allows."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gfopt.engine.device import Precision, lowered, seeded
from gfopt.engine.dropout import KEY, drops, member_keys
from gfopt.engine.native import native_forward
from gfopt.engine.plan import Strategy
from gfopt.engine.unbatchable import MembersDiffer, isolate
from gfopt.errors import SlowPathWarning
from gfopt.nn.parameters import ParameterLayout
from gfopt.nn.recurrent import RecurrentNetwork
from gfopt.threads import for_kernels

SAME = 1e-3  # relative difference of outputs: far above rounding, far below what another order of writes makes


class Members:
    """Runs one architecture for stacked parameters: natively, through `vmap`, or member by member.

    Args:
        module: the network as it shall be evaluated; never modified.
        layout: where each parameter lies in the vector.
        precision: of products on a GPU.

    Attributes:
        strategy: the way that is taken, once `choose` has found it.
        native: the forward on stacked weights, `None` where the network has none.
        random: whether masks are drawn.
        separate: layers that run member by member while the rest is batched, and why.
        reason: why torch could not batch the network, for `loop`.
        reasons: why each faster strategy was passed over.
    """

    def __init__(self, module: nn.Module, layout: ParameterLayout, precision: Precision) -> None:
        self.module = module
        self.layout = layout
        self.strategy: Strategy = "loop"
        self.native = native_forward(module)
        self.random = drops(module)
        self.separate: dict[str, str] = {}
        self.reason = ""
        self.reasons: dict[str, str] = {}
        self._batch_module = module  # what is batched: with layers that run by themselves, a copy
        self._precision = precision
        self._frozen = {n: t.detach() for n, t in layout.frozen(module).items()}
        self._buffers = dict(module.named_buffers())
        self._keys = [name for name in self._buffers if name.rpartition(".")[2] == KEY]
        self._recurs = any(isinstance(part, nn.RNNBase | RecurrentNetwork) for part in module.modules())
        # Looking for tied weights costs a walk through the module at every call: only where there are any.
        self._tied = _has_ties(module)

    @property
    def draws(self) -> bool:
        """Whether a member's outputs depend on its number."""
        return self.random or bool(self._keys)

    def kernels(self, inputs: Tensor) -> AbstractContextManager[None]:
        """Around an evaluation without gradients on `inputs`: the threads are for kernels, if it is they that work."""
        compiled = self._recurs and inputs.is_cpu and inputs.dtype == torch.float32
        return for_kernels() if compiled else nullcontext()

    def choose(self, rows: Tensor, wanted: Strategy | None) -> None:
        """Take the first strategy that runs, or the one that is `wanted`; say what is slow where there was a choice.

        Args:
            rows: `(B, ...)`, a few.
            wanted: `None` to choose.
        """
        if wanted == "loop":
            return
        vector = self.layout.flatten(self.module).to(rows)
        pair = self.layout.unflatten(torch.stack([vector, 0.9 * vector]))
        with torch.no_grad():
            alone = self.each(pair, rows.expand(2, *rows.shape), 0)  # a broken module fails here, as it is
            self.strategy = wanted or ("vmap" if self.native is None else "native")
            if self.native is None:
                self.reasons["native"] = "its layers have no form of their own for stacked weights"
            self.reason = self._not_batched(lambda: self._many(pair, rows, 0), alone)
        if wanted is None and (self.reason or self.separate):
            self._warn()
        if self.reason:
            self.reasons["vmap"] = self.reason
            self.strategy = wanted or "loop"

    def _warn(self) -> None:
        if self.reason:
            slow, why = "this network is", self.reason
        else:
            slow = f"of this network layer {' and layer '.join(self.separate)} alone is"
            why = next(iter(self.separate.values()))
        text = f"{slow} evaluated member by member, because torch cannot batch it: {why}"
        warnings.warn(text, SlowPathWarning, stacklevel=6)

    def each(self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, first: int = 0) -> Tensor:
        """`(T, B, C)` member by member, on `(T, B, ...)` rows."""
        members = [{n: t[i : i + 1] for n, t in parameters.items()} for i in range(len(inputs))]
        each = enumerate(zip(members, inputs, strict=True))
        return torch.cat([self.one(own, rows, seed, first + i) for i, (own, rows) in each])

    def one(self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, member: int = 0) -> Tensor:
        """`(1, B, C)` of a single member, through the plain module."""
        own = {n: t[0] for n, t in parameters.items()}
        # Buffers that the module updates while it runs must not carry over to the next member.
        buffers = {n: b.clone() for n, b in self._buffers.items()}
        for name in self._keys:
            buffers[name] = member_keys(seed, member, 1, inputs.device)[0]
        if not self.random:
            output = self._call(self.module, {**self._frozen, **buffers, **own}, inputs)
        else:
            with seeded(seed, inputs.device):
                output = self._call(self.module, {**self._frozen, **buffers, **own}, inputs)
        return output.unsqueeze(0)

    def together(
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
            return self.each(parameters, inputs if own_rows else inputs.expand(members, *inputs.shape), seed, first)

    def _many(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, seed: int, first: int = 0, own_rows: bool = False
    ) -> Tensor:
        if self.strategy == "native" and self.native is not None and not own_rows:
            with lowered(inputs.device, self._precision):
                return self.native(parameters, self._frozen, inputs).to(inputs.dtype)
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
        draws = seeded(seed, inputs.device) if self.random else nullcontext()
        with sdpa_kernel(SDPBackend.MATH), draws:
            batched = vmap(
                forward, in_dims=(0, 0, 0 if own_rows else None), randomness="same" if self.random else "error"
            )
            return batched(dict(parameters), buffers, inputs)

    def _call(self, module: nn.Module, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
        with lowered(inputs.device, self._precision):
            output: Tensor = functional_call(module, tensors, (inputs,), tie_weights=self._tied)
        return output if self._precision == "full" else output.to(inputs.dtype)

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
            self.native = self.native and native_forward(self._batch_module)
        try:
            self.separate = isolate(self._batch_module, attempt)
            scale = float(alone.nan_to_num(0, 0, 0).abs().max())
            if self.random or torch.allclose(attempt(), alone, rtol=0, atol=SAME * scale, equal_nan=True):
                return ""
            reason = "its layers write over what others read, or draw random numbers"
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:300]
        self._batch_module, self.separate = self.module, {}
        return reason


def _has_ties(module: nn.Module) -> bool:
    """Whether a parameter or buffer stands in the module under more than one name."""
    tensors = [t for m in module.modules() for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
    return len({id(t) for t in tensors}) < len(tensors)
