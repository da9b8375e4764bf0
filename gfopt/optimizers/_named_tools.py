"""Operators of `deap.tools` that a user names, with their arguments: only these attributes, by their prefix."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from gfopt.errors import ConfigError, expectation, suggestion

Argument = bool | int | float | str | list[float]

PREFIX = "tools."
_POSITIONAL = {"sel": 2, "cx": 2, "mut": 1}  # individuals and their number; a pair; an individual
# What an option of ours says in other words: an argument of this name need not be given.
FILLED = frozenset({"tournsize", "alpha", "eta", "mu", "sigma", "indpb", "low", "up"})
_PERMUTATIONS = "which is for permutations, not for real numbers"
_STRATEGY = "which needs a strategy beside the genes: use `mutation: self-adaptive`"
_POSITIVE = "which is for positive values that are maximized: use `selection: {}`"
_OBJECTIVES = "which is for several objectives"
UNFIT = {
    "cxPartialyMatched": _PERMUTATIONS,
    "cxUniformPartialyMatched": _PERMUTATIONS,
    "cxOrdered": _PERMUTATIONS,
    "cxMessyOnePoint": "which changes the number of genes",
    "cxTwoPoints": "which is called cxTwoPoint now",
    "cxESBlend": _STRATEGY,
    "cxESTwoPoint": _STRATEGY,
    "cxESTwoPoints": _STRATEGY,
    "mutESLogNormal": _STRATEGY,
    "selRoulette": _POSITIVE.format("roulette"),
    "selStochasticUniversalSampling": _POSITIVE.format("sus"),
    "selNSGA3": _OBJECTIVES,
    "selTournamentDCD": _OBJECTIVES,
}


class Tool(BaseModel):
    """An operator of `deap.tools`, as `{tool: mutPolynomialBounded, eta: 20}`; its arguments stand beside its name.

    Attributes:
        tool: its name in `deap.tools`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Argument]

    tool: str

    @property
    def arguments(self) -> dict[str, Argument]:
        """What was given, by name."""
        return dict(self.__pydantic_extra__)

    def call(self, filled: Mapping[str, Any]) -> Callable[..., Any]:
        """DEAP's function with its arguments in place; what it cannot cope with is a `ConfigError`.

        Args:
            filled: values of arguments that were not given, as far as the function has them.

        Raises:
            ConfigError: if an argument has no value.
        """
        function = _functions(self.tool)[self.tool]
        wanted = _arguments(function, self.tool)
        values = {name: value for name, value in filled.items() if name in wanted} | self.arguments
        for name, required in wanted.items():
            if required and name not in values:
                fix = "Give it beside the tool's name."
                raise ConfigError(
                    f"{self.tool}.{name}: " + expectation("a value, or a problem with bounds", "`none`", fix)
                )

        def call(*given: Any) -> Any:
            with _explained(self.tool):
                if "low" in values:  # outside, the operators' formulas give no real numbers
                    for genes in given:
                        genes[:] = np.clip(genes, values["low"], values["up"]).tolist()
                return function(*given, **values)

        return call


def parse_tool(given: object, prefix: str) -> Tool:
    """What names an operator of `deap.tools`: `"tools.cxOnePoint"` or `{"tool": "cxOnePoint"}`.

    Args:
        given: what the user wrote.
        prefix: of the admissible names: `sel`, `cx` or `mut`.

    Raises:
        ConfigError: if there is no such operator, or not with these arguments.
    """
    if isinstance(given, Tool):
        return given
    values = {"tool": given.removeprefix(PREFIX)} if isinstance(given, str) else given
    if not isinstance(values, Mapping) or not isinstance(values.get("tool"), str):
        fix = f"For example {{tool: {min(_functions(prefix).keys() - UNFIT.keys())}}}."
        raise ConfigError(expectation("the name of an operator of deap.tools under `tool`", given, fix))
    name, known = values["tool"].removeprefix(PREFIX), _functions(prefix)
    if name in UNFIT:
        raise ConfigError(expectation(f"an operator for real genes and one loss, not {name}, {UNFIT[name]}", name))
    if name not in known:
        wanted = f"an operator of deap.tools whose name begins with {prefix}"
        raise ConfigError(expectation(wanted, name, suggestion(name, known.keys() - UNFIT.keys())))
    arguments = _arguments(known[name], name)
    for argument in values.keys() - {"tool"}:
        if argument not in arguments:
            fix = suggestion(argument, arguments) or "It has none."
            raise ConfigError(f"{argument}: " + expectation(f"an argument of {name}", argument, fix))
    missing = [
        argument for argument, required in arguments.items() if required and argument not in FILLED | values.keys()
    ]
    if missing:
        fix = f"Write {{tool: {name}, {', '.join(f'{argument}: ...' for argument in missing)}}}."
        raise ConfigError(expectation(f"the arguments {', '.join(missing)} of {name}", "`none`", fix))
    return Tool(**{**values, "tool": name})


def _functions(prefix: str) -> dict[str, Callable[..., Any]]:
    """The operators of `deap.tools` with a name that begins so."""
    from deap import tools

    found = {name: value for name, value in vars(tools).items() if name.startswith(prefix)}
    return {name: value for name, value in sorted(found.items()) if inspect.isfunction(value)}


def _arguments(function: Callable[..., Any], name: str) -> dict[str, bool]:
    """Arguments behind the individuals, and whether each is required."""
    skipped = next(count for prefix, count in _POSITIONAL.items() if name.startswith(prefix))
    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    # The attribute that holds an individual's fitness is not the user's to choose.
    return {p.name: p.default is p.empty for p in parameters if p.name != "fit_attr"}


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError) as error:
        got = f"`{type(error).__name__}: {error}`"
        raise ConfigError(f"tools.{name}: " + expectation("arguments that fit the individuals", got)) from error
