"""Which rows an optimizer asks for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gfopt.errors import ConfigError, ShapeError
from gfopt.testing import driving
from gfopt.testing.driving import BATCHES, SPENT, drive, evaluate, same, walk
from gfopt.testing.rules.subject import Subject

MANY = 1_000_000


class RowRules(Subject):
    """The rows: their shape and number, where they come from, and that nothing else depends on them."""

    @pytest.mark.parametrize("size", [6, 2, 1])
    @pytest.mark.parametrize("dim", [6, 1])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_rows_have_the_shape_dtype_and_device_of_the_start(
        self, kind: str, size: int, dim: int, dtype: torch.dtype
    ) -> None:
        """Rows are `(Q, D)` like the start, and about as many as the declarations say."""
        algorithm, options = self.checked(kind, size)
        most = 2 * max(algorithm.population_size(options), algorithm.evaluations_per_step(options)) + 1
        for rows, _ in walk(self.make(kind, size=size, dim=dim, dtype=dtype)):
            assert rows.shape[1:] == (dim,)
            assert len(rows) <= most
            assert rows.dtype is dtype
            assert rows.device.type == "cpu"
            assert not rows.requires_grad
            assert torch.isfinite(rows).all()

    def test_the_first_rows_are_the_start_on_a_continuous_genome(self, kind: str) -> None:
        """All optimizers of a study start from the same rows, in the same order."""
        start = driving.starts(self.count(kind), 6)
        first = self.make(kind).ask(0)[: len(start)]
        assert torch.equal(first, start) == self.checked(kind)[0].continuous

    def test_same_seed_same_trace(self, kind: str) -> None:
        """Random numbers come from the generator that it was given, and from nowhere else."""
        assert same(walk(self.make(kind)), walk(self.make(kind)))

    def test_another_seed_gives_another_trace_unless_nothing_is_drawn(self, kind: str) -> None:
        """What is drawn from the generator is used."""
        optimizer = self.make(kind, seed=0)
        one, other = walk(optimizer), walk(self.make(kind, seed=1))
        drew = optimizer.generator.bit_generator.state != np.random.default_rng(0).bit_generator.state
        assert same(one, other) != drew

    def test_interleaved_runs_do_not_disturb_each_other(self, kind: str) -> None:
        """No state is shared by two instances: runs train side by side."""
        alone = walk(self.make(kind))
        one, other = self.make(kind), self.make(kind, seed=1)
        together = driving.Steps()
        for step in range(len(BATCHES)):
            part = walk(one, step, step + 1, together.batch)
            together += part
            together.batch = part.batch
            walk(other, step, step + 1)
        assert same(alone, together)

    def test_what_it_is_given_and_hands_out_is_not_shared(self, kind: str) -> None:
        """The start is not changed, and rows and losses may be written over after each step."""
        start = driving.starts(self.count(kind), 6)
        kept, optimizer, trace, batch = start.clone(), self.make(kind, start=start), driving.Steps(), BATCHES[0]
        for following, spent in zip(BATCHES, SPENT, strict=True):
            optimizer.spent = spent
            batch = batch if optimizer.hold_batch else following
            gradient, rows = optimizer.wants_gradient, optimizer.ask(batch)
            trace.append(driving.Step(rows.clone(), rows))
            if not len(rows):
                continue
            evaluation = evaluate(driving.rugged, rows, batch, gradient)
            optimizer.tell(rows, evaluation)
            for tensor in (rows, evaluation.loss, evaluation.gradient):
                if tensor is not None:
                    tensor.fill_(123.0)
        assert torch.equal(start, kept)
        start.fill_(123.0)
        assert same(trace, walk(self.make(kind)))

    def test_start_rows_beyond_the_population_are_not_used(self, kind: str) -> None:
        """A study draws as many starts as its largest population needs."""
        more = self.make(kind, start=driving.starts(self.count(kind) + 3, 6))
        assert same(walk(more), walk(self.make(kind)))

    @pytest.mark.parametrize("batch", [0, 1])
    def test_asking_twice_gives_the_same_rows_even_if_the_first_were_overwritten(self, kind: str, batch: int) -> None:
        """`ask` proposes, `tell` advances."""
        optimizer = self.make(kind)
        drive(optimizer, driving.rugged, (0, 0))
        first = optimizer.ask(batch)
        kept = first.clone()
        first.fill_(123.0)
        assert torch.equal(optimizer.ask(batch), kept)

    def test_no_row_is_asked_twice_on_the_same_batch_of_a_continuous_genome(self, kind: str) -> None:
        """Every row is charged, so what is known is not asked again."""
        rows = torch.cat([rows for rows, _ in drive(self.make(kind), driving.rugged, [0] * 8)])
        assert len(torch.unique(rows, dim=0)) == len(rows) or not self.checked(kind)[0].continuous

    def test_it_says_how_many_rows_an_ordinary_step_has(self, kind: str) -> None:
        """Forecasts of cost go by `evaluations_per_step`: within a factor of two."""
        algorithm, options = self.checked(kind)
        steps = drive(self.make(kind), driving.rugged, [0] * 8)
        asked = [len(rows) for rows, _ in steps if len(rows)]
        said = algorithm.evaluations_per_step(options)
        assert said / 2 <= sum(asked) / len(asked) <= 2 * said

    def test_once_it_has_stopped_it_asks_for_nothing(self, kind: str) -> None:
        """`stopped` is final: asks give no rows from then on."""
        optimizer = self.make(kind)
        for _ in range(20):
            ended = optimizer.stopped
            rows = drive(optimizer, driving.rugged, (0,))[0].rows
            assert not (ended and len(rows))

    def test_rows_stay_within_bounds(self, kind: str) -> None:
        """Where the problem has bounds, no row leaves them."""
        bounds = (torch.full((6,), -0.2), torch.full((6,), 0.1))
        start = driving.starts(self.count(kind), 6).clamp(*bounds)
        spent = [step / 19 for step in range(20)]
        for rows, _ in drive(self.make(kind, bounds=bounds, start=start), driving.sphere, [0] * 20, spent=spent):
            assert ((rows >= bounds[0]) & (rows <= bounds[1])).all()

    def test_wrong_shapes_are_refused(self, kind: str) -> None:
        """The base class checks shapes; a constructor of one's own must not lose that."""
        count = self.count(kind)
        if count > 1:
            with pytest.raises(ShapeError, match=f"at least {count} rows, one a member, got {count - 1}"):
                self.make(kind, start=driving.starts(count - 1, 6))
        with pytest.raises(ShapeError, match=r"expected shape \(P, D\)"):
            self.make(kind, start=torch.zeros(6))
        with pytest.raises(ShapeError, match=r"scale: expected shape \(7,\), got \(6,\)"):
            self.make(kind, start=driving.starts(count, 7))

    def test_a_million_genes_are_trained_or_refused(self, kind: str) -> None:
        """Nothing grows as `D` squared, or `max_dim` says from where on."""
        limit = self.checked(kind)[0].max_dim
        if limit is not None and limit < MANY:
            start = torch.zeros(1, limit + 1).expand(self.count(kind, 1), -1)
            with pytest.raises(ConfigError, match=f"expected at most {limit} parameters, got {limit + 1}"):
                self.make(kind, size=1, dim=limit + 1, start=start)
            return
        steps = drive(self.make(kind, size=1, dim=MANY), driving.sphere, (0, 0, 1), spent=(0.0, 0.5, 1.0))
        for rows, loss in steps:
            assert rows.shape[1:] == (MANY,)
            assert rows.dtype is torch.float32
            assert torch.isfinite(loss).all()
