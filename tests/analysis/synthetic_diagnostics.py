"""Deterministic tables of diagnostics: rows for the cells and runs that a test names, and a whole study's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

LAYERS = 9


def rows(
    quantity: str,
    values: Mapping[int, float] | Sequence[float],
    *,
    norm: str | None = None,
    optimizer: str = "",
    step: int = 0,
    repeats: int = 3,
    name: str | None = None,
    problem: str = "p",
) -> list[dict[str, object]]:
    """One row per layer and repeat.

    Args:
        quantity: of all rows.
        values: layer to value, or the values of layer 1 onwards; layer 0 stands for the whole run.
        norm: of the cell; without one the table has no such column.
        optimizer, step: empty and 0 for the starts; the cost is 1000 a step.
        repeats: how many have that value.
        name: of every row; by default `layers.0` and so on.
        problem: of all rows.
    """
    layers = values if isinstance(values, Mapping) else dict(enumerate(values, start=1))
    cell = {} if norm is None else {"network.norm": norm}
    return [
        {
            "problem": problem,
            **cell,
            "repeat": repeat,
            "optimizer": optimizer,
            "run": f"{norm}-{optimizer}-{repeat}" if optimizer else "",
            "step": step,
            "forward_equivalents": 1000.0 * step,
            "quantity": quantity,
            "layer": layer,
            "name": ("" if layer == 0 else f"layers.{layer - 1}") if name is None else name,
            "value": float(value),
        }
        for repeat in range(repeats)
        for layer, value in layers.items()
    ]


def table(*parts: list[dict[str, object]]) -> pd.DataFrame:
    """The parts below each other."""
    return pd.DataFrame([row for part in parts for row in part])


def fading(gain: float, layers: int = LAYERS) -> list[float]:
    """Norms of the signal at layer 1 onwards with a gain per layer; the last layer has 1."""
    return [gain ** (layers - layer) for layer in range(1, layers + 1)]


def whole_study(problems: Sequence[str] = ("deep",), norms: Sequence[str] = ("none", "batch", "layer")) -> pd.DataFrame:
    """Every quantity, for three optimizers: the unnormalized network vanishes, saturates and is blind."""
    parts = []
    for problem in problems:
        for place, norm in enumerate(norms):
            bad, where = norm == "none", {"problem": problem, "norm": norm}
            gain = {"none": 0.15, "layer": 0.45}.get(norm, 1.0 - 0.01 * place)
            parts += [
                rows("gradient_norm", fading(gain), **where),
                rows("backward_gain", {0: gain}, **where),
                rows("saturation_fraction", [0.0] * LAYERS, **where),
                rows("relative_spread", fading(0.1 if bad else 0.9), **where),
                rows("tie_share", [0.97 if bad else 0.0] * LAYERS, **where),
                rows("minibatch_rank_correlation", {0: 0.3 if bad else 0.8}, **where),
            ]
            for layer in range(1, LAYERS):
                held, label = float(norm == "batch"), f"layers.{layer - 1}.row_scale.network"
                parts.append(rows("invariant", {layer: held}, name=label, **where))
            parts += [part for step in (1, 3, 10, 30, 100, 300) for part in _along(step, bad, where)]
    return table(*parts)


def _along(step: int, bad: bool, where: Mapping[str, str]) -> list[list[dict[str, object]]]:
    done = np.log10(step) / np.log10(300)
    layers = np.arange(1, LAYERS + 1)
    adam, ga = ({**where, "optimizer": name, "step": step} for name in ("adam", "ga"))
    return [
        rows("saturation_fraction", 0.1 + (0.8 if bad else 0.05) * done * layers / LAYERS, **adam),
        rows("update_ratio", 1e-3 * (0.1 if bad else 0.9) ** (LAYERS - layers), **adam),
        rows("gradient_norm", fading(0.3 if bad else 1.0), **adam),
        rows("ics_relative", (0.02 if bad else 0.3) * layers / LAYERS, **adam),
        rows("input_mean_drift", 0.1 * (1 - done / 2) * layers / LAYERS, **adam),
        rows("update_ratio", [0.3] * LAYERS, **ga),
        rows("effective_angle", (0.3 if bad else 0.8) / (1 + 20 * done) * layers / LAYERS, **ga),
        rows("diversity", {0: float(np.exp((-6 if bad else -2) * done))}, **ga),
        rows("improving_share", {0: 0.3 * (1 - done)}, **ga),
        rows("gradient_cosine", {0: 0.02 if bad else 0.1}, **ga),
    ]
