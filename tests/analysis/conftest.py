from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic_study


@pytest.fixture
def study() -> SimpleNamespace:
    """Fresh tables for every test: some change them."""
    return synthetic_study.study()


@pytest.fixture
def toy():
    """Tables of one problem from `{optimizer: [points (cost, loss) of a run, ...]}`."""

    def build(arms: dict[str, list[list[tuple[float, float]]]], **columns: object) -> SimpleNamespace:
        runs, curves = [], []
        for optimizer, members in arms.items():
            for repeat, points in enumerate(members):
                key = f"{optimizer}-{repeat}"
                cost, loss = points[-1] if points else (np.nan, np.nan)
                runs.append(
                    {
                        "run": key,
                        "problem": "p",
                        "optimizer": optimizer,
                        "kind": optimizer,
                        "base": optimizer,
                        "repeat": repeat,
                        "status": "ok",
                        "stop_reason": "budget",
                        "evaluations": cost,
                        "forward_equivalents": cost,
                        "seconds": cost,
                        "backward_samples": 0,
                        "loss": loss,
                        **columns,
                    }
                )
                curves += [
                    {"run": key, "evaluations": c, "forward_equivalents": c, "seconds": c, "loss": v} for c, v in points
                ]
        return SimpleNamespace(runs=pd.DataFrame(runs), curves=pd.DataFrame(curves), diagnostics=None)

    return build
