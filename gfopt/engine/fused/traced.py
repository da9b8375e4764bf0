"""Networks of a user's own class: their `forward` is traced, and lowered where it is a chain of known operations."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

# What a function or method of torch does in terms of the layer that does the same, from the arguments behind the first.
Layer = Callable[..., nn.Module]

_FUNCTIONS: dict[Any, Layer] = {
    torch.tanh: nn.Tanh,
    F.tanh: nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    F.sigmoid: nn.Sigmoid,
    torch.relu: nn.ReLU,
    F.relu: nn.ReLU,
    F.leaky_relu: nn.LeakyReLU,
    F.elu: nn.ELU,
    F.selu: nn.SELU,
    F.gelu: nn.GELU,
    F.silu: nn.SiLU,
    F.softplus: nn.Softplus,
    F.hardtanh: nn.Hardtanh,
}
_METHODS: dict[str, Layer] = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}
_SUMS = (operator.add, torch.add)


OF_LIBRARIES = ("torch.nn", "gfopt.")  # where layers are whose forward is not looked into


class NotTraced(Exception):
    """Why a `forward` is no chain of known operations."""


class _Tracer(fx.Tracer):
    def __init__(self, leaves: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self._leaves = leaves

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return type(module) in self._leaves or type(module).__module__.startswith(OF_LIBRARIES)


def chain_of(module: nn.Module, leaves: tuple[type[nn.Module], ...]) -> list[nn.Module | str]:
    """The layers of a network in the order in which its `forward` calls them, with `keep` and `add` around a skip.

    Args:
        module: of any class; a copy is traced, so that nothing of it changes.
        leaves: classes of layers that are not looked into.

    Raises:
        NotTraced: naming what is no part of such a chain.
    """
    try:
        graph = _Tracer(leaves).trace(copy.deepcopy(module))
    except Exception as error:
        raise NotTraced(f"its forward depends on values ({type(error).__name__})") from error
    chain: list[nn.Module | str] = []
    current: fx.Node | None = None
    kept: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "placeholder":
            if current is not None:
                raise NotTraced("its forward takes several arguments")
        elif node.op == "output":
            if node.args[0] is not current:
                raise NotTraced("its forward returns something else than its last layer's output")
            continue
        elif node.op == "call_function" and node.target in _SUMS:
            if len(node.args) != 2 or node.kwargs or set(node.args) != {current, kept} or current is kept:
                raise NotTraced("a sum of other things than a layer's output and a skip around it")
            chain.append("add")
            kept = None
        else:
            if not node.args or node.args[0] is not current:
                raise NotTraced(f"{node.name} is computed aside")
            chain.append(_layer(module, node))
        current = node
        if len(node.users) > 1:
            if kept is not None:
                raise NotTraced("skips inside of skips")
            chain.append("keep")
            kept = node
    if kept is not None:
        raise NotTraced("an output that is used twice")
    return chain


def _layer(module: nn.Module, node: fx.Node) -> nn.Module:
    """The layer that computes a node from the one before."""
    others = node.args[1:]
    if any(isinstance(value, fx.Node) for value in (*others, *node.kwargs.values())):
        raise NotTraced(f"{node.name} has an argument that is computed")
    if node.op == "call_module" and not others and not node.kwargs:
        return module.get_submodule(str(node.target))
    options = {name: value for name, value in node.kwargs.items() if name != "inplace"}
    if node.op == "call_function" and node.target in _FUNCTIONS:
        return _FUNCTIONS[node.target](*others, **options)
    if node.op == "call_method" and node.target in _METHODS and not others and not options:
        return _METHODS[node.target]()
    flattens = node.target in (torch.flatten, "flatten")
    if flattens and (*others, *options.values()) in ((1,), (1, -1)):
        return nn.Flatten()
    raise NotTraced(f"{node.name} has no compiled form")
