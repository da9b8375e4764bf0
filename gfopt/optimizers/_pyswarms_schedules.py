"""Inertia and pulls as functions of the share of the budget that is spent, by pyswarms' own handler."""

from __future__ import annotations

from gfopt.optimizers._pyswarms import handlers
from gfopt.optimizers._pyswarms_options import Coefficients

# Of a whole run, in the handler's unit; its formulas depend on the share of them that is done alone.
ITERATIONS = 1.0
NAMES = {"inertia": "w", "cognitive": "c1", "social": "c2"}


class Schedules:
    """The coefficients of a step as pyswarms' operators want them. To be made inside `quiet()`."""

    def __init__(self, options: Coefficients) -> None:
        self.start = {symbol: getattr(options, name) for name, symbol in NAMES.items()}
        self._ends = {NAMES[name]: end for name, end in options.ends().items()}
        chosen = {symbol: getattr(options, f"{name}_schedule") for name, symbol in NAMES.items()}
        self._handler = handlers.OptionsHandler({name: how for name, how in chosen.items() if how != "constant"})

    def at(self, spent: float) -> dict[str, float]:
        """Inertia `w` and pulls `c1`, `c2` when the share `spent`, in `[0, 1]`, of the budget is spent."""
        now: dict[str, float] = self._handler(
            self.start, iternow=spent * ITERATIONS, itermax=ITERATIONS, end_opts=self._ends
        )
        return now
