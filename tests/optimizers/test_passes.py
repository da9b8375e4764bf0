from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gfopt.optimizers import _kernels, _passes

DIM = 2 * _kernels.BLOCK + 77


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def parts(request: pytest.FixtureRequest) -> list[Tensor]:
    """Center, deviation, rows, other rows and weights."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(DIM,), (DIM,), (5, DIM), (5, DIM), (5,)]
    return [torch.randn(shape, generator=generator, dtype=request.param) for shape in shapes]


def test_spread(parts: list[Tensor]) -> None:
    center, deviation, rows, _, _ = parts
    expected = center + deviation * rows
    _passes.spread(center, deviation, rows)
    torch.testing.assert_close(rows, expected)


def test_spread_mirrored(parts: list[Tensor]) -> None:
    center, deviation, rows, mirrored, _ = parts
    expected = center + deviation * rows, center - deviation * rows
    _passes.spread_mirrored(center, deviation, rows, mirrored)
    torch.testing.assert_close((rows, mirrored), expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_weighted_moments(parts: list[Tensor], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    center, _, rows, _, weight = parts
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(_passes, "in_threads", _in_small_threads)
    offset = rows - center
    expected = (weight[:, None] * offset).sum(dim=0), (weight[:, None] * offset**2).sum(dim=0)
    torch.testing.assert_close(_passes.weighted_moments(rows, center, weight), expected)


def _in_small_threads(count: int, size: int, work: object) -> None:
    """Threads even for little work."""
    from gfopt.threads import in_threads

    in_threads(count, 1 << 20, work)  # type: ignore[arg-type]
