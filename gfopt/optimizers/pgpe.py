"""Policy gradients with parameter-based exploration: mirrored samples, a deviation a gene, and ClipUp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from gfopt.optimizers import _passes as passes
from gfopt.optimizers._distribution import DistributionOptions, SearchDistribution, centered_ranks
from gfopt.optimizers._rules import ClipUp, Rule, RuleName, make_rule
from gfopt.optimizers.space import Integer, Real, Space


class PGPEOptions(DistributionOptions):
    """Options of `pgpe`.

    Attributes:
        population: samples of a generation, half of them the mirror images of the others.
        deviation: the first standard deviation of a gene's samples, in units of its scale (`sigma`).
        deviation_rate: learning rate of the deviations (`alpha_sigma`).
        deviation_change: the largest change of a deviation in a generation, as a share of it.
        rule: what makes a step of the center's gradient: `clipup`, `adam`, `sgd` with momentum, or another of torch's
            optimizers by its name (`adam` wants a `learning_rate` of about 1).
        learning_rate: of the center, in units of each gene's deviation (`alpha_mu`).
        max_speed: of `clipup`: the longest step, as the root mean square over the genes in units of their
            deviations.
        betas: how much Adam and its kin keep of the average gradient and of its average square; the first is the
            momentum of `clipup` and `sgd`.

    A learning rate of half the speed limit, momentum and the limit on a deviation's change are those of Toklu et al.
    """

    deviation: float = Field(0.5, gt=0)
    deviation_rate: float = Field(0.3, ge=0)
    deviation_change: float = Field(0.2, gt=0, lt=1)
    rule: Literal["clipup"] | RuleName = "clipup"
    learning_rate: float = Field(0.15, gt=0)
    max_speed: float = Field(0.3, gt=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)


class PGPE(SearchDistribution):
    """Follows the gradient of the expected utility with respect to a center and a deviation for each gene.

    With mirrored samples `x = c + t` and `y = c - t`, `t` normal of deviation `sigma`, and centered ranks `u`, the
    center's gradient is `1/P sum (u(x) - u(y)) t`, and `sigma` grows by
    `alpha_sigma / P sum (u(x) + u(y)) (t^2 - sigma^2) / sigma`.

    References: Sehnke, Osendorfer, Rueckstiess, Graves, Peters, Schmidhuber 2010, Neural Networks 23(4), algorithm with
        symmetric sampling, eq. 13 to 15 (with ranks instead of returns, whose mean is the baseline); Toklu, Liskowski,
        Srivastava 2020, arXiv:2008.02387 (ClipUp).
    """

    options_class = PGPEOptions
    options: PGPEOptions
    space: ClassVar[Space] = {
        "population": Integer(
            16,
            256,
            log=True,
        ),
        "deviation": Real(0.05, 1.0, log=True),
        "learning_rate": Real(0.03, 0.5, log=True),
        "max_speed": Real(0.05, 1.0, log=True),
    }

    def _moments(self) -> dict[str, Tensor]:
        self._rule = self._make_rule()
        return {"deviation": self.options.deviation * self._scale}

    def _make_rule(self) -> Rule:
        options, center = self.options, self._center
        if options.rule == "clipup":
            return ClipUp(options.betas, center, options.max_speed / options.learning_rate)
        return make_rule(options.rule, options.betas, center)

    def _sample(self, rows: Tensor) -> None:
        half = len(rows) // 2
        passes.spread_mirrored(self._center, self._vectors["deviation"], self._draws.normal_(rows[:half]), rows[half:])

    def _update(self, samples: Tensor, loss: Tensor) -> None:
        options, deviation = self.options, self._vectors["deviation"]
        utility = centered_ranks(loss).to(samples)
        # Utilities sum to 0: what is subtracted from each square drops out of the sum.
        first, second = passes.weighted_moments(samples, self._center, utility / len(loss))
        step = self._rule.step(first / deviation)
        self._center.addcmul_(deviation, step, value=options.learning_rate)
        most = options.deviation_change
        growth = second.div_(deviation.square()).mul_(options.deviation_rate).clamp_(-most, most)
        deviation.addcmul_(deviation, growth)

    def state_dict(self) -> dict[str, Any]:
        """The distribution's state, and the rule's."""
        return {**super().state_dict(), "rule": self._rule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        self._rule.load_state_dict(state["rule"])
