"""OpenAI's evolution strategy: mirrored samples, centered ranks, and Adam on the estimated gradient."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gfopt.optimizers import _passes as passes
from gfopt.optimizers._distribution import DistributionOptions, SearchDistribution, utilities_by_rank

_EPSILON = 1e-8  # Adam's, far below any gradient of ranks


class OpenAIESOptions(DistributionOptions):
    """Options of `openai-es`.

    Attributes:
        population: samples of a generation, half of them the mirror images of the others.
        deviation: standard deviation of a gene's samples, in units of its scale (`sigma`).
        learning_rate: of the center, in units of scale: with `adam` about how far each gene goes in a generation.
        rule: what makes a step of the estimated gradient: `adam`, or `sgd` with momentum.
        betas: how much Adam keeps of the average gradient and of its average square; the first is the momentum of
            `sgd`.
        weight_decay: share of the center's weights, times the learning rate, that is taken off in each generation.
    """

    deviation: float = Field(0.5, gt=0)
    learning_rate: float = Field(0.5, gt=0)
    rule: Literal["adam", "sgd"] = "adam"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)


class OpenAIES(SearchDistribution):
    """Natural evolution strategy with a fixed, isotropic distribution (in units of scale).

    With mirrored samples `x_i = c + sigma s e_i` and `y_i = c - sigma s e_i` (`s` the scale, `e_i` normal) and centered
    ranks `u`, the gradient with respect to `c / s` is `1 / (P sigma) sum_i (u(x_i) - u(y_i)) e_i`.

    References: Salimans, Ho, Chen, Sidor, Sutskever 2017, arXiv:1703.03864, section 2 and algorithm 1; Kingma and Ba
        2015, arXiv:1412.6980 (Adam); Loshchilov and Hutter 2019, arXiv:1711.05101 (weight decay).
    """

    options_class = OpenAIESOptions
    options: OpenAIESOptions

    def _moments(self) -> dict[str, Tensor]:
        zeros = torch.zeros_like(self._center)
        return {"average": zeros, "average_square": zeros.clone(), "steps": zeros.new_zeros(())}

    def _sample(self, rows: Tensor) -> None:
        half, deviation = len(rows) // 2, self.options.deviation * self._scale
        noise = self._draws.normal_(rows[:half])
        passes.spread_mirrored(self._center, deviation, noise, rows[half:])

    def _update(self, samples: Tensor, loss: Tensor) -> None:
        options = self.options
        step = self._step(self._gradient(samples, loss))
        self._center.mul_(1 - options.learning_rate * options.weight_decay)
        self._center.addcmul_(self._scale, step, value=options.learning_rate)

    def _gradient(self, samples: Tensor, loss: Tensor) -> Tensor:
        """`(D,)` ascent direction: the estimated gradient of the expected utility with respect to `c / scale`."""
        half, deviation = len(samples) // 2, self.options.deviation
        utility = centered_ranks(loss).to(samples)
        weight = utility[:half] - utility[half:]
        # The noise is half the difference of two mirror images, in units of their deviation.
        noise_sum = torch.cat([weight, -weight]) @ samples / (2 * deviation * self._scale)
        return noise_sum / (len(samples) * deviation)

    def _step(self, gradient: Tensor) -> Tensor:
        """`(D,)` step per unit of learning rate; updates the averages."""
        average, square, steps = (self._vectors[name] for name in ("average", "average_square", "steps"))
        keep, keep_square = self.options.betas
        if self.options.rule == "sgd":
            return average.mul_(keep).add_(gradient)
        steps += 1
        average.lerp_(gradient, 1 - keep)
        square.mul_(keep_square).addcmul_(gradient, gradient, value=1 - keep_square)
        unbiased = (square / (1 - keep_square**steps)).sqrt_().add_(_EPSILON)
        return average / (1 - keep**steps) / unbiased


def centered_ranks(loss: Tensor) -> Tensor:
    """Map `(P,)` losses to `(P,)` utilities in [-1/2, 1/2], lowest loss highest; they sum to zero.

    Args:
        loss: `(P,)`; `+inf` marks a failed row and ranks last; equal losses share their ranks.

    References: Salimans et al. 2017, arXiv:1703.03864, section 2.1 (fitness shaping).
    """
    return utilities_by_rank(loss, torch.linspace(0.5, -0.5, len(loss), dtype=loss.dtype, device=loss.device))
