"""Limited-memory BFGS, each row for itself, with a line search that can be stopped and gone on with anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from gfopt.errors import expectation
from gfopt.optimizers import _line_search as line_search
from gfopt.optimizers._backprop import GradientOptimizer, GradientOptions, gradient_of
from gfopt.optimizers._curvature import Curvature
from gfopt.optimizers.space import Choice, Integer, Real
from gfopt.types import Evaluation

_Verdict = line_search.Verdict | Literal["base", "stuck"]
_TENSORS = ("point", "slope", "direction", "kept")
_LISTS = ("loss", "batches", "lengths", "done")


class LBFGSOptions(GradientOptions):
    """Options of `lbfgs`.

    The constants of the line searches are those of Nocedal and Wright 2006 (section 3.1) for quasi-Newton methods.

    Attributes:
        learning_rate: first trial of a step in units of the quasi-Newton step; without a line search, the step.
        memory: pairs of steps and gradient changes that are kept for each row (`m`).
        line_search: `none`, the step is taken as it is, one evaluation each; `backtracking`, it is shortened until the
            loss falls enough; `strong-wolfe`, it is also lengthened while the slope is steep. A search keeps the
            minibatch until it is over.
        decrease: what share of the decrease that the slope promises is enough (`c1`).
        flatness: to what share the slope has to shrink, for `strong-wolfe` (`c2`).
        trials: evaluations after which a line search gives up; what is known of the curvature is then forgotten.
    """

    learning_rate: float = Field(1.0, gt=0)
    memory: int = Field(10, ge=1)
    line_search: Literal["none", "backtracking", "strong-wolfe"] = "backtracking"
    decrease: float = Field(1e-4, gt=0, lt=1)
    flatness: float = Field(0.9, gt=0, lt=1)
    trials: int = Field(20, ge=1)

    @model_validator(mode="after")
    def _both_conditions_can_hold(self) -> LBFGSOptions:
        if self.flatness <= self.decrease:
            limit = f"more than the decrease of {self.decrease:g}"
            raise ValueError("flatness: " + expectation(limit, self.flatness))
        return self


class LBFGS(GradientOptimizer):
    """Quasi-Newton steps from the last few steps and gradient changes of each row.

    `x <- x - a H g`, with the inverse Hessian `H` of the last `m` pairs `s = x_{k+1} - x_k`, `y = g_{k+1} - g_k`, never
    formed (two-loop recursion, algorithm 7.4), `H_0 = s'y / y'y` of the last pair (eq. 7.20), and the step size `a` of
    the line search. The first step is `min(1, 1 / |g|_1)` long in units of `g`, as torch's.

    Minibatches: both gradients of a pair are of the same minibatch; else the pair is left out. A line search begins
    with the loss at `x` on the new minibatch, which it then holds. Without one, each step is taken on a new minibatch,
    so that no pair is ever complete and the rule is gradient descent: use a full batch there.

    A row whose step fails, or lands where there is no gradient and no gain, goes back and tries a shorter one. With
    bounds every trial is projected onto them.

    References: Nocedal and Wright 2006, "Numerical Optimization", algorithms 3.1, 3.5, 3.6, 7.4, 7.5; Liu and Nocedal
        1989; Schraudolph, Yu, Guenter 2007, "A Stochastic Quasi-Newton Method for Online Convex Optimization" (pairs
        within a minibatch).
    """

    options_class = LBFGSOptions
    options: LBFGSOptions
    space = {
        "learning_rate": Real(0.1, 1.0, log=True),
        "memory": Integer(3, 30, log=True),
        "line_search": Choice(("backtracking", "strong-wolfe")),
    }

    def _initialize(self, start: Tensor) -> None:
        super()._initialize(start)
        count = len(start)
        self._point = start  # x: the last accepted rows
        self._slope = torch.zeros_like(start)  # g, there
        self._direction = torch.zeros_like(start)  # d
        self._kept = torch.zeros_like(start)  # gradient at the best trial that a search may come back to
        self._curvature = Curvature(start, self.options.memory)
        self._loss = [math.inf] * count
        self._batches: list[int | None] = [None] * count  # where loss and gradient of `_point` are known
        self._searches: list[line_search.Search | None] = [None] * count
        self._lengths = [0.0] * count  # of the step before; 0: there was none; inf: of no interest
        self._batch: int | None = None  # where the searches take place
        self._done = [False] * count  # which rows wait for the others
        self._asked: list[int] = []

    @property
    def _searching(self) -> bool:
        return self.options.line_search != "none"

    def ask(self, batch: int) -> Tensor:
        """The trials of the rows that still search; on a new batch, with a line search, the rows themselves first."""
        if self._searching and batch != self._batch:
            self._searches = [None] * len(self._loss)
            self._done = [False] * len(self._loss)
        self._batch = batch
        self._asked = [row for row, done in enumerate(self._done) if not done]
        rows = torch.tensor(self._asked, device=self._point.device)
        return self._trial(rows, [search.step if (search := self._searches[row]) else 0.0 for row in self._asked])

    def _trial(self, rows: Tensor, steps: list[float]) -> Tensor:
        """`(N, D)` points at these steps along the rows' directions."""
        point = self._point[rows]
        moved = point + self._point.new_tensor(steps)[:, None] * self._direction[rows]
        return moved if self.bounds is None else moved.clamp(*self.bounds)

    def tell(self, population: Tensor, evaluation: Evaluation) -> None:
        """Take losses and gradients of the trials: accept, or try another step.

        Raises:
            NotDifferentiableError: if the evaluation holds no gradient.
        """
        rows = torch.tensor(self._asked, device=self._point.device)
        gradient, loss, slopes = self._measured(rows, population, evaluation)
        verdicts = [self._judge(row, *seen) for row, *seen in zip(self._asked, loss, slopes, strict=True)]
        self._remember(rows, verdicts, gradient)
        self._move(rows, verdicts, population, gradient, loss)
        self._give_up([row for row, verdict in zip(self._asked, verdicts, strict=True) if verdict == "none"])
        self._go_on(verdicts)

    def _measured(
        self, rows: Tensor, population: Tensor, evaluation: Evaluation
    ) -> tuple[Tensor, list[float], list[float]]:
        """`(N, D)` gradients, and the losses and slopes along the rows' directions; `inf` where there is no way on."""
        gradient, loss = gradient_of(evaluation).to(self._point), evaluation.loss.detach().double()
        decay = self.options.weight_decay
        flat = (gradient == 0).all(dim=1)
        if decay:
            gradient = torch.where(flat[:, None], gradient, gradient + decay * population)
            loss = loss + decay / 2 * population.square().sum(dim=1)
        slopes = (gradient * self._direction[rows]).sum(dim=1).tolist()
        # The gradient of a failed row is 0: one that gains nothing and has no gradient is as good as failed.
        losses = [
            math.inf if blank and not (self._batches[row] == self._batch and value < self._loss[row]) else value
            for row, value, blank in zip(self._asked, loss.tolist(), flat.tolist(), strict=True)
        ]
        return gradient, losses, slopes

    def _judge(self, row: int, loss: float, slope: float) -> _Verdict:
        """What becomes of a row's trial; `base` where `x` itself was evaluated, `stuck` where that failed."""
        search = self._searches[row]
        if search is not None:
            return search.tell(loss, slope)
        if not math.isfinite(loss):
            self._batches[row] = None
            return "stuck"
        return "base"

    def _remember(self, rows: Tensor, verdicts: list[_Verdict], gradient: Tensor) -> None:
        """Keep the gradients at trials that a search may come back to."""
        improved = [isinstance(s := self._searches[row], line_search.StrongWolfe) and s.improved for row in self._asked]
        at = [
            i for i, (verdict, kept) in enumerate(zip(verdicts, improved, strict=True)) if kept and verdict == "again"
        ]
        self._kept[rows[at]] = gradient[at]

    def _move(
        self, rows: Tensor, verdicts: list[_Verdict], population: Tensor, gradient: Tensor, loss: list[float]
    ) -> None:
        """Make the accepted points the rows' own, with what was learnt of the curvature on the way."""
        point, accepted = population.to(self._point), [0.0] * len(self._loss)
        back = [i for i, verdict in enumerate(verdicts) if verdict == "lowest"]
        if back:
            searches = [self._searches[self._asked[i]] for i in back]
            lowest = [search for search in searches if isinstance(search, line_search.StrongWolfe)]
            point, gradient = point.clone(), gradient.clone()
            point[back] = self._trial(rows[back], [search.low_step for search in lowest])
            gradient[back] = self._kept[rows[back]]
            for i, search in zip(back, lowest, strict=True):
                loss[i] = search.low_loss
        moved = [i for i, verdict in enumerate(verdicts) if verdict in ("here", "lowest")]
        step = point[moved] - self._point[rows[moved]]
        pairs = [k for k, i in enumerate(moved) if self._batches[self._asked[i]] == self._batch]
        change = gradient[moved] - self._slope[rows[moved]]
        self._curvature.add(rows[moved][pairs], step[pairs], change[pairs])
        for i, length in zip(moved, torch.linalg.vector_norm(step, dim=1).tolist(), strict=True):
            self._lengths[self._asked[i]] = length if self._searching else math.inf
            accepted[self._asked[i]] = 1.0
        known = [i for i, verdict in enumerate(verdicts) if verdict in ("here", "lowest", "base")]
        self._point[rows[known]], self._slope[rows[known]] = point[known], gradient[known]
        for i in known:
            self._loss[self._asked[i]], self._batches[self._asked[i]] = loss[i], self._batch
        if self._plateau is not None:
            losses = torch.tensor(self._loss, dtype=torch.float64)
            self._plateau.update(losses, torch.tensor(accepted, device=self._plateau.factor.device) > 0)

    def _give_up(self, rows: list[int]) -> None:
        """Forget what led nowhere; the next search is along the gradient and begins where this one ended."""
        if not rows:
            return
        where = torch.tensor(rows, device=self._point.device)
        self._curvature.forget(where)
        norms = torch.linalg.vector_norm(self._direction[where], dim=1).tolist()
        for row, norm in zip(rows, norms, strict=True):
            search = self._searches[row]
            self._lengths[row] = norm * search.step if search is not None else 0.0

    def _go_on(self, verdicts: list[_Verdict]) -> None:
        """Begin the searches that are due: at once without a line search, else when all rows are done with theirs."""
        over = [row for row, verdict in zip(self._asked, verdicts, strict=True) if verdict != "again"]
        for row in over:
            self._searches[row] = None
        if not self._searching:
            self._begin(over)
            return
        begun = [row for row, verdict in zip(self._asked, verdicts, strict=True) if verdict == "base"]
        self._begin(begun)
        for row in set(over) - {row for row in begun if self._searches[row] is not None}:
            self._done[row] = True
        self.hold_batch = not all(self._done)
        if not self.hold_batch:
            self._done = [False] * len(self._done)
            self._begin(list(range(len(self._done))))

    def _begin(self, rows: list[int]) -> None:
        """A direction and a search for each of the rows whose loss and gradient are known."""
        rows = [row for row in rows if self._batches[row] is not None]
        if not rows:
            return
        where = torch.tensor(rows, device=self._point.device)
        gradient = self._slope[where]
        direction = -self._curvature.times(where, gradient)
        slope = (gradient * direction).sum(dim=1)
        wrong = ~(slope < 0)  # rounding, or an overflow
        self._curvature.forget(where[wrong])
        direction = torch.where(wrong[:, None], -gradient, direction)
        slope = torch.where(wrong, -gradient.square().sum(dim=1), slope)
        self._direction[where] = direction
        steps = self._first_steps(rows, where, gradient)
        own: dict[str, Any] = {"limit": self.options.trials}
        if self._searching:
            own["decrease"] = self.options.decrease
        if self.options.line_search == "strong-wolfe":
            own["flatness"] = self.options.flatness
        for row, down, step in zip(rows, slope.tolist(), steps, strict=True):
            if down < 0:
                search = line_search.begin(self.options.line_search, self._loss[row], down, step, **own)
                self._searches[row] = search

    def _first_steps(self, rows: list[int], where: Tensor, gradient: Tensor) -> list[float]:
        """The step that each search begins with."""
        shares = [1.0] * len(rows) if self._plateau is None else self._plateau.factor[where].tolist()
        empty = self._curvature.empty(where).tolist()
        norms = torch.linalg.vector_norm(gradient, dim=1).tolist()
        sums = gradient.abs().sum(dim=1).tolist()
        steps = []
        for row, share, none, norm, total in zip(rows, shares, empty, norms, sums, strict=True):
            step, length = share * self._rate(), self._lengths[row]
            if none and norm > 0 and math.isfinite(length):
                # Along the gradient, whose length says nothing: as long as the step before.
                step = length / norm if length > 0 else step * min(1.0, 1.0 / total)
            steps.append(step)
        return steps

    def state_dict(self) -> dict[str, Any]:
        """The rows with their gradients and curvature, and how far each search has come."""
        tensors = {name: getattr(self, f"_{name}") for name in _TENSORS}
        return {
            **super().state_dict(),
            **{name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()},
            "curvature": self._curvature.state_dict(),
            "searches": [None if search is None else search.state_dict() for search in self._searches],
            **{name: list(getattr(self, f"_{name}")) for name in _LISTS},
            "batch": self._batch,
            "hold_batch": self.hold_batch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        for name in _TENSORS:
            setattr(self, f"_{name}", torch.from_numpy(np.array(state[name])).to(self._point))
        self._curvature.load_state_dict(state["curvature"])
        self._searches = [None if search is None else line_search.restored(search) for search in state["searches"]]
        for name in _LISTS:
            setattr(self, f"_{name}", list(state[name]))
        self._batch, self.hold_batch = state["batch"], state["hold_batch"]
