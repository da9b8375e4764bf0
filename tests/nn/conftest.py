"""What the tests of networks share."""

from __future__ import annotations

import pytest
import torch

from gfopt import registry
from gfopt.nn import NormalizedConv2d, NormalizedLinear

PICTURE_NORMS = registry.norms.names()
NORMS = tuple(name for name in PICTURE_NORMS if not registry.norms.get(name).pictures_only)


@pytest.fixture(params=NORMS)
def norm(request: pytest.FixtureRequest) -> str:
    """Every norm that a dense layer can have."""
    return request.param


@pytest.fixture(params=PICTURE_NORMS)
def picture_norm(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _varied(layer):
    """The layer in float64 with gains and shifts that are not 1 and 0."""
    layer = layer.double()
    with torch.no_grad():
        for parameter in (layer.gain, layer.shift):
            if parameter is not None:
                parameter.uniform_(0.5, 2.0)
    return layer


@pytest.fixture
def make_layer():
    def make(norm, in_features: int = 5, out_features: int = 6, **options) -> NormalizedLinear:
        return _varied(NormalizedLinear(in_features, out_features, norm, **options))

    return make


@pytest.fixture
def make_convolution():
    def make(norm, in_channels: int = 3, out_channels: int = 4, kernel: int = 3, **options) -> NormalizedConv2d:
        return _varied(NormalizedConv2d(in_channels, out_channels, kernel, norm=norm, **options))

    return make
