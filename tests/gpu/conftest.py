"""Where the tests of this folder run: on a CUDA device or, to check the tests themselves, where they are told to."""

from __future__ import annotations

import os

import pytest
import torch

WHERE = os.environ.get("GFOPT_TEST_DEVICE", "cuda")


@pytest.fixture
def device() -> torch.device:
    """`cuda`, or what the variable GFOPT_TEST_DEVICE says."""
    if WHERE == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(WHERE)


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """For what other devices do not have."""
    if device.type != "cuda":
        pytest.skip("needs a CUDA device")
    return device
