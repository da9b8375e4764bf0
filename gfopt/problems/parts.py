"""What a supervised problem is put together from: its losses, its row weights, its network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gfopt.data import (
    Dataset,
    ImportanceOptions,
    effective_sample_size,
    importance_options,
    importance_weights,
)
from gfopt.errors import ConfigError, NetworkError, expectation
from gfopt.nn import build_network
from gfopt.problems.losses import Loss, make_loss, network_outputs
from gfopt.rng import derive, torch_seeded

# Of weights with mean 1. A density ratio may be 0 for many rows; a minibatch of such rows alone has a mean loss still.
LEAST_IMPORTANCE = 1e-6

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


@dataclass(frozen=True)
class RowWeights:
    """Weights of the rows in the loss; `None` where they all weigh the same.

    Attributes:
        train: `(N,)` of the training rows.
        validation: `(V,)` of the validation rows.
        effective_sample_size: `(sum w)^2 / sum w^2` of the training rows; `None` without weights.
    """

    train: Tensor | None = None
    validation: Tensor | None = None
    effective_sample_size: float | None = None


def loss_weights(
    dataset: Dataset,
    sample_weight: np.ndarray | Sequence[float] | None,
    importance: Mapping[str, Any] | ImportanceOptions | None,
) -> RowWeights:
    """The user's own weights times those for covariate shift; validation rows have the latter only."""
    options = importance_options(importance)
    found = None if options is None else importance_weights(dataset, options)
    train = None if sample_weight is None else row_weights(sample_weight, len(dataset.x_train))
    validation = None
    if found is not None:
        ratio = torch.from_numpy(np.maximum(found.train, LEAST_IMPORTANCE))
        train = ratio if train is None else ratio * train
        if found.validation is not None:
            validation = torch.from_numpy(np.maximum(found.validation, LEAST_IMPORTANCE))
    return RowWeights(train, validation, None if train is None else effective_sample_size(train.numpy()))


def row_weights(values: np.ndarray | Sequence[float], count: int) -> Tensor:
    """`(count,)` weights of the training rows, checked."""
    weight = np.asarray(values, dtype=float)
    if weight.shape != (count,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        wanted = f"{count} finite weights >= 0, one per training row, not all 0"
        raise ConfigError("sample_weight: " + expectation(wanted, f"`an array of shape {weight.shape}`"))
    return torch.tensor(weight)


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
