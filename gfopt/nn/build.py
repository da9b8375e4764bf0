"""From a description, as a study file has it, to a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from torch import nn

from gfopt import registry, rng
from gfopt.errors import NetworkError, expectation, suggestion
from gfopt.nn._options import NetworkOptions, parse

_SIZES = ("kind", "in_features", "input_shape", "out_features")


@runtime_checkable
class NetworkKind(Protocol):
    """What every entry of `registry.networks` is."""

    options_class: ClassVar[type[NetworkOptions]]

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> nn.Module:
        """The network for samples of `input_shape`, drawn from torch's global generator."""


def build_network(spec: Mapping[str, object], seed: int = 0) -> nn.Module:
    """The network that `spec` describes, the same for the same `seed`; torch's global RNG is left as it was.

    Args:
        spec: `kind`, `in_features` (or `input_shape` for samples of more axes), `out_features`, and the
            kind's options: `{"kind": "mlp", "in_features": 64, "hidden": [32], "out_features": 10}`.
        seed: of its initialization.

    Raises:
        NetworkError: for an unknown kind, an unknown or wrong option, or a missing size.
    """
    kind, options = parse_network({k: v for k, v in spec.items() if k not in _SIZES[1:]})
    if ("in_features" in spec) == ("input_shape" in spec):
        raise NetworkError(expectation("one of `in_features` and `input_shape`", sorted(map(str, spec))))
    shape = spec.get("input_shape", [spec.get("in_features")])
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise NetworkError("input_shape: " + expectation("a list of positive whole numbers", shape))
    name = "input_shape" if "input_shape" in spec else "in_features"
    input_shape = tuple(_size(name, axis) for axis in shape)
    if "out_features" not in spec:
        raise NetworkError("out_features: " + expectation("a positive whole number", "`nothing`"))
    with rng.torch_seeded(rng.derive(seed, "network")):
        return kind.build(options, input_shape, _size("out_features", spec["out_features"]))


def parse_network(spec: Mapping[str, object]) -> tuple[type[NetworkKind], NetworkOptions]:
    """Kind and checked options of a description without sizes, as `{"kind": "mlp", "hidden": [32]}`.

    Raises:
        NetworkError: for an unknown kind, or an unknown or wrong option.
    """
    if not isinstance(spec, Mapping):
        raise NetworkError(expectation("a mapping with a `kind`", spec, "For example {kind: mlp, hidden: [32]}."))
    kind = spec.get("kind", "`nothing`")
    known = registry.networks.names()
    if not isinstance(kind, str) or kind not in known:
        raise NetworkError("kind: " + expectation("a known network", kind, suggestion(kind, known)))
    network: type[NetworkKind] = registry.networks.get(kind)
    values = {k: v for k, v in spec.items() if k != "kind"}
    for name in values:
        if name not in network.options_class.model_fields:
            allowed = (*_SIZES, *network.options_class.model_fields)
            raise NetworkError(expectation(f"a known option of {kind!r}", name, suggestion(name, allowed)))
    return network, parse(network.options_class, values)


def _size(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise NetworkError(f"{name}: " + expectation("a positive whole number", value))
    return value
