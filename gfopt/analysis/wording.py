"""How numbers, metrics and lists read in sentences, tables and captions: one place, so that all agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

AXIS_WORDS = {
    "forward_equivalents": "forward-equivalents",
    "evaluations": "evaluations",
    "seconds": "seconds",
    "forward_samples": "forward samples",
    "backward_samples": "backward samples",
    "flops": "floating-point operations",
    "steps": "steps",
}
AXIS_TITLES = {
    "forward_equivalents": "cost (forward-equivalents: forward passes of one sample)",
    "evaluations": "cost (evaluations: candidates x batches)",
    "seconds": "cost (seconds of ask, evaluate and tell)",
    "forward_samples": "cost (samples passed forward)",
    "backward_samples": "cost (samples passed backward)",
    "flops": "cost (floating-point operations)",
    "steps": "cost (ask/tell steps)",
}


def number(value: float, digits: int = 3) -> str:
    """Three significant digits; `∞` for infinity, `–` for nothing."""
    value = float(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e5:
        decimals = 0 if rounded == 0 else max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
        shown = f"{rounded:.{decimals}f}"
        return shown.rstrip("0").rstrip(".") if "." in shown else shown
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def signed(value: float) -> str:
    """`+0.12`, `-0.3`, `0`: a difference with its sign."""
    return f"+{number(value, 2)}" if value > 0 else number(value, 2)


def interval(low: float, high: float) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    return "" if math.isnan(low) or math.isnan(high) else f"[{number(low)}, {number(high)}]"


def percent(share: float) -> str:
    """`12 %`; small shares keep one digit."""
    return f"{number(100 * share, 2)} %"


def metric_words(metric: str) -> str:
    """`test accuracy` for `test_accuracy`; plain `loss` for the incumbent's loss on the probe rows."""
    return metric.replace("_", " ")


def metric_title(metric: str) -> str:
    """The metric with its unit, for an axis."""
    words = metric_words(metric)
    if metric.endswith("accuracy"):
        return f"{words} (share of rows)"
    if metric == "loss":
        return "loss (incumbent, probe rows)"
    return f"{words} (unit of the target)" if metric.endswith(("rmse", "mae")) else words


def listing(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def plural(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
