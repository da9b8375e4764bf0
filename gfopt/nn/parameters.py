"""Where each parameter of a network lies in a flat vector: the genome's layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gfopt.errors import NetworkError, ShapeError, expectation
from gfopt.types import Group

Trainable = str | Sequence[str] | Callable[[str], bool] | None


@dataclass(frozen=True)
class ParameterLayout:
    """The trainable parameters of a module in declared order; tied ones once, buffers never.

    Attributes:
        groups: name, slice and shape of every parameter; the slices tile `[0, D)`.
    """

    groups: tuple[Group, ...]

    @classmethod
    def of(cls, module: nn.Module, trainable: Trainable = None) -> ParameterLayout:
        """The layout of `module`.

        Args:
            module: any network.
            trainable: which parameters are genes: `None` those that require a gradient; a pattern such as
                `head.*` or a list of patterns those whose names match, whether they require a gradient or
                not; or a function of the name. A tied parameter is meant by any of its names.

        Raises:
            NetworkError: if no parameter is left, a pattern matches none, or a parameter is uninitialized
                or not of real numbers.
        """
        aliases: dict[str, list[str]] = {}  # first name -> all names
        first: dict[int, str] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            aliases.setdefault(first.setdefault(id(parameter), name), []).append(name)
        chosen = _chosen(module, aliases, trainable)
        groups, start = [], 0
        for name in aliases:
            if name in chosen:
                shape = _shape(name, module.get_parameter(name))
                groups.append(Group(name, slice(start, start + math.prod(shape)), shape))
                start = groups[-1].slice.stop
        if start == 0:
            raise NetworkError(
                expectation(
                    "a network with parameters to train",
                    f"`{type(module).__name__}` with none",
                    _known(aliases),
                )
            )
        return cls(tuple(groups))

    @property
    def dim(self) -> int:
        """`D`, the number of genes."""
        stop: int = self.groups[-1].slice.stop
        return stop

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names in order."""
        return tuple(group.name for group in self.groups)

    def tensors(self, module: nn.Module) -> list[Tensor]:
        """The genes' parameters of `module`, themselves.

        Raises:
            NetworkError: if `module` lacks one or has it in another shape.
        """
        found: list[Tensor] = []
        for group in self.groups:
            try:
                parameter = module.get_parameter(group.name)
            except AttributeError:
                raise NetworkError(expectation(f"a parameter {group.name!r}", "a module without it")) from None
            if tuple(parameter.shape) != group.shape:
                got = f"`{tuple(parameter.shape)}`"
                raise NetworkError(f"{group.name}: " + expectation(f"shape {group.shape}", got))
            found.append(parameter)
        return found

    def flatten(self, module: nn.Module) -> Tensor:
        """A copy of the parameters as one `(D,)` vector."""
        return torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors(module)])

    def unflatten(self, vectors: Tensor) -> dict[str, Tensor]:
        """Name to `(..., *shape)` for `(..., D)` vectors; no copies.

        Raises:
            ShapeError: if the last axis is not `D`.
        """
        if vectors.ndim == 0 or vectors.shape[-1] != self.dim:
            raise ShapeError(f"vectors: expected shape (..., {self.dim}), got {tuple(vectors.shape)}")
        lead = vectors.shape[:-1]
        return {g.name: vectors[..., g.slice].reshape((*lead, *g.shape)) for g in self.groups}

    @torch.no_grad()
    def assign(self, module: nn.Module, vector: Tensor) -> None:
        """Write the values of a `(D,)` vector into the parameters of `module`, in place.

        Raises:
            ShapeError: if `vector` is not `(D,)`.
            NetworkError: if `module` is another network.
        """
        if vector.shape != (self.dim,):
            raise ShapeError(f"vector: expected shape ({self.dim},), got {tuple(vector.shape)}")
        values = self.unflatten(vector)
        for group, tensor in zip(self.groups, self.tensors(module), strict=True):
            tensor.copy_(values[group.name])

    def frozen(self, module: nn.Module) -> dict[str, Tensor]:
        """Name to the detached parameters of `module` that are not genes; tied ones once."""
        genes = {id(tensor) for tensor in self.tensors(module)}
        return {name: p.detach() for name, p in module.named_parameters() if id(p) not in genes}


def _chosen(module: nn.Module, aliases: Mapping[str, list[str]], trainable: Trainable) -> set[str]:
    """First names of the parameters that are genes."""
    if trainable is None:
        return {name for name in aliases if module.get_parameter(name).requires_grad}
    if callable(trainable):
        return {name for name, names in aliases.items() if any(map(trainable, names))}
    chosen: set[str] = set()
    for pattern in [trainable] if isinstance(trainable, str) else trainable:
        matches = {name for name, names in aliases.items() if any(fnmatchcase(n, pattern) for n in names)}
        if not matches:
            known = [n for names in aliases.values() for n in names]
            wanted = expectation("a pattern of its parameters", pattern, _known(known))
            raise NetworkError(f"trainable: {wanted}")
        chosen |= matches
    return chosen


def _shape(name: str, parameter: Tensor) -> tuple[int, ...]:
    if is_lazy(parameter):
        fix = "Run one batch through the network first."
        raise NetworkError(f"{name}: " + expectation("an initialized parameter", "`a lazy one`", fix))
    if not parameter.is_floating_point():
        fix = "Make it a buffer, or leave it out with `trainable`."
        raise NetworkError(f"{name}: " + expectation("real numbers", f"`{parameter.dtype}`", fix))
    return tuple(parameter.shape)


def _known(names: Sequence[str] | Mapping[str, object], limit: int = 20) -> str:
    shown = list(names)
    more = f", and {len(shown) - limit} more" if len(shown) > limit else ""
    return f"Its parameters: {', '.join(shown[:limit]) or 'none'}{more}."
