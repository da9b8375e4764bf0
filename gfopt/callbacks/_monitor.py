"""The value that a rule watches: the incumbent's loss, or one of its held-out scores."""

from __future__ import annotations

from dataclasses import dataclass

from gfopt.errors import ConfigError, expectation, suggestion
from gfopt.types import Observation

LOWER_IS_BETTER = ("loss", "rmse", "mae")
HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "f1_macro", "sequence_accuracy", "r2")
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Monitor:
    """A column of a run's curve that has a direction.

    Args:
        name: `loss`, the incumbent's on the probe rows, or a split and a metric, as `validation_accuracy`.

    Raises:
        ConfigError: for another name.
    """

    name: str

    def __post_init__(self) -> None:
        scores = [f"{split}_{metric}" for split in SPLITS for metric in (*LOWER_IS_BETTER, *HIGHER_IS_BETTER)]
        known = ["loss", *scores]
        if self.name not in known:
            wanted = "loss, or a split and a metric, as validation_accuracy"
            raise ConfigError("monitor: " + expectation(wanted, self.name, suggestion(self.name, known)))

    @property
    def rises(self) -> bool:
        """Whether higher is better."""
        return self.name.partition("_")[2] in HIGHER_IS_BETTER

    def value(self, seen: Observation) -> float:
        """What a step shows of it.

        Raises:
            ConfigError: if the run has no such score, as where the data have no such split.
        """
        if self.name == "loss":
            return seen.loss
        if self.name not in seen.scores:
            fix = "Load the data with rows to validate on, as validation_fraction=0.1." if not seen.scores else ""
            wanted = f"a value that this run has: {', '.join(['loss', *seen.scores])}"
            raise ConfigError("monitor: " + expectation(wanted, self.name, fix))
        return float(seen.scores[self.name])
