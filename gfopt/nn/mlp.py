"""The multilayer perceptron: normalized hidden layers and a plain last one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from gfopt.errors import ShapeError, located
from gfopt.nn._layer_options import LayerOptions, Size
from gfopt.nn._options import NetworkOptions, own, parse
from gfopt.nn.activations import ActivationOption, PlainActivation
from gfopt.nn.normalization import (
    NO_NORM,
    NormalizedLinear,
    NormLayer,
    NormOption,
    NormOptions,
    check_acts_alone,
    check_norm,
    check_output,
    norm_class_of,
    norm_of_each,
)


class MLPOptions(LayerOptions):
    """What an MLP can be told besides its input and output sizes.

    Attributes:
        hidden: widths of the hidden layers, first to last; none of them makes a linear model.
        activation: after every hidden layer.
        norm: of every hidden layer, a name of `registry.norms` or a mapping with its options; or a list with one
            for each.
        norm_position: `pre` normalizes ahead of the activation, `post` behind it.
        dropout: share of the units behind each hidden activation that training drops.
        input_norm: of the inputs, ahead of the first layer; one that acts on activations.
        output_norm: of the last layer. Batch statistics would make every prediction depend on the other rows, and a
            cosine without gain cannot fit (see `MLP`).
    """

    hidden: tuple[Size, ...] = (32,)
    activation: ActivationOption = PlainActivation(kind="tanh")
    norm_position: Literal["pre", "post"] = "pre"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    input_norm: NormOption = NO_NORM
    output_norm: NormOption = NO_NORM

    @model_validator(mode="after")
    def _wide_enough(self) -> MLPOptions:
        for index, (norm, (inputs, units)) in enumerate(zip(self.norms, pairwise((None, *self.hidden)), strict=True)):
            with located(f"hidden.{index}"):
                norm_class = check_norm(norm, inputs, units or 0)
            if self.norm_position == "post":
                check_acts_alone(norm_class, norm.kind)
        with located("input_norm"):
            check_acts_alone(norm_class_of(self.input_norm), self.input_norm.kind)
        with located("output_norm"):
            check_output(norm_class_of(self.output_norm), self.gain)
        return self

    @property
    def norms(self) -> tuple[NormOptions, ...]:
        """The norm of each hidden layer."""
        return norm_of_each(self.norm, len(self.hidden))


def flat_rows(x: Tensor, in_features: int) -> Tensor:
    """`(B, ...)` samples as `(B, in_features)`.

    Raises:
        ShapeError: if a sample has another number of entries.
    """
    if x.shape[1:].numel() != in_features:
        raise ShapeError(f"input: expected samples of {in_features} numbers, got shape {tuple(x.shape)}")
    return x.reshape(x.shape[0], in_features)


class MLP(nn.Module):
    """Flatten, then hidden layers `f(g * (W x - mu) / sigma + b)`, then a plain linear layer.

    The last layer has no norm unless it is asked for, whatever the hidden ones have, because a normalized output
    cannot fit: logits that are cosines lie in [-1, 1], which keeps the cross-entropy of C classes above `ln(1 + (C -
    1) / e^2)`, 0.80 for ten classes, and batch statistics would make each prediction depend on the other rows.

    Args:
        in_features: numbers in a sample.
        out_features: outputs.
        options: fields of `MLPOptions`: `MLP(64, 10, hidden=[32], norm="batch")`.

    Attributes:
        layers: the `NormalizedLinear`s, first to last.
        activations: one behind each layer but the last.
        norms: one behind each activation, `None` where that is not their position.
        input_norm: ahead of the first layer, `None` where there is none.
        dropout: behind each hidden activation.

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
        self.layers.append(self._last_layer())
        self.activations = nn.ModuleList(self.options.activation.make() for _ in self.options.hidden)
        behind = list(self._norms_behind())
        self.norms = nn.ModuleList(behind) if behind else None
        plain = self.options.input_norm.kind == "none"
        self.input_norm = None if plain else NormLayer(in_features, self.options.input_norm, gain=False, shift=False)
        self.dropout = nn.Dropout(self.options.dropout) if self.options.dropout else None

    def _hidden_layers(self) -> Iterator[NormalizedLinear]:
        options = self.options
        init = options.init.for_slope(options.activation.negative_slope)
        widths = pairwise((self.in_features, *options.hidden))
        for index, (norm, (inputs, units)) in enumerate(zip(options.norms, widths, strict=True)):
            here = norm if options.norm_position == "pre" else "none"
            with located(f"hidden.{index}"):
                yield NormalizedLinear(inputs, units, here, options.gain, options.shift, options.eps, init)

    def _last_layer(self) -> NormalizedLinear:
        options = self.options
        inputs = (self.in_features, *options.hidden)[-1]
        init = options.init.for_slope(1.0)
        with located("output_norm"):
            return NormalizedLinear(
                inputs, self.out_features, options.output_norm, options.gain, eps=options.eps, init=init
            )

    def _norms_behind(self) -> Iterator[NormLayer]:
        options = self.options
        if options.norm_position == "post":
            for norm, units in zip(options.norms, options.hidden, strict=True):
                yield NormLayer(units, norm, options.gain, options.shift, options.eps)

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> MLP:
        """The network for samples of `input_shape`.

        Raises:
            NetworkError: for options of another network, sizes that are not positive, or a layer too small.
        """
        return cls(math.prod(input_shape), out_features, **dict(own(options, MLPOptions)))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, ...)` samples to `(B, out)`, or to `(P, B, out)` if parameters of P members are stacked.

        Raises:
            ShapeError: if a sample has another number of entries than the network.
        """
        x = flat_rows(x, self.in_features)
        if self.input_norm is not None:
            x = self.input_norm(x)
        # A third axis can only come from stacked members; layers that they share see it as such.
        for index, (layer, activation) in enumerate(zip(self.layers, self.activations, strict=False)):
            x = activation(layer(x, members=x.ndim == 3))
            if self.norms is not None:
                x = self.norms[index](x, members=x.ndim == 3)
            if self.dropout is not None:
                x = self.dropout(x)
        out: Tensor = self.layers[-1](x)
        return out
