"""The multilayer perceptron: normalized hidden layers and a plain last one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from gfopt.errors import NetworkError, ShapeError, expectation, located
from gfopt.nn._options import NetworkOptions, parse
from gfopt.nn.activations import ActivationOption, PlainActivation
from gfopt.nn.initialization import InitializationOption, TorchDefault
from gfopt.nn.normalization import NormalizedLinear, check_norm


class MLPOptions(NetworkOptions):
    """What an MLP can be told besides its input and output sizes.

    Attributes:
        hidden: widths of the hidden layers, first to last; none of them makes a linear model.
        activation: after every hidden layer.
        norm: of every hidden layer, a name of `registry.norms`.
        gain, shift: whether hidden layers learn `g` and `b`.
        eps: of the norm.
        init: of the weights; He's takes its slope from the activation.
    """

    hidden: tuple[Annotated[int, Field(gt=0, strict=True)], ...] = (32,)
    activation: ActivationOption = PlainActivation(kind="tanh")
    norm: str = "none"
    gain: Annotated[bool, Field(strict=True)] = True
    shift: Annotated[bool, Field(strict=True)] = True
    eps: float = Field(default=1e-5, gt=0)
    init: InitializationOption = TorchDefault()

    @field_validator("norm")
    @classmethod
    def _known_norm(cls, norm: str) -> str:
        check_norm(norm, None, 10**9)
        return norm

    @model_validator(mode="after")
    def _wide_enough(self) -> MLPOptions:
        for index, (inputs, units) in enumerate(pairwise((None, *self.hidden))):
            with located(f"hidden.{index}"):
                check_norm(self.norm, inputs, units or 0)
        return self


class MLP(nn.Module):
    """Flatten, then hidden layers `f(g * (W x - mu) / sigma + b)`, then a plain linear layer.

    The last layer has no norm whatever the hidden ones have, because a normalized output cannot fit: logits
    that are cosines lie in [-1, 1], which keeps the cross-entropy of C classes above `ln(1 + (C - 1) /
    e^2)`, 0.80 for ten classes, and batch statistics would make each prediction depend on the other rows.

    Args:
        in_features: numbers in a sample.
        out_features: outputs.
        options: fields of `MLPOptions`: `MLP(64, 10, hidden=[32], norm="batch")`.

    Attributes:
        layers: the `NormalizedLinear`s, first to last.
        activations: one behind each layer but the last.

    Raises:
        NetworkError: for unknown or wrong options, sizes that are not positive, or a layer too small for
            its norm.
    """

    options_class: ClassVar[type[MLPOptions]] = MLPOptions

    def __init__(self, in_features: int, out_features: int, **options: object) -> None:
        super().__init__()
        self.options = parse(MLPOptions, options)
        self.in_features = in_features
        self.out_features = out_features
        self.layers = nn.ModuleList(self._hidden_layers())
        last = (in_features, *self.options.hidden)[-1]
        self.layers.append(NormalizedLinear(last, out_features, init=self.options.init.for_slope(1.0)))
        self.activations = nn.ModuleList(self.options.activation.make() for _ in self.options.hidden)

    def _hidden_layers(self) -> Iterator[NormalizedLinear]:
        options = self.options
        init = options.init.for_slope(options.activation.negative_slope)
        for index, (inputs, units) in enumerate(pairwise((self.in_features, *options.hidden))):
            with located(f"hidden.{index}"):
                yield NormalizedLinear(inputs, units, options.norm, options.gain, options.shift, options.eps, init)

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> MLP:
        """The network for samples of `input_shape`.

        Raises:
            NetworkError: for options of another network, sizes that are not positive, or a layer too small.
        """
        if not isinstance(options, MLPOptions):
            raise NetworkError(expectation("MLPOptions", type(options).__name__))
        return cls(math.prod(input_shape), out_features, **dict(options))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, ...)` samples to `(B, out)`, or to `(P, B, out)` if parameters of P members are stacked.

        Raises:
            ShapeError: if a sample has another number of entries than the network.
        """
        if x.shape[1:].numel() != self.in_features:
            raise ShapeError(f"input: expected samples of {self.in_features} numbers, got shape {tuple(x.shape)}")
        x = x.reshape(x.shape[0], self.in_features)
        # A third axis can only come from stacked members; layers that they share see it as such.
        for layer, activation in zip(self.layers, self.activations, strict=False):
            x = activation(layer(x, members=x.ndim == 3))
        out: Tensor = self.layers[-1](x)
        return out
