"""The activations a network can have, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BeforeValidator, WithJsonSchema
from torch import Tensor, nn

from gfopt.nn._options import NetworkOptions, parse_kind


class Sin(nn.Module):
    """`sin(z)`: periodic, squashing, and yet not saturating."""

    def forward(self, z: Tensor) -> Tensor:
        """Elementwise."""
        return torch.sin(z)


class Step(nn.Module):
    """The Heaviside step, 1 where `z >= 0`, else 0; flat everywhere, so that no gradient can train it."""

    differentiable: ClassVar[bool] = False

    def forward(self, z: Tensor) -> Tensor:
        """Elementwise."""
        return (z >= 0).to(z.dtype)


class LeakyReLUOneAtZero(nn.Module):
    """`z` where `z >= 0`, else `slope * z`; the derivative at 0 is 1, where torch's own layer has `slope`.

    Args:
        slope: on the negative side; any number, while `max(slope * z, z)` would need `0 <= slope <= 1`.
    """

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, z: Tensor) -> Tensor:
        """Elementwise."""
        return torch.where(z >= 0, z, self.slope * z)

    def extra_repr(self) -> str:
        """The slope, for `repr`."""
        return f"slope={self.slope:g}"


_PLAIN: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "elu": nn.ELU,
    "sin": Sin, "step": Step, "identity": nn.Identity,
}  # fmt: skip


class PlainActivation(NetworkOptions):
    """An activation without options."""

    kind: Literal["sigmoid", "tanh", "relu", "gelu", "elu", "sin", "step", "identity"]

    def make(self) -> nn.Module:
        """A new module."""
        return _PLAIN[self.kind]()

    @property
    def negative_slope(self) -> float:
        """Slope on the negative side, for He's initialization; 0 for those that are not piecewise linear."""
        return 1.0 if self.kind == "identity" else 0.0


class LeakyReLU(NetworkOptions):
    """`z` where `z > 0`, else `slope * z` (Maas et al. 2013).

    Attributes:
        slope: on the negative side.
        at_zero: the derivative at exactly 0: torch's convention is `slope`; `one` makes it 1.
    """

    kind: Literal["leaky_relu"] = "leaky_relu"
    slope: float = 0.01
    at_zero: Literal["torch", "one"] = "torch"

    def make(self) -> nn.Module:
        """A new module."""
        return LeakyReLUOneAtZero(self.slope) if self.at_zero == "one" else nn.LeakyReLU(self.slope)

    @property
    def negative_slope(self) -> float:
        """`slope`."""
        return self.slope


Activation = PlainActivation | LeakyReLU
ActivationSpec = Activation | Mapping[str, object] | str

ACTIVATIONS: dict[str, type[PlainActivation] | type[LeakyReLU]] = {
    **dict.fromkeys(_PLAIN, PlainActivation),
    "leaky_relu": LeakyReLU,
}


def parse_activation(spec: ActivationSpec) -> Activation:
    """The checked options of `"tanh"`, or of `{"kind": "leaky_relu", "slope": 0.1, "at_zero": "one"}`.

    Raises:
        NetworkError: for an unknown name or option, with the nearest known one.
    """
    return parse_kind(spec, ACTIVATIONS, "activation")


def make_activation(spec: ActivationSpec) -> nn.Module:
    """A new module for `spec`, see `parse_activation`."""
    return parse_activation(spec).make()


def is_differentiable(module: nn.Module) -> bool:
    """Whether no part of `module` says `differentiable = False`."""
    return all(getattr(part, "differentiable", True) for part in module.modules())


# The type of an option that takes an activation in any of its spellings.
ActivationOption = Annotated[
    Activation,
    BeforeValidator(parse_activation),
    WithJsonSchema(
        {"anyOf": [{"enum": list(ACTIVATIONS)}]
         + [{"type": "object", **kind.model_json_schema()} for kind in (PlainActivation, LeakyReLU)]}
    ),
]  # fmt: skip
