"""What an optimizer makes of losses that are missing, infinite, equal, or very large."""

from __future__ import annotations

import torch
from torch import Tensor

from gfopt.testing import driving
from gfopt.testing.driving import drive, same
from gfopt.testing.rules.subject import Subject

STEPS = 12
_SPENT = [step / (STEPS - 1) for step in range(STEPS)]
_SAME_BATCH = [0] * STEPS
_HUGE = 2e38  # times losses of about 1: the sum of a few is beyond the largest float32, 3.4e38


class LossRules(Subject):
    """The losses: none of them makes a row that is not finite, and a failed one never wins."""

    def test_a_failed_row_is_worse_than_any_finite_loss(self, kind: str) -> None:
        """Rows that fail, as `+inf`, neither stop the search nor attract it."""
        trace = drive(self.make(kind), driving.broken, _SAME_BATCH, spent=_SPENT)
        loss = torch.cat([step.loss for step in trace])
        assert all(torch.isfinite(rows).all() for rows, _ in trace)
        assert torch.isfinite(loss[-(len(loss) // 2 + 1) :]).any()
        assert torch.isinf(loss).any() or len(loss) == 1
        if self._goes_by_order(kind):
            assert same(trace, drive(self.make(kind), driving.broken, _SAME_BATCH, worst=1e30, spent=_SPENT))

    def _goes_by_order(self, kind: str) -> bool:
        """Whether only the order of losses matters, as for selection by rank: then it does in what fails, too."""
        one = drive(self.make(kind), driving.rugged, _SAME_BATCH, spent=_SPENT)
        other = drive(self.make(kind), driving.rugged, _SAME_BATCH, spent=_SPENT, told=lambda loss: loss + loss**3)
        return same(one, other)

    def test_generations_that_fail_completely_do_not_crash(self, kind: str) -> None:
        """Nothing but failed rows at first, then ordinary ones: it goes on."""
        trace = drive(self.make(kind), driving.hopeless, (0, 0, 0, 1, 1, 2))
        assert all(torch.isfinite(rows).all() for rows, _ in trace)
        assert torch.isfinite(trace[-1].loss).all()

    def test_a_run_that_never_sees_a_finite_loss_does_not_crash(self, kind: str) -> None:
        """Nothing but failed rows to the end."""
        trace = drive(self.make(kind), lambda rows, _: torch.nan * rows.sum(dim=1), _SAME_BATCH, spent=_SPENT)
        assert all(torch.isfinite(rows).all() for rows, _ in trace)

    def test_equal_losses_do_not_crash(self, kind: str) -> None:
        """Losses without any spread, of one batch and of changing ones: a deviation of 0 divides nothing."""
        for batches in (_SAME_BATCH, range(STEPS)):
            trace = drive(self.make(kind), driving.flat, list(batches), spent=_SPENT)
            assert all(torch.isfinite(rows).all() for rows, _ in trace)

    def test_equal_starts_do_not_crash(self, kind: str) -> None:
        """All rows the same: a population without any spread."""
        start = driving.starts(1, 6).repeat(self.count(kind), 1)
        trace = drive(self.make(kind, start=start), driving.rugged, _SAME_BATCH, spent=_SPENT)
        assert all(torch.isfinite(rows).all() for rows, _ in trace)

    def test_losses_near_the_largest_number_do_not_crash_without_gradients(self, kind: str) -> None:
        """Sums and squares of losses overflow; what is made of them must not."""
        algorithm, options = self.checked(kind)

        def steep(rows: Tensor, batch: int) -> Tensor:
            # A gradient that large is a divergence, and the loop's to find: these see an ordinary one.
            return driving.sphere(rows, batch) * (1.0 if algorithm.uses_gradient(options) else _HUGE)

        trace = drive(self.make(kind), steep, _SAME_BATCH, spent=_SPENT)
        assert all(torch.isfinite(rows).all() for rows, _ in trace)
