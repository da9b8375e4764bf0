"""Whether the fitness sees a layer at all: the gradient-free form of a vanishing gradient, and the noise of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from gfopt.diagnostics.updates import layer_places, module_of
from gfopt.errors import ConfigError, ShapeError, expectation
from gfopt.problems import Problem
from gfopt.rng import generator


@dataclass(frozen=True)
class LayerSpread:
    """What the fitness tells about one layer when only its genes are perturbed.

    Attributes:
        layer: its place among the modules with parameters, in declared order from 1.
        name: the module's name.
        fitness_spread: standard deviation of the finite losses (biased); NaN if there is none.
        relative_spread: that, divided by the last layer's; NaN if the last layer's is 0.
        distinct: how many different finite losses there are.
        tie_share: `1 - distinct / finite losses`: 0 if all differ, near 1 if selection has nothing to choose by;
            NaN if there is no finite loss.
    """

    layer: int
    name: str
    fitness_spread: float
    relative_spread: float
    distinct: int
    tie_share: float


def search_blindness(
    problem: Problem,
    parameters: Tensor,
    *,
    sigma: float = 0.1,
    perturbations: int = 64,
    step: int = 0,
    seed: int = 0,
) -> list[LayerSpread]:
    """Spread and ties of the fitness when one layer after the other is perturbed, the rest held fixed.

    Every gene of the layer gets a normal number of standard deviation `sigma * scale`, on one batch for all. In a deep
    sigmoid network the losses of the first layers' perturbations differ by less than float32 can tell: selection
    among them is blind, as backprop's gradient is 0 there.

    Args:
        problem: any problem; a layer is what the names of its `groups` share before the last dot.
        parameters: `(D,)`, around which to look.
        sigma: size of the perturbations in units of `problem.scale`.
        perturbations: number of perturbations per layer, each an evaluation.
        step: number of the minibatch.
        seed: of the minibatch's stream, and of the perturbations.

    Returns:
        One row per layer in declared order.

    Raises:
        ConfigError: for fewer than two perturbations or a sigma that is not positive.
        ShapeError: if `parameters` does not fit the problem.
    """
    if perturbations < 2:
        raise ConfigError("perturbations: " + expectation("at least 2", perturbations))
    if not sigma > 0 or not math.isfinite(sigma):
        raise ConfigError("sigma: " + expectation("a positive number", sigma))
    if tuple(parameters.shape) != (problem.dim,):
        raise ShapeError("parameters: " + expectation(f"shape ({problem.dim},)", f"`{tuple(parameters.shape)}`"))
    noise = generator("search-blindness", seed).standard_normal((perturbations, problem.dim))
    change = torch.as_tensor(noise).to(problem.scale) * problem.scale * sigma
    places = layer_places(problem.groups)
    masks: dict[tuple[int, str], Tensor] = {}
    for group in problem.groups:
        key = (places[group.name], module_of(group.name))
        masks.setdefault(key, torch.zeros_like(problem.scale))[group.slice] = 1
    losses = {
        key: problem.evaluate(parameters + mask * change, step, seed=seed).loss.double() for key, mask in masks.items()
    }
    return _rows(losses)


def minibatch_rank_correlation(problem: Problem, population: Tensor, *, step: int = 0, seed: int = 0) -> float:
    """Spearman's rank correlation of the losses on one minibatch with those on the problem's probe rows.

    Near 1 the minibatch ranks candidates as the training set does; near 0 selection follows its noise. The probe rows
    are the whole training set, or 1024 fixed rows of a larger one.

    Args:
        problem: any problem.
        population: `(P, D)`, as one generation; near-copies of one member are harder to rank than random networks.
        step: number of the minibatch.
        seed: of its stream.

    Returns:
        In [-1, 1]; NaN if either side cannot tell any two members apart.
    """
    return rank_correlation(problem.evaluate(population, step, seed=seed).loss, problem.probe(population).loss)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two `(P,)` losses, ties at their mean rank; NaN and infinity rank last.

    Returns:
        In [-1, 1]; NaN if either is constant.
    """
    x, y = (rankdata(np.nan_to_num(v.double().cpu().numpy(), nan=np.inf, posinf=np.inf)) for v in (first, second))
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size else math.nan


def _rows(losses: dict[tuple[int, str], Tensor]) -> list[LayerSpread]:
    finite = {key: values[values.isfinite()] for key, values in losses.items()}
    spreads = {key: float(v.std(correction=0)) if len(v) else math.nan for key, v in finite.items()}
    last = list(spreads.values())[-1]
    rows = []
    for (place, name), values in finite.items():
        spread, distinct = spreads[place, name], len(torch.unique(values))
        ties = 1 - distinct / len(values) if len(values) else math.nan
        rows.append(LayerSpread(place, name, spread, spread / last if last else math.nan, distinct, ties))
    return rows
