"""Layers of a user's network that torch cannot batch: they run member by member, all others as one computation.

Control flow that asks for a number, operations without a batching rule and in-place writes stop `torch.func.vmap`. The
traceback says in which layer; that layer then steps out of the batch for itself, and its results go back into it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

# A call's result without its tensors: the nesting, which of its leaves are tensors, and the other leaves.
_Returns = tuple[TreeSpec, list[bool], list[Any]]


class MembersDiffer(RuntimeError):
    """What a layer returns for one member cannot be stacked with what it returns for another."""


def isolate(module: nn.Module, attempt: Callable[[], object]) -> dict[str, str]:
    """Let the smallest layers that torch cannot batch run member by member, in place, until `attempt` goes through.

    Args:
        module: a copy of the network that may be changed; parameters, buffers and their names stay as they are.
        attempt: evaluates it under `torch.func.vmap`.

    Returns:
        The name of each such layer, and why it cannot be batched.

    Raises:
        RuntimeError: from `attempt`, if what cannot be batched is no layer but the network's own `forward`.
    """
    names = {id(part): name for name, part in module.named_modules()}
    found: dict[str, str] = {}
    while True:
        try:
            attempt()
            return found
        except RuntimeError as error:
            layer = _running(error.__traceback__, names)
            if layer is None or layer is module:
                raise
            for part in layer.modules():  # it failed although those inside it run by themselves
                found.pop(names[id(part)], None)
                _join(part)
            _separate(layer)
            found[names[id(layer)]] = str(error).splitlines()[0][:300]


def _running(traceback: TracebackType | None, names: dict[int, str]) -> nn.Module | None:
    """The innermost of the named modules that was at work, of those that can still be separated."""
    found = None
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        apart = isinstance(owner, _MemberByMember | torch.jit.ScriptModule)
        if isinstance(owner, nn.Module) and id(owner) in names and not apart:
            found = owner
        traceback = traceback.tb_next
    return found


def _separate(layer: nn.Module) -> None:
    kind: type[nn.Module] = type(layer)
    # The class alone changes, so that whoever holds the layer or asks for its weights finds what was there.
    own = {"kind": kind, "plain": copy.deepcopy(layer)}
    separate: type[nn.Module] = type(f"Separate{kind.__name__}", (_MemberByMember, kind), own)
    layer.__class__ = separate


def _join(layer: nn.Module) -> None:
    kind = layer.kind if isinstance(layer, _MemberByMember) else type(layer)
    layer.__class__ = kind


class _MemberByMember(nn.Module):
    """In front of a layer's own class among its bases: calls of it, hooks included, go to `plain` for each member.

    Attributes:
        plain: a copy of the layer as it was; its values mean nothing.
        kind: the layer's own class.
    """

    plain: nn.Module
    kind: type[nn.Module]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer returns, of all members where it is called for all."""
        call = _Call(self.plain, args, kwargs)
        own = dict(self.named_parameters(remove_duplicate=False)) | dict(self.named_buffers(remove_duplicate=False))
        found = _EachMember.apply(call, *(own[name] for name in call.names), *call.arguments)  # type: ignore[no-untyped-call] # in torch
        for name, buffer in zip(call.buffers, found, strict=False):
            owner, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(owner), leaf, buffer)
        return call.restored(found[len(call.buffers) :])


class _Call:
    """One call of a layer, taken apart into tensors and the rest.

    Args:
        plain: the layer.
        args: of the call.
        kwargs: of the call.

    Attributes:
        names: of the layer's parameters and buffers.
        buffers: of its buffers.
        arguments: the tensors among the arguments.
    """

    def __init__(self, plain: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.plain = plain
        self.buffers = [name for name, _ in plain.named_buffers()]
        self.names = [*(name for name, _ in plain.named_parameters()), *self.buffers]
        leaves, self._shape = tree_flatten((args, kwargs))
        self.arguments = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        self._others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self._tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        self._returns: _Returns | None = None

    def run(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """The layer's buffers after the call, and the tensors among what it returns, for one member.

        Raises:
            MembersDiffer: if the rest is not what an earlier member returned.
        """
        count = len(self.names)
        own = dict(zip(self.names, tensors[:count], strict=True))
        # Copies, for a layer that writes over its input or its memory: others read them too.
        own |= {name: own[name].clone() for name in self.buffers}
        arguments = iter(tensors[count:])
        each = zip(self._tensor, self._others, strict=True)
        args, kwargs = tree_unflatten([next(arguments).clone() if t else other for t, other in each], self._shape)
        leaves, shape = tree_flatten(functional_call(self.plain, own, args, kwargs))
        tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        returns = shape, tensor, [None if t else leaf for t, leaf in zip(tensor, leaves, strict=True)]
        if self._returns is not None and not _alike(self._returns, returns):
            raise MembersDiffer(f"{type(self.plain).__name__} returns something else for each member")
        self._returns = returns
        return (*(own[name] for name in self.buffers), *(leaf for leaf in leaves if isinstance(leaf, Tensor)))

    def restored(self, tensors: tuple[Tensor, ...]) -> Any:
        """What the layer returned, with these tensors in the places of its own."""
        assert self._returns is not None
        shape, tensor, others = self._returns
        given = iter(tensors)
        return tree_unflatten([next(given) if t else other for t, other in zip(tensor, others, strict=True)], shape)


def _alike(one: _Returns, other: _Returns) -> bool:
    def same(a: object, b: object) -> bool:
        return a is b or (isinstance(a, bool | int | float | str) and type(a) is type(b) and a == b)

    return one[:2] == other[:2] and all(same(a, b) for a, b in zip(one[2], other[2], strict=True))


class _EachMember(torch.autograd.Function):
    """Where a call leaves `torch.func.vmap`; its gradients are those of the plain operations inside."""

    @staticmethod
    def forward(call: _Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Outside of `vmap`: nothing that comes here depends on a gene."""
        return call.run(list(tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept: there is no gradient to take."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], call: _Call, *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """The layer for one member after the other, on plain tensors that autograd follows."""
        size: int = info.batch_size
        each = [[t] * size if axis is None else t.unbind(axis) for t, axis in zip(tensors, in_dims[1:], strict=True)]
        devices = {t.device for t in tensors if t.device.type == "cuda"}
        found = []
        for member, own in enumerate(zip(*each, strict=True)):
            # Every member draws the same numbers, and what follows goes on from there.
            with torch.random.fork_rng(devices, enabled=member + 1 < size):
                found.append(call.run(list(own)))
        return tuple(_stacked(call, parts) for parts in zip(*found, strict=True)), (0,) * len(found[0])


def _stacked(call: _Call, parts: tuple[Tensor, ...]) -> Tensor:
    if any(part.shape != parts[0].shape or part.dtype != parts[0].dtype for part in parts):
        raise MembersDiffer(f"{type(call.plain).__name__} returns tensors of other shapes for each member")
    return torch.stack(parts)
