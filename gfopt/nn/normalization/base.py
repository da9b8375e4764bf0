"""What a member of the family of normalizations says, and nothing else: its mean, its size, and their axes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, SerializeAsAny, WithJsonSchema
from torch import Tensor, nn

from gfopt import registry
from gfopt.errors import NetworkError, expectation, suggestion
from gfopt.nn._options import NetworkOptions, parse
from gfopt.nn.normalization.products import DENSE, Product, affine

ActsOn = Literal["weights", "activations", "both"]
Neutral = Literal["", "rows", "matrix"]


class NormOptions(NetworkOptions):
    """The choice of a normalization, for those that have no options of their own.

    Attributes:
        kind: a name of `gfopt list norms`.
    """

    kind: str

    @property
    def label(self) -> str:
        """The name, with the options that differ from their defaults: `group(groups=4)`."""
        own = self.model_dump(exclude={"kind"}, exclude_defaults=True)
        return self.kind + (f"({', '.join(f'{k}={v}' for k, v in own.items())})" if own else "")


NormSpec = NormOptions | Mapping[str, Any] | str

NO_NORM = NormOptions(kind="none")


class Normalization(nn.Module, ABC):
    """`h = g * (W x - mu) / sigma + b`; a member says what `mu` and `sigma` are.

    Args:
        in_features: inputs of a unit, in a convolution those under the kernel.
        out_features: units, or channels of the output.
        eps: keeps sigma above 0.
        options: of the member; `None` takes the defaults.

    Attributes:
        options_class: what the member can be told.
        least_inputs, least_units: below these the normalized value no longer depends on the data.
        has_gain: whether a gain adds anything to what the weight can do.
        acts_on: `weights`, `activations`, or `both`; only the second kind can stand behind an activation.
        bounded: whether the normalized value lies between -1 and 1.
        of_batch: whether the statistics are those of a batch, so that rows depend on each other in training.
        pictures_only: why a dense layer cannot have it; empty where it can.
        neutral: which scaling of the weights leaves the output as it is: that of each unit's `rows`, that of the
            whole `matrix`, or none.
    """

    options_class: ClassVar[type[NormOptions]] = NormOptions
    least_inputs: ClassVar[int] = 1
    least_units: ClassVar[int] = 1
    has_gain: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "activations"
    bounded: ClassVar[bool] = False
    of_batch: ClassVar[bool] = False
    pictures_only: ClassVar[str] = ""
    neutral: ClassVar[Neutral] = ""

    def __init__(
        self, in_features: int, out_features: int, eps: float = 1e-5, options: NormOptions | None = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.eps = eps
        self.options = self.options_class(kind=type(self).__name__) if options is None else options

    @classmethod
    def check(cls, options: NormOptions, out_features: int, *, pictures: bool = False) -> None:
        """Refuse options that do not fit a layer of so many units, or channels of `pictures`.

        Raises:
            NetworkError: saying what would fit.
        """
        del options, out_features, pictures

    @classmethod
    def redundant(cls, inputs: int, units: int, options: NormOptions) -> int:
        """How many directions of a layer's `inputs x units` weights do not change its output (at any one point)."""
        del inputs, options
        return {"": 0, "rows": units, "matrix": 1}[cls.neutral]

    @abstractmethod
    def forward(
        self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None, product: Product = DENSE
    ) -> Tensor:
        """`g * (W x - mu) / sigma + b`.

        Args:
            x: as the product takes it; `(..., B, in)` for a dense layer.
            weight: `(out, in)`, `(out, in, k, k')`, or `(P, out, in)` for stacked members.
            gain: `(out,)` or `(P, out)`; `None` means 1.
            shift: `(out,)` or `(P, out)`; `None` means 0.
            product: what `W x` means.
        """

    def extra_repr(self) -> str:
        """The options, for `repr`."""
        own = self.options.model_dump(exclude={"kind"})
        return ", ".join(f"{name}={value}" for name, value in own.items())


class Identity(Normalization):
    """`mu = 0`, `sigma = 1`: the plain layer, whose shift is the ordinary bias."""

    has_gain = False

    def forward(
        self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None, product: Product = DENSE
    ) -> Tensor:
        """`W x + b`."""
        if gain is None:
            return product(x, weight, shift)
        return affine(product(x, weight), gain, shift, product.positions)


class ActivationNorm(Normalization):
    """The side of the family that standardizes the pre-activations `z = W x`, or what else it is given."""

    def forward(
        self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None, product: Product = DENSE
    ) -> Tensor:
        """`g * (z - mu) / sigma + b`, see `Normalization.forward`."""
        return self.normalize(
            product(x, weight), gain, shift, positions=product.positions, members=product.stacked(weight)
        )

    def normalize(
        self, z: Tensor, gain: Tensor | None, shift: Tensor | None, *, positions: int = 0, members: bool = False
    ) -> Tensor:
        """`g * (z - mu) / sigma + b` of given `z`, see `standardize`."""
        return affine(self.standardize(z, positions=positions, members=members), gain, shift, positions)

    @abstractmethod
    def standardize(self, z: Tensor, *, positions: int = 0, members: bool = False) -> Tensor:
        """`(z - mu) / sigma`.

        Args:
            z: `(..., B, C)` followed by the axes of the positions, where there are any.
            positions: how many axes follow the channels; 2 for pictures.
            members: whether the first axis counts networks.
        """


def parse_norm(spec: NormSpec) -> NormOptions:
    """The checked options of `"batch"`, or of `{"kind": "group", "groups": 4}`.

    Raises:
        NetworkError: for an unknown name or option, with the nearest known one.
    """
    if isinstance(spec, NormOptions):
        return spec
    values = spec if isinstance(spec, Mapping) else {"kind": spec}
    kind, known = values.get("kind", "`nothing`"), registry.norms.names()
    if not isinstance(kind, str) or kind not in known:
        raise NetworkError(expectation("a known norm", kind, suggestion(kind, known)))
    norm: type[Normalization] = registry.norms.get(kind)
    return parse(norm.options_class, values)


def norm_class_of(options: NormOptions) -> type[Normalization]:
    """The class that parsed options are for."""
    found: type[Normalization] = registry.norms.get(options.kind)
    return found


def parse_norms(spec: Any) -> NormOptions | tuple[NormOptions, ...]:
    """One norm for every layer, or a list with one for each."""
    return tuple(map(parse_norm, spec)) if isinstance(spec, list | tuple) else parse_norm(spec)


def norm_of_each(norm: NormOptions | tuple[NormOptions, ...], layers: int) -> tuple[NormOptions, ...]:
    """One norm for each of so many layers.

    Raises:
        NetworkError: if a list has another length.
    """
    each = norm if isinstance(norm, tuple) else (norm,) * layers
    if len(each) != layers:
        fix = "Give one name for all of them, or a list with one for each."
        raise NetworkError("norm: " + expectation(f"a norm for each of the {layers} layers", f"`{len(each)}`", fix))
    return each


# The type of an option that takes a norm in any of its spellings.
# What its JSON schema says, `gfopt.config.json_schema` knows: the names come from the registry.
NormOption = Annotated[SerializeAsAny[NormOptions], BeforeValidator(parse_norm), WithJsonSchema({})]

# The same for networks whose layers may differ.
NormsOption = Annotated[
    SerializeAsAny[NormOptions] | tuple[SerializeAsAny[NormOptions], ...],
    BeforeValidator(parse_norms),
    WithJsonSchema({}),
]
