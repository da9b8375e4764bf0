"""OpenAI's evolution strategy: mirrored samples, centered ranks, and Adam on the estimated gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers import _passes as passes
from gfopt.optimizers._distribution import DistributionOptions, SearchDistribution, centered_ranks
from gfopt.optimizers._rules import RuleName, make_rule
from gfopt.optimizers.space import Integer, Real, Space

# Learning rates of rules whose steps are larger or smaller than Adam's, as measured on digits.
_RATES: dict[RuleName, float] = {"rmsprop": 0.1, "adagrad": 2.0, "adadelta": 5.0}
_ADAMW_DECAY = 0.01  # torch's default


class OpenAIESOptions(DistributionOptions):
    """Options of `openai-es`.

    Attributes:
        population: samples of a generation, half of them the mirror images of the others.
        deviation: standard deviation of a gene's samples, in units of its scale (`sigma`).
        learning_rate: of the center, in units of scale: with `adam` about how far each gene goes in a generation.
            `null` is what suits the rule: 0.1 for `rmsprop`, 2 for `adagrad`, 5 for `adadelta`, 0.5 for all others.
        rule: what makes a step of the estimated gradient: `adam`, `sgd` with momentum, or another of torch's
            optimizers by its name, with torch's own defaults but for `betas`.
        betas: how much Adam and its kin keep of the average gradient and of its average square; the first is the
            momentum of `sgd`, the second the smoothing of `rmsprop` and `adadelta`.
        weight_decay: share of the center's weights, times the learning rate, that is taken off in each generation.
            `null` is 0.01 with `adamw`, as in torch, and 0 with all others.
    """

    deviation: float = Field(0.5, gt=0)
    learning_rate: float | None = Field(None, gt=0)
    rule: RuleName = "adam"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    weight_decay: float | None = Field(None, ge=0)


class OpenAIES(SearchDistribution):
    """Natural evolution strategy with a fixed, isotropic distribution (in units of scale).

    With mirrored samples `x_i = c + sigma s e_i` and `y_i = c - sigma s e_i` (`s` the scale, `e_i` normal) and centered
    ranks `u`, the gradient with respect to `c / s` is `1 / (P sigma) sum_i (u(x_i) - u(y_i)) e_i`.

    References: Salimans, Ho, Chen, Sidor, Sutskever 2017, arXiv:1703.03864, section 2 and algorithm 1; Kingma and Ba
        2015, arXiv:1412.6980 (Adam); Loshchilov and Hutter 2019, arXiv:1711.05101 (weight decay).
    """

    options_class = OpenAIESOptions
    options: OpenAIESOptions
    space: ClassVar[Space] = {
        "population": Integer(16, 256, log=True),
        "deviation": Real(0.05, 1.0, log=True),
        "learning_rate": Real(0.05, 2.0, log=True),
    }

    def _moments(self) -> dict[str, Tensor]:
        options = self.options
        self._rule = make_rule(options.rule, options.betas, self._center)
        self._rate = options.learning_rate or _RATES.get(options.rule, 0.5)
        decay = options.weight_decay
        self._decay = (_ADAMW_DECAY if options.rule == "adamw" else 0.0) if decay is None else decay
        return {}

    def _sample(self, rows: Tensor) -> None:
        half, deviation = len(rows) // 2, self.options.deviation * self._scale
        noise = self._draws.normal_(rows[:half])
        passes.spread_mirrored(self._center, deviation, noise, rows[half:])

    def _update(self, samples: Tensor, loss: Tensor) -> None:
        step = self._rule.step(self._gradient(samples, loss))
        self._center.mul_(1 - self._rate * self._decay)
        self._center.addcmul_(self._scale, step, value=self._rate)

    def _gradient(self, samples: Tensor, loss: Tensor) -> Tensor:
        """`(D,)` ascent direction: the estimated gradient of the expected utility with respect to `c / scale`."""
        half, deviation = len(samples) // 2, self.options.deviation
        utility = centered_ranks(loss).to(samples)
        weight = utility[:half] - utility[half:]
        # The noise is half the difference of two mirror images, in units of their deviation.
        noise_sum = torch.cat([weight, -weight]) @ samples / (2 * deviation * self._scale)
        return noise_sum / (len(samples) * deviation)

    def state_dict(self) -> dict[str, Any]:
        """The distribution's state, and the rule's."""
        return {**super().state_dict(), "rule": self._rule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        self._rule.load_state_dict(state["rule"])
