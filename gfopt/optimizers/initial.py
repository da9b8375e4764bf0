"""The initial network as it is: the baseline of zero effort."""

from __future__ import annotations

from typing import ClassVar

from gfopt.optimizers.base import Options
from gfopt.optimizers.best_of_n import BestOfN
from gfopt.optimizers.space import Space


class InitialOptions(Options):
    """Options of `initial`: there are none."""


class Initial(BestOfN):
    """The start, evaluated once: what a network is worth that nobody trained."""

    options_class = InitialOptions
    space: ClassVar[Space] = {}

    @classmethod
    def population_size(cls, options: Options) -> int:
        """The one start."""
        del options
        return 1
