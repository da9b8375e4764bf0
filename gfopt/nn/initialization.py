"""How a layer's weight and bias are drawn. All from torch's global generator, as torch's own layers do."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from torch import Tensor, nn

from gfopt.nn._options import NetworkOptions, parse_kind


class Initialization(NetworkOptions):
    """A distribution of weights `(out, in)`; biases start at 0 unless a kind says otherwise."""

    kind: str

    @abstractmethod
    def weight_(self, weight: Tensor) -> None:
        """Fill the `(out, in)` weight."""

    def bias_(self, bias: Tensor, in_features: int) -> None:
        """Fill the `(out,)` bias of a layer without a norm."""
        del in_features
        nn.init.zeros_(bias)

    def for_slope(self, slope: float) -> Initialization:
        """The same for a layer whose activation has this slope on the negative side, if that matters."""
        del slope
        return self


class TorchDefault(Initialization):
    """Torch's own for `nn.Linear`: weight and bias from `U(-1/sqrt(n_in), 1/sqrt(n_in))`."""

    kind: Literal["torch"] = "torch"

    def weight_(self, weight: Tensor) -> None:
        """Fill the weight."""
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5.0))

    def bias_(self, bias: Tensor, in_features: int) -> None:
        """Fill the bias."""
        bound = 1.0 / math.sqrt(in_features)
        nn.init.uniform_(bias, -bound, bound)


class Glorot(Initialization):
    """Uniform with `Var w = 2 / (n_in + n_out)` (Glorot & Bengio 2010, eq. 16)."""

    kind: Literal["glorot"] = "glorot"

    def weight_(self, weight: Tensor) -> None:
        """Fill the weight."""
        nn.init.xavier_uniform_(weight)


class He(Initialization):
    """Normal with `Var w = 2 / ((1 + a^2) n_in)` (He et al. 2015, arXiv:1502.01852, eq. 15).

    Attributes:
        slope: `a`, the activation's slope on the negative side: 0 for relu, 1 for a linear layer. `None`
            takes it from the activation that follows, and 0 where nothing is known of it.
    """

    kind: Literal["he"] = "he"
    slope: float | None = None

    def weight_(self, weight: Tensor) -> None:
        """Fill the weight."""
        nn.init.kaiming_normal_(weight, a=self.slope or 0.0)

    def for_slope(self, slope: float) -> Initialization:
        """With this slope, unless one was given."""
        return self if self.slope is not None else He(slope=slope)


class Orthogonal(Initialization):
    """A random matrix with orthonormal rows or columns, times `gain` (Saxe et al. 2014, arXiv:1312.6120)."""

    kind: Literal["orthogonal"] = "orthogonal"
    gain: float = Field(default=1.0, gt=0)

    def weight_(self, weight: Tensor) -> None:
        """Fill the weight."""
        nn.init.orthogonal_(weight, gain=self.gain)


class Uniform(Initialization):
    """`U(-scale, scale)`, whatever the size of the layer."""

    kind: Literal["uniform"] = "uniform"
    scale: float = Field(default=0.1, gt=0)

    def weight_(self, weight: Tensor) -> None:
        """Fill the weight."""
        nn.init.uniform_(weight, -self.scale, self.scale)


class Normal(Initialization):
    """`N(0, scale^2)`, whatever the size of the layer."""

    kind: Literal["normal"] = "normal"
    scale: float = Field(default=0.1, gt=0)

    def weight_(self, weight: Tensor) -> None:
        """Fill the weight."""
        nn.init.normal_(weight, std=self.scale)


INITIALIZATIONS: dict[str, type[Initialization]] = {
    "torch": TorchDefault, "glorot": Glorot, "he": He,
    "orthogonal": Orthogonal, "uniform": Uniform, "normal": Normal,
}  # fmt: skip


def make_initialization(spec: Initialization | Mapping[str, object] | str) -> Initialization:
    """The initialization that `spec` names: `"he"`, or `{"kind": "uniform", "scale": 0.1}`.

    Raises:
        NetworkError: for an unknown name or option, with the nearest known one.
    """
    return parse_kind(spec, INITIALIZATIONS, "initialization")


# The type of an option that takes an initialization in any of its spellings.
InitializationOption = Annotated[
    TorchDefault | Glorot | He | Orthogonal | Uniform | Normal,
    BeforeValidator(make_initialization),
    WithJsonSchema(
        {"anyOf": [{"enum": list(INITIALIZATIONS)}]
         + [{"type": "object", **kind.model_json_schema()} for kind in INITIALIZATIONS.values()]}
    ),
]  # fmt: skip
