"""What the tests of networks share."""

from __future__ import annotations

import pytest
import torch

from gfopt import registry
from gfopt.nn import NormalizedLinear

NORMS = registry.norms.names()


@pytest.fixture(params=NORMS)
def norm(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def make_layer():
    """A layer in float64 with gains and shifts that are not 1 and 0."""

    def make(norm: str, in_features: int = 6, out_features: int = 5, **options) -> NormalizedLinear:
        layer = NormalizedLinear(in_features, out_features, norm, **options).double()
        with torch.no_grad():
            for parameter in (layer.gain, layer.shift):
                if parameter is not None:
                    parameter.uniform_(0.5, 2.0)
        return layer

    return make
