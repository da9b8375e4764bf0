"""What a supervised problem is put together from: its losses, its row weights, its network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gfopt.data import Dataset
from gfopt.errors import ConfigError, NetworkError, expectation
from gfopt.nn import build_network
from gfopt.problems.losses import Loss, make_loss, network_outputs
from gfopt.rng import derive, torch_seeded

Network = nn.Module | Callable[[], nn.Module] | Mapping[str, Any]


def objective_losses(loss: Any, objective: Mapping[str, Any] | None) -> tuple[Loss, Loss]:
    """The loss that is reported and the one that gradient optimizers minimize."""
    if objective is None:
        made = make_loss(loss)
        return made, made
    unknown = set(objective) - {"loss", "surrogate"}
    if unknown or "loss" not in objective:
        raise ConfigError("objective: " + expectation("the keys loss and surrogate", sorted(objective)))
    reported = make_loss(objective["loss"])
    return reported, make_loss(objective["surrogate"]) if "surrogate" in objective else reported


def row_weights(values: np.ndarray | Sequence[float], count: int) -> Tensor:
    """`(count,)` weights of the training rows, checked."""
    weight = np.asarray(values, dtype=float)
    if weight.shape != (count,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        wanted = f"{count} finite weights >= 0, one per training row, not all 0"
        raise ConfigError("sample_weight: " + expectation(wanted, f"`an array of shape {weight.shape}`"))
    return torch.as_tensor(weight)


def as_network(network: Network, dataset: Dataset, *losses: Loss) -> nn.Module | Callable[[], nn.Module]:
    """A module or a factory; a spec becomes a module whose sizes fit data and loss."""
    if not isinstance(network, Mapping):
        if isinstance(network, nn.Module) or callable(network):
            return network
        raise NetworkError("network: " + expectation("an nn.Module, a factory of one, or a spec", network))
    sizes: dict[str, Any] = {
        "input_shape": dataset.input_shape,
        "out_features": network_outputs(dataset, *losses),
    }
    if "in_features" in network:
        del sizes["input_shape"]
    return build_network({**sizes, **network})


def template_of(network: nn.Module | Callable[[], nn.Module]) -> nn.Module:
    """The module whose structure and frozen values every member shares; a copy of the user's own."""
    if isinstance(network, nn.Module):
        return copy.deepcopy(network).cpu()
    with torch_seeded(derive("template")):
        made = network()
    if not isinstance(made, nn.Module):
        raise NetworkError("network: " + expectation("a factory that returns an nn.Module", made))
    return made
