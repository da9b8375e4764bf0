"""The convolutional network: convolutions with pooling, then hidden dense layers, then a plain one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from gfopt import registry
from gfopt.errors import NetworkError, expectation, located
from gfopt.nn._layer_options import LayerOptions, Size
from gfopt.nn._options import NetworkOptions, own, parse
from gfopt.nn.activations import ActivationOption, PlainActivation
from gfopt.nn.normalization import (
    NO_NORM,
    NormalizedConv2d,
    NormalizedLinear,
    NormLayer,
    NormOptions,
    check_acts_alone,
    check_norm,
    norm_of_each,
)
from gfopt.nn.pictures import POOL, Pool, check_pictures, picture_shape


class CNNOptions(LayerOptions):
    """What a convolutional network can be told besides its input and output sizes.

    Attributes:
        channels: of each convolution, first to last; a population of networks runs fastest with multiples of 8.
        kernel: rows and columns of the kernels.
        padding: `same` keeps the size of the picture under an odd kernel, `valid` adds nothing around it.
        pool: what is kept of every 2 x 2 block behind each convolution.
        hidden: widths of the dense layers between the convolutions and the last layer.
        activation: after every convolution and every hidden layer.
        norm: of every convolution and hidden layer, a name of `registry.norms` or a mapping with its options; or a
            list with one for each. One that only pictures can have leaves the dense layers plain.
        norm_position: `pre` normalizes ahead of the activation, `post` behind it; both ahead of the pooling.
    """

    channels: tuple[Size, ...] = Field(default=(8, 16), min_length=1)
    kernel: Size = 3
    padding: Literal["same", "valid"] = "same"
    pool: Literal["max", "mean"] = "max"
    hidden: tuple[Size, ...] = (32,)
    activation: ActivationOption = PlainActivation(kind="tanh")
    norm_position: Literal["pre", "post"] = "pre"

    @model_validator(mode="after")
    def _fits(self) -> CNNOptions:
        if self.padding == "same" and self.kernel % 2 == 0:
            fix = f"Use {self.kernel + 1}, or padding: valid."
            raise NetworkError("kernel: " + expectation("an odd number under padding `same`", self.kernel, fix))
        layers = len(self.channels)
        # How many inputs a unit has, the picture decides for convolutions and for the first dense layer.
        inputs = (*[None] * (layers + 1), *self.hidden)
        units = (*self.channels, *self.hidden)
        for index, (norm, before, count) in enumerate(zip(self.norms, inputs, units, strict=False)):
            with located(f"channels.{index}" if index < layers else f"hidden.{index - layers}"):
                norm_class = check_norm(norm, before, count, pictures=index < layers)
            if self.norm_position == "post" and norm.kind != "none":
                check_acts_alone(norm_class, norm.kind)
        return self

    @property
    def norms(self) -> tuple[NormOptions, ...]:
        """The norm of each convolution, then of each hidden layer."""
        each = norm_of_each(self.norm, len(self.channels) + len(self.hidden))
        if isinstance(self.norm, tuple) or not registry.norms.get(self.norm.kind).pictures_only:
            return each
        return (*each[: len(self.channels)], *[NO_NORM] * len(self.hidden))


class CNN(nn.Module):
    """Convolutions `f(g * (W x - mu) / sigma + b)` with 2 x 2 pooling, then an MLP's layers (LeCun et al. 1998).

    The last layer has no norm, see `MLP`.

    Args:
        input_shape: channels, height and width of a sample.
        out_features: outputs.
        options: fields of `CNNOptions`: `CNN((1, 8, 8), 10, channels=[8, 16], norm="batch")`.

    Attributes:
        convolutions: the `NormalizedConv2d`s, first to last.
        hidden: the `NormalizedLinear`s behind them.
        activations: one behind each convolution, then one behind each hidden layer.
        norms: one behind each activation, where that is their position.
        pool: behind each convolution.
        head: the plain last layer.

    Raises:
        NetworkError: for unknown or wrong options, samples that are not pictures, pictures too small for so many
            layers, or a layer too small for its norm.
    """

    options_class: ClassVar[type[CNNOptions]] = CNNOptions

    def __init__(self, input_shape: Sequence[int], out_features: int, **options: object) -> None:
        super().__init__()
        self.options = o = parse(CNNOptions, options)
        self.input_shape = picture_shape(input_shape)
        self.out_features = out_features
        self.convolutions = nn.ModuleList(self._convolutions())
        self.pool = Pool(o.pool)
        self.hidden = nn.ModuleList(self._hidden())
        last = o.hidden[-1] if o.hidden else self._flat
        self.head = NormalizedLinear(last, out_features, init=o.init.for_slope(1.0))
        self.activations = nn.ModuleList(o.activation.make() for _ in o.norms)
        self.norms = nn.ModuleList(self._norms_behind())

    def _convolutions(self) -> Iterator[NormalizedConv2d]:
        """The convolutions; each is refused if what the picture has become is too small for it or its pooling."""
        o = self.options
        size = self.input_shape[1:]
        padding = o.kernel // 2 if o.padding == "same" else 0
        init = o.init.for_slope(o.activation.negative_slope)
        for index, (before, channels) in enumerate(pairwise((self.input_shape[0], *o.channels))):
            with located(f"channels.{index}"):
                norm = o.norms[index] if o.norm_position == "pre" else NO_NORM
                layer = NormalizedConv2d(before, channels, o.kernel, 1, padding, norm, o.gain, o.shift, o.eps, init)
                behind = layer.product.size(size)
                if min(behind) < POOL:
                    least = POOL + o.kernel - 1 - 2 * padding
                    fix = "Use fewer convolutions, larger pictures" + (", or padding: same." if not padding else ".")
                    got = f"`{size[0]} x {size[1]}`"
                    raise NetworkError(expectation(f"at least {least} x {least} pixels ahead of this layer", got, fix))
                size = (behind[0] // POOL, behind[1] // POOL)
                yield layer
        self._flat = o.channels[-1] * math.prod(size)

    def _hidden(self) -> Iterator[NormalizedLinear]:
        o = self.options
        init = o.init.for_slope(o.activation.negative_slope)
        norms = o.norms[len(o.channels) :]
        for index, (norm, (inputs, units)) in enumerate(zip(norms, pairwise((self._flat, *o.hidden)), strict=True)):
            here = norm if o.norm_position == "pre" else NO_NORM
            with located(f"hidden.{index}"):
                yield NormalizedLinear(inputs, units, here, o.gain, o.shift, o.eps, init)

    def _norms_behind(self) -> Iterator[NormLayer]:
        o = self.options
        if o.norm_position == "post":
            for index, (norm, units) in enumerate(zip(o.norms, (*o.channels, *o.hidden), strict=True)):
                positions = 2 if index < len(o.channels) else 0
                yield NormLayer(units, norm, o.gain, o.shift, o.eps, positions)

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> CNN:
        """The network for pictures of `input_shape`.

        Raises:
            NetworkError: for options of another network, samples that are not pictures, or layers too small.
        """
        return cls(input_shape, out_features, **dict(own(options, CNNOptions)))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, height, width)` to `(B, out)`.

        Raises:
            ShapeError: if the samples are other pictures.
        """
        check_pictures(x, self.input_shape)
        for index, layer in enumerate(self.convolutions):
            x = self.pool(self._activated(index, layer(x)))
        x = x.flatten(1)
        for index, layer in enumerate(self.hidden, start=len(self.convolutions)):
            x = self._activated(index, layer(x))
        out: Tensor = self.head(x)
        return out

    def _activated(self, index: int, z: Tensor) -> Tensor:
        h: Tensor = self.activations[index](z)
        return self.norms[index](h) if len(self.norms) else h
