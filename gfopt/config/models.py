"""The typed parts of a study; what a registered class decides (options) is checked in `entries`."""

from __future__ import annotations

import importlib
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gfopt import registry
from gfopt.diagnostics import kinds
from gfopt.errors import ConfigError, expectation, suggestion
from gfopt.trace import BUDGET_UNITS

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
NAME_LENGTH = 100


def check_name(name: str) -> str:
    """`name` itself if it can name a study, a problem or an optimizer, and with it a folder.

    Raises:
        ConfigError: saying which characters a name may have.
    """
    if len(name) > NAME_LENGTH:
        raise ConfigError(expectation(f"a name of at most {NAME_LENGTH} characters", f"`{len(name)}` characters"))
    if not re.fullmatch(NAME_PATTERN, name) or ".." in name:
        better = re.sub(r"\.\.+", ".", re.sub(r"[^A-Za-z0-9_.-]+", "-", name)).lstrip("_.-")
        fix = f"For example {better!r}." if better else ""
        raise ConfigError(
            expectation(
                "a name of letters, digits and _ . - that starts with a letter or digit, without `..`",
                name,
                fix,
            )
        )
    return name


def _check_axis(axis: str) -> str:
    if axis not in BUDGET_UNITS:
        raise ConfigError(expectation(f"one of {', '.join(BUDGET_UNITS)}", axis, suggestion(axis, BUDGET_UNITS)))
    return axis


def _check_diagnostics(names: list[str]) -> list[str]:
    return list(kinds.checked(names))


class Frozen(BaseModel):
    """Immutable; unknown keys are refused, and so are infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


class CodeReference(Frozen):
    """A network that a module of the user's makes; nothing is imported before `load`.

    Attributes:
        module: `package.module:attribute`, a factory of an `nn.Module`.
        options: keyword arguments of the factory.
    """

    module: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$",
        examples=["my_package.networks:make"],
    )
    options: dict[str, Any] = Field(default_factory=dict)

    def load(self) -> Any:
        """The attribute itself; runs the user's code.

        Raises:
            ConfigError: if there is no such module or attribute.
        """
        name, _, attribute = self.module.partition(":")
        try:
            found = importlib.import_module(name)
        except Exception as error:
            # Whatever the user's own code raises: the study cannot be built, and the cause is in the chain.
            missing = isinstance(error, ModuleNotFoundError)
            fix = "Install it, or put its folder on PYTHONPATH." if missing else ""
            got = f"`{type(error).__name__}: {error}`"
            raise ConfigError(expectation(f"a module {name} that can be imported", got, fix)) from error
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise ConfigError(expectation(f"an attribute of {name}", attribute, suggestion(part, dir(found))))
            found = getattr(found, part)
        return found


class Objective(Frozen):
    """What everyone is reported on, and what gradient optimizers minimize in its place."""

    loss: Any = Field(description="the loss that every run is reported on", examples=["f1_error"])
    surrogate: Any = Field(None, description="the loss that gradient optimizers minimize", examples=["cross_entropy"])


class Subspace(Frozen):
    """A random projection: the optimizers see `dim` parameters in place of the network's own."""

    dim: int = Field(ge=1, description="parameters that the optimizers see", examples=["20"])
    seed: int = Field(0, ge=0, description="seed of the projection")


class Function(Frozen):
    """A test function with a known optimum."""

    name: Annotated[str, AfterValidator(registry.functions.check)] = Field(description="its name", examples=["sphere"])
    dim: int = Field(ge=1, description="number of parameters", examples=["10"])


class SupervisedConfig(Frozen):
    """A network to train on data, with defaults filled in.

    `dataset`, `network`, `loss` and `objective` hold plain data as in the file (a network may be a
    `CodeReference`), or, from Python, the user's own objects.
    """

    dataset: Any = Field(description="a named data set, or a file of one's own", examples=["{name: digits}"])
    network: Any = Field(description="the network to train", examples=["{kind: mlp, hidden: [32]}"])
    loss: Any = Field("cross_entropy", description="what is minimized")
    objective: Objective | None = Field(None, description="a loss to report, with a surrogate that has a gradient")
    batch_size: int | None = Field(None, ge=1, description="rows per evaluation; null: the whole training set")
    batch_order: Literal["shuffled", "sorted"] = Field(
        "shuffled", description="of the training rows: shuffled in every epoch, or sorted by target and always the same"
    )
    dropout: Literal["shared", "member"] = Field(
        "shared", description="whether all members of a population drop the same units, or each its own"
    )
    bn_mode: Literal["batch", "reference", "running"] = Field(
        "batch", description="whose statistics batch normalization uses while training"
    )
    precision: Literal["full", "tf32", "bf16"] = Field(
        "full", description="of matrix products on a GPU: relative error about 1e-7, 5e-4 or 4e-3"
    )
    trainable: Any = Field(None, description="patterns of the parameters that are trained, as `head.*`; null: all")
    sample_weight: Any = Field(None, description="weights of the training rows; from Python only")
    importance: Any = Field(None, description="weights of the training rows against covariate shift")
    subspace: Subspace | None = Field(None, description="train in a random subspace")
    optimizers: list[str] | None = Field(
        None, min_length=1, description="names of the optimizers that train it; null: all of the study's"
    )
    budget: Any = Field(None, description="the problem's own budget")


class FunctionConfig(Frozen):
    """A test function to minimize."""

    function: Function = Field(description="the function to minimize")
    subspace: Subspace | None = Field(None, description="search in a random subspace")
    optimizers: list[str] | None = Field(
        None, min_length=1, description="names of the optimizers that train it; null: all of the study's"
    )
    budget: Any = Field(None, description="the problem's own budget")


ProblemConfig = SupervisedConfig | FunctionConfig


class Report(Frozen):
    """What the report compares with."""

    baseline: str | None = Field(None, description="the optimizer that the others are compared with", examples=["adam"])
    targets: Literal["auto"] | list[float] = Field("auto", description="losses to reach, or auto")
    axis: Annotated[str, AfterValidator(_check_axis)] = Field(
        "forward_equivalents", description="the cost that the verdict counts in"
    )


class Range(Frozen):
    """Numbers that a tuned option is chosen from."""

    low: int | float = Field(description="the lowest one")
    high: int | float = Field(description="the highest one")
    log: bool = Field(False, description="whether equal ratios count as equal steps")
    step: int = Field(1, ge=1, description="distance of neighbouring whole numbers")


def _check_seeds(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ConfigError(expectation("different seeds", seeds))
    return seeds


class Tune(Frozen):
    """Equal-effort tuning: options that an optimizer's entry does not name are chosen on validation data."""

    trials: int = Field(20, ge=1, description="sets of options that each optimizer tries, its defaults among them")
    budget: Any = Field(None, description="of each run of a trial; null: the problem's own")
    sampler: Literal["tpe", "random", "qmc"] = Field("tpe", description="what proposes the options")
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], AfterValidator(_check_seeds)] = Field(
        [1000, 1001], min_length=1, description="of the runs of a trial; no reported run has them"
    )
    optimizers: list[str] | None = Field(
        None, min_length=1, description="names of the optimizers that are tuned; null: all that have something to tune"
    )
    spaces: dict[str, dict[str, Range | list[str | int | float | bool | None]]] = Field(
        default_factory=dict,
        description="by optimizer: option to what it is chosen from, in place of what the optimizer declares",
    )


class EarlyStopping(Frozen):
    """Where a run ends before its budget does: one rule for all runs of the study."""

    patience: float = Field(gt=0, description="cost without an improvement that ends a run", examples=["1.0e5"])
    min_delta: float = Field(0.0, ge=0, description="how much better than the best so far counts as an improvement")
    unit: Annotated[str, AfterValidator(_check_axis)] = Field("forward_equivalents", description="unit of the patience")
    monitor: str = Field(
        "loss",
        description="what has to improve: the incumbent's loss, or a held-out score",
        examples=["validation_loss"],
    )


class Settings(Frozen):
    """What a study says beside its problems and optimizers."""

    name: Annotated[str, AfterValidator(check_name)] = Field("study", description="names the folder of results")
    seed: int = Field(0, ge=0, description="every random number follows from it")
    repeats: int = Field(5, ge=1, description="independent runs of each problem and optimizer")
    budget: Any = Field(None, description="where a run ends; several units: whichever comes first")
    threads: int = Field(1, ge=1, description="threads per run")
    dtype: Literal["float32", "float64"] = Field("float32", description="floating-point type of the networks")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the networks run")
    batch_repeats: bool = Field(
        False, description="whether the repeats of a cell train in lock step: faster, but their seconds are shared"
    )
    problems: Any = Field(description="what is trained, by name", examples=["problems: {mine: {...}}"])
    optimizers: Any = Field(description="what trains, by name", examples=["optimizers: {adam: {kind: adam}}"])
    diagnostics: Annotated[list[str], AfterValidator(_check_diagnostics)] = Field(
        list(kinds.DEFAULT),
        description="what is measured at the starts and along the runs, outside the clock",
        examples=["[gradient-flow, saturation]"],
    )
    early_stopping: EarlyStopping | None = Field(
        None, description="the rule by which a run may end before its budget; null: none does"
    )
    tune: Tune | None = Field(None, description="equal-effort tuning, before the runs that are reported")
    report: Report = Field(default_factory=Report, description="what the report compares with")
