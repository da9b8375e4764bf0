from __future__ import annotations

import pytest

from gfopt import optimizers


@pytest.fixture(params=optimizers.names())
def kind(request: pytest.FixtureRequest) -> str:
    """Every optimizer of the registry."""
    return str(request.param)
