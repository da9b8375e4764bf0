"""What is staged on the CPU for the CPU is handed over as it is."""

from __future__ import annotations

import pytest
import torch

from gfopt.optimizers._transfer import deliver, staging


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 3])
def test_on_the_cpu_nothing_is_copied(dtype: torch.dtype, rows: int) -> None:
    like = torch.zeros(0, 4, dtype=dtype)
    staged = staging(rows, like)
    assert staged.shape == (rows, 4)
    assert staged.dtype is dtype
    assert not staged.is_pinned()
    assert deliver(staged, like) is staged


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_to_a_gpu_the_copy_is_from_page_locked_memory() -> None:
    like = torch.zeros(0, 4, device="cuda")
    staged = staging(3, like)
    staged.copy_(torch.arange(12.0).reshape(3, 4))
    assert staged.is_pinned()
    arrived = deliver(staged, like)
    assert arrived.is_cuda
    assert torch.equal(arrived.cpu(), torch.arange(12.0).reshape(3, 4))
