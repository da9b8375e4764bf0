"""Options of the genetic algorithms: what they share is said once."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from gfopt.errors import expectation, suggestion
from gfopt.optimizers._named_tools import PREFIX, Tool, parse_tool
from gfopt.optimizers.base import Options
from gfopt.optimizers.space import Choice, Integer, Real, Space

SelectionKind = Literal["tournament", "roulette", "rank", "truncation", "sus"]
SurvivalKind = Literal["best", SelectionKind]
CrossoverKind = Literal["uniform", "one-point", "two-point", "neuron", "blend", "sbx", "arithmetic"]
MutationKind = Literal["gaussian", "polynomial", "uniform", "self-adaptive"]

# What tuning may choose for a generational algorithm, of DEAP's parts or gfopt's own.
SPACE: Space = {
    "population": Integer(16, 256, log=True),
    "mutation_strength": Real(0.02, 1.0, log=True),
    "tournament_size": Integer(2, 10),
    "crossover": Choice(("uniform", "neuron", "blend")),
}


def _kind_or_tool(kinds: Any, prefix: str, value: object) -> object:
    """`value` if it is one of the kinds, else the operator of `deap.tools` that it names."""
    known = get_args(kinds)
    if value in known or isinstance(value, Tool):
        return value
    if isinstance(value, dict) or (isinstance(value, str) and value.startswith(PREFIX)):
        return parse_tool(value, prefix)
    near = suggestion(value, known)
    fix = f"{near} " if near.startswith("Did") else ""
    example = f"or an operator of deap.tools as {{tool: {prefix}..., ...}}"
    raise ValueError(expectation(f"one of {_listed(known)}, {example}", value, f"{fix}The default is {known[0]!r}."))


def _kind_alone(kinds: Any, all_kinds: Any, value: object) -> object:
    """`value` if it is one of the kinds; where `deap-ga` has it, the message says so."""
    known = get_args(kinds)
    if value in known:
        return value
    elsewhere = value in get_args(all_kinds) or isinstance(value, dict) or str(value).startswith(PREFIX)
    fix = "`deap-ga` has it." if elsewhere else f"The default is {known[0]!r}."
    raise ValueError(expectation(f"one of {_listed(known)}", value, fix))


def _listed(names: tuple[str, ...]) -> str:
    quoted = [repr(name) for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _schema(kinds: Any, prefix: str) -> WithJsonSchema:
    name = {"type": "string", "pattern": f"^(tools\\.)?{prefix}"}
    tool = {"type": "object", "properties": {"tool": name}, "required": ["tool"]}
    shorthand = {"type": "string", "pattern": f"^tools\\.{prefix}"}
    return WithJsonSchema({"anyOf": [{"enum": list(get_args(kinds))}, shorthand, tool]})


Selection = Annotated[
    SelectionKind | Tool, BeforeValidator(partial(_kind_or_tool, SelectionKind, "sel")), _schema(SelectionKind, "sel")
]
Survival = Annotated[
    SurvivalKind | Tool, BeforeValidator(partial(_kind_or_tool, SurvivalKind, "sel")), _schema(SurvivalKind, "sel")
]
Crossover = Annotated[
    CrossoverKind | Tool, BeforeValidator(partial(_kind_or_tool, CrossoverKind, "cx")), _schema(CrossoverKind, "cx")
]
Mutation = Annotated[
    MutationKind | Tool, BeforeValidator(partial(_kind_or_tool, MutationKind, "mut")), _schema(MutationKind, "mut")
]
NativeMutation = Annotated[
    Literal["gaussian"], BeforeValidator(partial(_kind_alone, Literal["gaussian"], MutationKind))
]
NativeSelection = Annotated[SelectionKind, BeforeValidator(partial(_kind_alone, SelectionKind, SelectionKind))]
NativeCrossover = Annotated[CrossoverKind, BeforeValidator(partial(_kind_alone, CrossoverKind, CrossoverKind))]


class BreedingOptions(Options):
    """Parameters of selection, crossover and mutation.

    Attributes:
        tournament_size: individuals in a tournament; 1 is no selection at all.
        truncation_share: share of the population that `truncation` chooses from.
        rank_pressure: how many offspring `rank` expects of the best, where an average individual has 1; that of the
            worst is 2 less it.
        crossover_probability: probability that a pair is crossed.
        blend_alpha: how far `blend` reaches outside the parents, in units of their distance.
        sbx_eta: how near to the parents `sbx` stays: the larger, the nearer.
        mutation_probability: probability that an individual is mutated.
        gene_probability: probability that a gene of a mutated individual is changed.
        mutation_strength: standard deviation of the normal number added to a gene, in units of
            `mutation_scale`; of `self-adaptive`, what it is at the start.
        mutation_scale: `initial`, the gene's scale: its standard deviation under the network's own
            initialization; `relative`, the root mean square of the parameter that it belongs to (a layer's
            weights, its shifts), as the individual has it before the mutation, but between a tenth and a
            thousand times the initial scale.
    """

    tournament_size: int = Field(5, ge=1)
    truncation_share: float = Field(0.2, gt=0, le=1)
    rank_pressure: float = Field(2.0, ge=1, le=2)
    crossover_probability: float = Field(1.0, ge=0, le=1)
    blend_alpha: float = Field(0.5, ge=0)
    sbx_eta: float = Field(15.0, ge=0)
    mutation_probability: float = Field(1.0, ge=0, le=1)
    gene_probability: float = Field(1.0, gt=0, le=1)
    mutation_strength: float = Field(0.2, gt=0)
    mutation_scale: Literal["initial", "relative"] = "initial"


class DeapOptions(BreedingOptions):
    """What the algorithms made of DEAP's parts share.

    Attributes:
        crossover: what a pair of parents exchanges: `uniform`, each gene with probability 1/2; `one-point`
            and `two-point`, a segment; `neuron`, all incoming weights of a neuron together, with probability
            1/2; `blend`, genes on the line through the parents'; `arithmetic`, all genes at one and the same place
            between the parents'; `sbx`, genes around the parents' as one-point crossover of binary numbers spreads
            them. Or any crossover of `deap.tools` with its arguments, as `{tool: cxSimulatedBinaryBounded, eta: 15,
            low: -1, up: 1}`: far slower, gene by gene in Python.
        mutation: what happens to a gene: `gaussian`, a normal number is added; `self-adaptive`, the same, but the
            strength is each individual's own: it is inherited (crossed parents pass on its geometric mean) and
            changes by log-normal numbers before it is used; `polynomial` and `uniform`, it moves within its range,
            mostly by little or uniformly. Or any mutation of `deap.tools`, as crossover.
        mutation_range: how far `polynomial` and `uniform` may move a gene from its value, in units of
            `mutation_scale`, and not beyond the problem's bounds; `None`: anywhere within these, as the original
            operators.
        polynomial_eta: how small the moves of `polynomial` are: the larger, the smaller.
        adaptation_rate: standard deviation of the log-normal changes of a `self-adaptive` strength (`tau`); `None` is
            `1 / sqrt(D)`, but at least 0.1.
        project_neutral: give the rows of weights in front of a normalization, whose length changes no output,
            the length of the initialization: the start's, and every offspring's. Without it they grow, and the
            same mutation turns them less and less; with it, choose a smaller `mutation_strength`, which nothing
            anneals (see `gfopt.optimizers.neutral`). The problem's bounds prevail.

    Operators of `deap.tools` take numbers in the genes' own units. An argument that is not given is filled from the
    option that means the same: `tournsize` from `tournament_size`, `alpha` from `blend_alpha`, `eta` from `sbx_eta` or
    `polynomial_eta`, `indpb` from `gene_probability`, `mu` and `sigma` with 0 and `mutation_strength` times the scale,
    `low` and `up` with the problem's bounds. Genes are put within `low` and `up` before an operator that has them.
    """

    crossover: Crossover = "uniform"
    mutation: Mutation = "gaussian"
    mutation_range: float | None = Field(0.5, gt=0)
    polynomial_eta: float = Field(5.0, ge=0)
    adaptation_rate: float | None = Field(None, gt=0)
    project_neutral: bool = False


class GenerationOptions(BreedingOptions):
    """What a generation is made of.

    Attributes:
        population: number of individuals.
        elites: the best individuals, which survive unchanged.
    """

    population: int = Field(64, ge=2)
    elites: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _some_offspring(self) -> GenerationOptions:
        if self.elites >= self.population:
            limit = f"less than the population of {self.population}"
            raise ValueError("elites: " + expectation(limit, self.elites))
        return self
