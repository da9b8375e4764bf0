"""Measurements that say why a network is hard or easy to train.

Names are imported when they are used, so that `gfopt.diagnostics.quantities` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfopt.diagnostics.activations import LayerSaturation, saturation
    from gfopt.diagnostics.backward import LayerGradient, backward_gain, gradient_flow
    from gfopt.diagnostics.blindness import (
        LayerSpread,
        minibatch_rank_correlation,
        rank_correlation,
        search_blindness,
    )
    from gfopt.diagnostics.covariate_shift import InputDrift, LayerShift, input_drift, internal_covariate_shift
    from gfopt.diagnostics.generations import (
        GenerationChange,
        cosine,
        diversity,
        es_gradient_cosine,
        generation_change,
        gradient_cosine,
        improving_share,
        nearest_parents,
        selection_intensity,
        step_size,
    )
    from gfopt.diagnostics.invariance import TRANSFORMATIONS, Invariance, invariances
    from gfopt.diagnostics.quantities import QUANTITIES, Quantity, as_rows
    from gfopt.diagnostics.updates import GroupUpdate, angle_between, update_sizes

_HOMES = {
    "blindness": ("LayerSpread", "minibatch_rank_correlation", "rank_correlation", "search_blindness"),
    "covariate_shift": ("InputDrift", "LayerShift", "input_drift", "internal_covariate_shift"),
    "backward": ("LayerGradient", "backward_gain", "gradient_flow"),
    "invariance": ("TRANSFORMATIONS", "Invariance", "invariances"),
    "generations": (
        "GenerationChange", "cosine", "diversity", "es_gradient_cosine", "generation_change", "gradient_cosine",
        "improving_share", "nearest_parents", "selection_intensity", "step_size",
    ),
    "quantities": ("QUANTITIES", "Quantity", "as_rows"),
    "activations": ("LayerSaturation", "saturation"),
    "updates": ("GroupUpdate", "angle_between", "update_sizes"),
}  # fmt: skip

__all__ = [
    "QUANTITIES",
    "TRANSFORMATIONS",
    "GenerationChange",
    "GroupUpdate",
    "InputDrift",
    "Invariance",
    "LayerGradient",
    "LayerSaturation",
    "LayerShift",
    "LayerSpread",
    "Quantity",
    "angle_between",
    "as_rows",
    "backward_gain",
    "cosine",
    "diversity",
    "es_gradient_cosine",
    "generation_change",
    "gradient_cosine",
    "gradient_flow",
    "improving_share",
    "input_drift",
    "internal_covariate_shift",
    "invariances",
    "minibatch_rank_correlation",
    "nearest_parents",
    "rank_correlation",
    "saturation",
    "search_blindness",
    "selection_intensity",
    "step_size",
    "update_sizes",
]


def __getattr__(name: str) -> object:
    """The public name, imported now."""
    if name.startswith("_"):
        raise AttributeError(f"module 'gfopt.diagnostics' has no attribute {name!r}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"gfopt.diagnostics.{home}"), name)
    raise AttributeError(f"module 'gfopt.diagnostics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
