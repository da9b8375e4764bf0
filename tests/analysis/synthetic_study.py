"""Deterministic tables of a study like the quickstart: two problems, norms, four optimizers, five repeats."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd

KINDS = {"adam": "adam", "ga": "deap-ga", "pso": "pyswarms-gbest", "random": "random-search"}
NORMS = {"shallow": ("none", "batch", "layer", "weight", "cosine"), "deep": ("none", "batch", "layer")}
LEVEL = {  # final accuracy by problem, norm and optimizer; deep without batch hardly trains
    ("shallow", "adam"): 0.96,
    ("shallow", "ga"): 0.84,
    ("shallow", "pso"): 0.78,
    ("shallow", "random"): 0.35,
    ("deep", "adam"): 0.14,
    ("deep", "ga"): 0.20,
    ("deep", "pso"): 0.17,
    ("deep", "random"): 0.13,
}
LIFT = {("deep", "batch", "adam"): 0.80, ("deep", "batch", "ga"): 0.12, ("deep", "layer", "adam"): 0.25}
LAYERS = {"shallow": 2, "deep": 9}
BUDGET = 1.0e6


def study(repeats: int = 5, problems: Sequence[str] = ("shallow", "deep")) -> SimpleNamespace:
    """An object with the tables of a study, one diverged and one crashed run among them."""
    runs: list[dict[str, object]] = []
    curves: list[dict[str, object]] = []
    for problem in problems:
        for norm in NORMS[problem]:
            for optimizer in KINDS:
                for repeat in range(repeats):
                    _run(runs, curves, problem, norm, optimizer, repeat)
    return SimpleNamespace(
        runs=pd.DataFrame(runs),
        curves=pd.DataFrame(curves),
        diagnostics=diagnostics(repeats, problems),
        study={
            "name": "quickstart",
            "seed": 0,
            "repeats": repeats,
            "budget": {"forward_equivalents": BUDGET},
            "optimizers": {name: {"kind": kind} for name, kind in KINDS.items()},
            "report": {"baseline": "adam", "targets": "auto"},
        },
        environment={
            "gfopt": "0.1.0",
            "python": "3.11.9",
            "torch": "2.13.0",
            "cpu": "2 cores",
            "command": "gfopt run configs/quickstart.yaml",
        },
    )


def _run(runs: list, curves: list, problem: str, norm: str, optimizer: str, repeat: int) -> None:
    seed = [ord(letter) for letter in problem + norm + optimizer] + [repeat]
    rng = np.random.default_rng(seed)
    key = f"{problem}-{norm}-{optimizer}-{repeat}"
    gradient = optimizer == "adam"
    final = float(
        np.clip(
            LEVEL[problem, optimizer] + LIFT.get((problem, norm, optimizer), 0.0) + rng.normal(0, 0.012),
            0.05,
            0.99,
        )
    )
    status = "ok"
    if (problem, norm, optimizer, repeat) == ("deep", "none", "pso", 1):
        status = "diverged"
    if (problem, norm, optimizer, repeat) == ("shallow", "weight", "ga", 2):
        status = "crashed"
    share = {"ok": 1.0, "diverged": 0.4, "crashed": 0.0}[status]
    spent = np.concatenate([[0.0], np.geomspace(2e-3, 1.0, 20)])
    spent = spent[spent <= share]
    rate = 60.0 if gradient else 6.0
    progress = (1 - np.exp(-rate * spent)) / (1 - np.exp(-rate))
    accuracy = 0.1 + (final - 0.1) * progress
    loss = 2.3 * (1 - progress * (final - 0.1) / 0.9) + 0.01
    rows = [_point(key, fraction, a, value, gradient) for fraction, a, value in zip(spent, accuracy, loss, strict=True)]
    last = rows[-1]
    identity = {
        "run": key,
        "problem": problem,
        "optimizer": optimizer,
        "kind": KINDS[optimizer],
        "base": optimizer,
        "repeat": repeat,
        "network.norm": norm,
        "status": status,
        "stop_reason": "budget" if status == "ok" else None,
        "message": "RuntimeError: out of memory" if status == "crashed" else "",
        "dim": 2410.0,
        "budget.forward_equivalents": BUDGET,
        "workers": 2,
        "threads": 1,
        "backward_equivalents": 1.9,
    }
    if status == "crashed":
        runs.append(identity)
        return
    curves.extend(rows)
    runs.append({**identity, **{name: value for name, value in last.items() if name not in ("run", "batch_loss")}})


def _point(key: str, fraction: float, accuracy: float, loss: float, gradient: bool) -> dict[str, object]:
    cost = BUDGET * fraction
    samples = cost / 2.9 if gradient else cost
    return {
        "run": key,
        "steps": int(samples / 256),
        "evaluations": int(samples / 256),
        "forward_samples": samples,
        "backward_samples": samples if gradient else 0.0,
        "flops": cost * 5e3,
        "forward_equivalents": cost,
        "seconds": cost * (8e-6 if gradient else 2e-6),
        "peak_memory": 3e8,
        "nonfinite": 0,
        "loss": loss,
        "batch_loss": loss,
        "validation_loss": loss * 1.05,
        "validation_accuracy": accuracy - 0.01,
        "test_loss": loss * 1.1,
        "test_accuracy": accuracy,
    }


def diagnostics(repeats: int, problems: Sequence[str]) -> pd.DataFrame:
    """Gradient norms per layer that fall with depth except with batch normalization."""
    factor = {"none": 0.15, "batch": 1.0, "layer": 0.45, "weight": 0.2, "cosine": 0.1}
    rows = [
        {
            "problem": problem,
            "network.norm": norm,
            "repeat": repeat,
            "quantity": "gradient_norm",
            "layer": layer,
            "name": f"layers.{layer - 1}",
            "value": 0.1 * (1 + 0.05 * repeat) * factor[norm] ** (LAYERS[problem] - layer),
        }
        for problem in problems
        for norm in NORMS[problem]
        for repeat in range(repeats)
        for layer in range(1, LAYERS[problem] + 1)
    ]
    return pd.DataFrame(rows)
