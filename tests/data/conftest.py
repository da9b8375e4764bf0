from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def global_streams_untouched() -> Iterator[None]:
    """No function of this package draws from, or seeds, the global generators."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    assert random.getstate() == python
    after = np.random.get_state()  # noqa: NPY002
    assert after[2] == numpy[2]
    assert np.array_equal(after[1], numpy[1])
