"""Several optimizers one after the other: each goes on from the best that the one before has found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from gfopt import registry
from gfopt.errors import ConfigError, expectation
from gfopt.optimizers.base import Optimizer, Options
from gfopt.options import parse
from gfopt.types import Evaluation

SPREAD = 0.1  # of each gene's scale: how far the other members of a stage stand from the best of the one before


class Stage(BaseModel):
    """One optimizer of a chain: `{kind: deap-ga, share: 0.7, population: 64}`, or its name alone.

    Attributes:
        kind: its name in the registry.
        share: of the budget; stages without one have what is left, in equal parts.
        options: its options; in a study file they stand beside `kind` and `share`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"additionalProperties": True})

    kind: str
    share: float | None = Field(None, gt=0, le=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """A name, or options beside `kind`, in the form that the fields have, defaults written out."""
        if isinstance(given, str):
            given = {"kind": given}
        if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
            return given
        own = {key: value for key, value in given.items() if key in ("kind", "share")}
        if own["kind"] == "chain":
            raise ConfigError("kind: " + expectation("an optimizer other than a chain", "chain"))
        options = given.get("options", {key: value for key, value in given.items() if key not in own})
        typed = parse(registry.optimizers.get(own["kind"]).options_class, options)
        return {**own, "options": typed.model_dump(mode="json")}


class ChainOptions(Options):
    """Options of `chain`.

    Attributes:
        stages: the optimizers in their order, as `[deap-ga, adam]` or with a share of the budget and options each. The
            default lets a genetic algorithm look around and Adam finish.
    """

    stages: tuple[Stage, ...] = Field(
        default_factory=lambda: (Stage.model_validate("deap-ga"), Stage.model_validate("adam")),
        min_length=2,
        examples=["[{kind: deap-ga, share: 0.7}, adam]"],
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> ChainOptions:
        given = [stage.share for stage in self.stages if stage.share is not None]
        complete = len(given) == len(self.stages)
        if (complete and not math.isclose(sum(given), 1)) or (not complete and sum(given) >= 1):
            wanted = "shares of 1 together" if complete else "shares below 1 together, as some stages have none"
            raise ValueError("stages: " + expectation(wanted, round(sum(given), 6)))
        return self

    def ends(self) -> list[float]:
        """The share of the budget at which each stage ends; of the last one it is 1."""
        given = [stage.share for stage in self.stages]
        missing = given.count(None)
        rest = (1 - sum(share for share in given if share is not None)) / max(1, missing)
        ends = np.cumsum([rest if share is None else share for share in given]).tolist()
        return [*ends[:-1], 1.0]


class Chain(Optimizer):
    """Stages that hand the best over: first search, then follow the gradient, or the other way round.

    The first stage starts from the start rows. When its share of the budget is spent, or it has nothing more to try,
    the next one starts: its member 0 is the lowest-loss row of the last batch (of all rows where the batch stays the
    same), the others are normal around it, a tenth of each gene's scale away. Every evaluation of every stage is
    charged, so a chain compares at the cost of both.

    References: Goldberg and Voessner 1999, "Optimizing global-local search hybrids", GECCO (global, then local search).
    """

    options_class = ChainOptions
    options: ChainOptions

    @classmethod
    def population_size(cls, options: Options) -> int:
        """Rows that the first stage starts from."""
        return _size(_first(options))

    @classmethod
    def evaluations_per_step(cls, options: Options) -> int:
        """Of the first stage."""
        stage = _first(options)
        return _class(stage).evaluations_per_step(_typed(stage))

    @classmethod
    def uses_gradient(cls, options: Options) -> bool:
        """Whether any stage does."""
        assert isinstance(options, ChainOptions)
        return any(_class(stage).uses_gradient(_typed(stage)) for stage in options.stages)

    @classmethod
    def check_dim(cls, options: Options, dim: int) -> None:
        """Refuse what one of the stages cannot handle."""
        assert isinstance(options, ChainOptions)
        for stage in options.stages:
            _class(stage).check_dim(_typed(stage), dim)

    # Nothing is there yet when the base class sets `spent` for the first time.
    _stage: Optimizer | None = None

    def _initialize(self, start: Tensor) -> None:
        self._ends = self.options.ends()
        self._place = 0
        self._best, self._best_loss = start[0].clone(), math.inf
        self._batch: int | None = None
        self._asked: int | None = None
        self._stage = self._make(start)
        self._follow()

    @property
    def spent(self) -> float:
        """Share of the budget that is spent; at the end of a stage's share the next one takes over."""
        return self._spent

    @spent.setter
    def spent(self, value: float) -> None:
        self._spent = value
        stage = self._stage
        if stage is None:
            return
        while value >= self._ends[self._place] and self._place < len(self._ends) - 1 and not self.hold_batch:
            stage = self._hand_over()
        begin = self._ends[self._place - 1] if self._place else 0.0
        stage.spent = min(1.0, max(0.0, (value - begin) / (self._ends[self._place] - begin)))

    def _make(self, start: Tensor) -> Optimizer:
        """The stage at the present place, from `start` `(P, D)`."""
        stage = self.options.stages[self._place]
        stream = np.random.default_rng(int(self.generator.integers(2**63)))
        around: dict[str, Any] = {"scale": self.scale, "bounds": self.bounds, "groups": self.groups}
        return _class(stage)(start, _typed(stage), stream, **around)

    def _hand_over(self) -> Optimizer:
        """The next stage, around the best so far."""
        self._place += 1
        size = _size(self.options.stages[self._place])
        noise = self.generator.standard_normal((size, len(self._best)))
        noise[0] = 0.0
        rows = self._best + SPREAD * self.scale * torch.as_tensor(noise).to(self._best)
        self._stage = self._make(rows if self.bounds is None else rows.clamp_(*self.bounds))
        self._follow()
        return self._stage

    def _follow(self) -> None:
        """Show the present stage's wishes as the chain's own."""
        stage = self._stage
        assert stage is not None
        self.wants_gradient, self.hold_batch = stage.wants_gradient, stage.hold_batch
        self.stopped = stage.stopped

    def ask(self, batch: int) -> Tensor:
        """The present stage's rows."""
        assert self._stage is not None
        self._asked = batch
        return self._stage.ask(batch)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Tell the present stage; one that has nothing more to try makes room for the next."""
        assert self._stage is not None
        if self._batch != self._asked:
            self._batch, self._best_loss = self._asked, math.inf
        lowest = int(evaluation.loss.argmin())
        if float(evaluation.loss[lowest]) < self._best_loss:
            self._best, self._best_loss = population[lowest].detach().clone(), float(evaluation.loss[lowest])
        self._stage.tell(population, evaluation)
        self._follow()
        if self.stopped and self._place < len(self._ends) - 1:
            self._hand_over()

    def state_dict(self) -> dict[str, Any]:
        """The present stage and its state, the best row so far, and the stream of random numbers."""
        assert self._stage is not None
        return {
            "place": self._place,
            "stage": self._stage.state_dict(),
            "best": self._best.cpu().numpy().copy(),
            "best_loss": self._best_loss,
            "batch": self._batch,
            "asked": self._asked,
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._place = state["place"]
        self._best = torch.from_numpy(np.array(state["best"])).to(self._best)
        self._best_loss, self._batch, self._asked = state["best_loss"], state["batch"], state["asked"]
        self._stage = self._make(self._best.repeat(_size(self.options.stages[self._place]), 1))
        self._stage.load_state_dict(state["stage"])
        self.generator.bit_generator.state = state["generator"]
        self._follow()


def _first(options: Options) -> Stage:
    assert isinstance(options, ChainOptions)
    return options.stages[0]


def _class(stage: Stage) -> type[Optimizer]:
    return cast("type[Optimizer]", registry.optimizers.get(stage.kind))


def _typed(stage: Stage) -> Options:
    return parse(_class(stage).options_class, stage.options)


def _size(stage: Stage) -> int:
    return _class(stage).population_size(_typed(stage))
