"""Starts for a population: one network initialization per member, and the spread of each gene under it."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from gfopt import rng
from gfopt.errors import NetworkError, expectation, located
from gfopt.nn.parameters import ParameterLayout
from gfopt.types import Group

Network = nn.Module | Callable[[], nn.Module]

MAX_DRAWS = 32
MAX_NUMBERS = 20_000_000
FALLBACK_SCALE = 0.1


def initial_vectors(network: Network, layout: ParameterLayout, count: int, seed: int) -> Tensor:
    """`(count, D)`, one network initialization per member, in the network's dtype, on the CPU.

    Row i depends on `seed` and i alone: `initial_vectors(..., n, s)[:k]` equals `initial_vectors(..., k, s)`.

    Args:
        network: a module, of which a copy is drawn anew by the `reset_parameters` of its parts, inner ones
            first (a parent has the last word); or a function that returns a new module, called once a
            member. Entries that no part redraws keep their given value plus normal noise: half of the
            tensor's own standard deviation, taken for that of its unknown initialization, or 0.1 if all its
            entries are equal.
        layout: which parameters, and where.
        count: rows.
        seed: of the stream; the global generators of torch, numpy and `random` are put back.

    Raises:
        NetworkError: if the function returns something else than networks of this layout, or the module
            cannot be copied.
    """
    draw = _module_draws(network, layout) if isinstance(network, nn.Module) else _factory_draws(network, layout)
    rows = []
    with _globals_kept():
        for member in range(max(count, 1)):
            _seed_globals(rng.derive(seed, "init", member))
            rows.append(draw())
    return torch.stack(rows)[:count]


def gene_scale(network: Network, layout: ParameterLayout) -> Tensor:
    """`(D,)` each gene's standard deviation under the network's own initialization, one value per parameter.

    Estimated over draws that are the same in every run: 32 of them, fewer for networks of more than 625 000
    genes, at least 2. Where it is 0 (gains, shifts), it is that of the first parameter of the same layer
    that has any, else 0.1.
    """
    draws = max(2, min(MAX_DRAWS, MAX_NUMBERS // layout.dim))
    vectors = initial_vectors(network, layout, draws, rng.derive("gene scale"))
    spread = {group.name: _spread(vectors[:, group.slice]) for group in layout.groups}
    scale = torch.empty(layout.dim, dtype=vectors.dtype)
    for group in layout.groups:
        scale[group.slice] = spread[group.name] or _of_layer(group, spread) or FALLBACK_SCALE
    return scale


def _spread(values: Tensor) -> float:
    """Root mean square over the entries of `(draws, entries)` of their deviations over the draws."""
    if not values.shape[1]:
        return 0.0
    return float(values.double().var(0).mean().sqrt())


def _of_layer(group: Group, spread: dict[str, float]) -> float:
    prefix = group.name.rpartition(".")[0]
    siblings = (value for name, value in spread.items() if name.rpartition(".")[0] == prefix)
    return next((value for value in siblings if value > 0), 0.0)


def _factory_draws(factory: Callable[[], nn.Module], layout: ParameterLayout) -> Callable[[], Tensor]:
    def draw() -> Tensor:
        module = factory()
        if not isinstance(module, nn.Module):
            raise NetworkError(expectation("a function that returns an nn.Module", module))
        with located("the function returns networks of different kinds"):
            return layout.flatten(module).cpu()

    return draw


def _module_draws(module: nn.Module, layout: ParameterLayout) -> Callable[[], Tensor]:
    try:
        clone = copy.deepcopy(module).cpu()  # every device then starts from the same numbers
    except (RuntimeError, TypeError) as error:
        fix = f"Give a function that returns a new module. ({type(error).__name__}: {error})"
        raise NetworkError(expectation("a module that can be copied", type(module).__name__, fix)) from error
    genes = layout.tensors(clone)
    resets = _resets(clone, {id(gene) for gene in genes})
    places, given, noise = _kept(genes, resets)

    def draw() -> Tensor:
        for reset in resets:
            reset()
        vector = torch.cat([gene.detach().reshape(-1) for gene in genes])
        if len(places):
            vector[places] = given + noise * torch.randn(len(given), dtype=given.dtype)
        return vector

    return draw


def _resets(module: nn.Module, genes: set[int]) -> list[Callable[[], object]]:
    """The `reset_parameters` of every part that holds a gene, children before their parents."""
    found: list[Callable[[], object]] = []
    for part in reversed(list(module.modules())):
        # torch's attention and Transformer spell it with an underscore.
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if reset and any(id(p) in genes for p in part.parameters()) and _takes_nothing(reset):
            found.append(reset)
    return found


def _takes_nothing(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    return True


@torch.no_grad()
def _kept(genes: list[Tensor], resets: list[Callable[[], object]]) -> tuple[Tensor, Tensor, Tensor]:
    """Places in the flat vector, given values and noise of the entries that no reset draws.

    Which they are is observed, not guessed: they are the ones that still hold the NaN written before the
        resets.
    """
    before = [gene.detach().clone().reshape(-1) for gene in genes]
    for gene in genes:
        gene.fill_(torch.nan)
    with _globals_kept():
        for reset in resets:
            reset()
    noise = [torch.full_like(values, _own_spread(values)) for values in before]
    places = torch.cat([gene.reshape(-1) for gene in genes]).isnan().nonzero().squeeze(1)
    return places, torch.cat(before)[places], torch.cat(noise)[places]


def _own_spread(values: Tensor) -> float:
    own = float((values - values[0]).double().std()) if len(values) > 1 else 0.0
    return 0.5 * own or FALLBACK_SCALE


@contextmanager
def _globals_kept() -> Iterator[None]:
    """The global CPU generators that an initialization may draw from are put back on exit."""
    with rng.torch_seeded(0), rng.GlobalStreams(0).active():
        yield


def _seed_globals(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
