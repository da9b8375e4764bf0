from __future__ import annotations

import numpy as np
import pytest
import torch

from gfopt.errors import NetworkError
from gfopt.nn import MLP, MLPOptions, build_network, parse_network

SPEC = {
    "kind": "mlp",
    "in_features": 64,
    "hidden": [32],
    "out_features": 10,
    "activation": "tanh",
    "norm": "batch",
}


def _values(network):
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def test_a_description_becomes_a_network():
    network = build_network(SPEC)
    assert isinstance(network, MLP)
    assert network.options == MLPOptions(hidden=(32,), activation="tanh", norm="batch")
    assert network(torch.randn(4, 64)).shape == (4, 10)


def test_same_seed_same_network_and_another_seed_another():
    assert torch.equal(_values(build_network(SPEC, seed=3)), _values(build_network(SPEC, seed=3)))
    assert not torch.equal(_values(build_network(SPEC, seed=3)), _values(build_network(SPEC, seed=4)))
    assert torch.equal(_values(build_network(SPEC)), _values(build_network(SPEC, seed=0)))


def test_the_global_generator_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _values(build_network(SPEC))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(_values(build_network(SPEC)), first)


def test_the_description_is_not_changed():
    spec = dict(SPEC)
    build_network(spec)
    assert spec == SPEC


def test_input_shape_of_several_axes():
    spec = {"kind": "mlp", "input_shape": [2, 3], "out_features": np.int64(4).item()}
    assert build_network(spec)(torch.randn(5, 2, 3)).shape == (5, 4)


def test_parse_without_sizes():
    kind, options = parse_network({"kind": "mlp", "hidden": [3]})
    assert kind is MLP
    assert options == MLPOptions(hidden=[3])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "mpl"}, ["kind", "known network", "'mpl'", "Did you mean 'mlp'?"]),
        ({"kind": None}, ["kind", "known network"]),
        ({"in_featurs": 64}, ["known option of 'mlp'", "Did you mean 'in_features'?"]),
        ({"in_features": 0}, ["in_features", "positive whole number", "got 0"]),
        ({"out_features": "ten"}, ["out_features", "positive whole number", "'ten'"]),
        ({"out_features": True}, ["out_features", "True"]),
        ({"input_shape": [64]}, ["one of `in_features` and `input_shape`"]),
        ({"in_features": ...}, ["one of `in_features` and `input_shape`"]),
        ({"in_features": ..., "input_shape": 64}, ["input_shape", "list"]),
        ({"in_features": ..., "input_shape": [8, -8]}, ["input_shape", "-8"]),
        ({"out_features": ...}, ["out_features", "positive whole number"]),
        ({"norm": "layer", "hidden": [1]}, ["hidden.0", "at least 2 units"]),
    ],
)
def test_wrong_descriptions_are_refused(change, words):
    spec = {k: v for k, v in {**SPEC, **change}.items() if v is not ...}
    with pytest.raises(NetworkError) as caught:
        build_network(spec)
    for word in words:
        assert word in str(caught.value)


def test_not_a_mapping_is_refused():
    with pytest.raises(NetworkError, match="a mapping with a `kind`, got 'mlp'"):
        parse_network("mlp")
    with pytest.raises(NetworkError, match="known network, got `nothing`"):
        parse_network({"hidden": [3]})
