"""What a study can ask to be measured, by the names that stand in its file; loads no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gfopt.diagnostics import quantities as q
from gfopt.errors import ConfigError, expectation, suggestion


@dataclass(frozen=True)
class Kind:
    """A group of quantities that are measured together.

    Attributes:
        quantities: keys of `QUANTITIES`.
        when: `start`, at the initialization; `points`, along the run; `end`, at its end.
        wants: what a problem or an optimizer must have; without it nothing is measured.
    """

    quantities: tuple[str, ...]
    when: tuple[str, ...]
    wants: str


KINDS: dict[str, Kind] = {
    "gradient-flow": Kind(
        (q.GRADIENT_NORM, q.WEIGHT_GRADIENT_NORM, q.BACKWARD_GAIN), ("start", "points"), "a network and a gradient"
    ),
    "saturation": Kind((q.SATURATION_FRACTION, q.DEAD_SHARE), ("start", "points"), "a network"),
    "updates": Kind((q.UPDATE_RATIO, q.EFFECTIVE_ANGLE), ("points",), "a network"),
    "internal-covariate-shift": Kind(
        (q.ICS_L2, q.ICS_RELATIVE, q.ICS_COSINE, q.INPUT_MEAN_DRIFT, q.INPUT_VARIANCE_DRIFT), ("points",), "a network"
    ),
    "search-blindness": Kind(
        (q.FITNESS_SPREAD, q.RELATIVE_SPREAD, q.TIE_SHARE, q.MINIBATCH_RANK_CORRELATION), ("start", "end"), "a network"
    ),
    "population": Kind(
        (q.DIVERSITY, q.IMPROVING_SHARE, q.SELECTION_INTENSITY, q.PARENTS_REPRESENTED, q.STEP_SIZE),
        ("points",),
        "a population",
    ),
    "gradient-cosine": Kind((q.GRADIENT_COSINE,), ("points",), "a gradient"),
    "invariance": Kind((q.INVARIANT,), ("start",), "a network"),
}

DEFAULT = ("gradient-flow",)  # of a study
COLUMNS = ["step", "forward_equivalents", "quantity", "layer", "name", "value"]


class DiagnosticsWarning(UserWarning):
    """A measurement failed; what it looked at goes on."""


def checked(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once and in the order of `KINDS`.

    Raises:
        ConfigError: for an unknown one, with the nearest known.
    """
    if isinstance(names, str):
        raise ConfigError(expectation("a list of names", names, f"For example [{names}]."))
    asked = list(names)
    for index, name in enumerate(asked):
        if not isinstance(name, str) or name not in KINDS:
            error = ConfigError(expectation("the name of a diagnostic", name, suggestion(name, KINDS)))
            error.where = (str(index),)
            raise error
    return tuple(name for name in KINDS if name in asked)
