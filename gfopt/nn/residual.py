"""The residual multilayer perceptron: blocks of one width with skip connections around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import model_validator
from torch import Tensor, nn

from gfopt.errors import located
from gfopt.nn._layer_options import Size
from gfopt.nn._options import NetworkOptions, own, parse
from gfopt.nn.blocks import BlockOptions, Preactivation, ResidualBlock, apply_layer
from gfopt.nn.mlp import flat_rows
from gfopt.nn.normalization import NormalizedLinear, NormOptions, check_norm, norm_of_each


class ResidualOptions(BlockOptions):
    """What a residual MLP can be told besides its input and output sizes.

    Attributes:
        width: units of every layer but the last.
        blocks: how many of them.
        layers_per_block: linear layers that a skip connection spans.
        norm: `N`, a name of `registry.norms` or a mapping with its options; or a list with one for each block.
    """

    width: Size = 16
    blocks: Size = 4
    layers_per_block: Literal[1, 2] = 2

    @model_validator(mode="after")
    def _fits(self) -> ResidualOptions:
        for index, norm in enumerate(self.norms):
            with located(f"blocks.{index}"):
                check_norm(norm, self.width, self.width)
                self.check_zero_last(norm)
        return self

    @property
    def norms(self) -> tuple[NormOptions, ...]:
        """The norm of each block."""
        return norm_of_each(self.norm, self.blocks)


class ResidualMLP(nn.Module):
    """Flatten, then a layer to `width` units, then residual blocks, then a plain linear layer.

    A pre-activation network keeps its stream of residuals free of norms and activations from the first layer to the
    last block, and has one more `f(N(x))` in front of the head (He et al. 2016, appendix). Any other starts with
    `f(N(W x))`: a `plain` one is an MLP of `1 + blocks * layers_per_block` hidden layers.

    Args:
        in_features: numbers in a sample.
        out_features: outputs.
        options: fields of `ResidualOptions`: `ResidualMLP(64, 10, width=32, norm="batch")`.

    Attributes:
        stem: the layer to `width` units.
        blocks: the `ResidualBlock`s.
        head: the plain linear layer.

    Raises:
        NetworkError: for unknown or wrong options, sizes that are not positive, or layers too small for their norm.
    """

    options_class: ClassVar[type[ResidualOptions]] = ResidualOptions

    def __init__(self, in_features: int, out_features: int, **options: object) -> None:
        super().__init__()
        self.options = parse(ResidualOptions, options)
        self.in_features = in_features
        self.out_features = out_features
        first, last = self.options.norms[0], self.options.norms[-1]
        with located("stem"):
            self.stem = self._layer(in_features, first)
        pre = self.options.block == "pre-activation"
        self.stem_activation = nn.Identity() if pre else self.options.activation.make()
        self.blocks = nn.ModuleList(map(self._block, self.options.norms))
        self.head_activation = Preactivation(self.options, last, self.options.width) if pre else nn.Identity()
        self.head = NormalizedLinear(self.options.width, out_features, init=self.options.init.for_slope(1.0))

    def _layer(self, inputs: int, norm: NormOptions) -> NormalizedLinear:
        o = self.options
        return NormalizedLinear(inputs, o.width, o.inside(norm), o.gain, o.biased(norm), o.eps, o.slope_init())

    def _block(self, norm: NormOptions) -> ResidualBlock:
        widths = [self.options.width] * self.options.layers_per_block
        layers = [self._layer(width, norm) for width in widths]
        return ResidualBlock(self.options, layers, self.options.activations(norm, widths))

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> ResidualMLP:
        """The network for samples of `input_shape`.

        Raises:
            NetworkError: for options of another network, sizes that are not positive, or a layer too small.
        """
        return cls(math.prod(input_shape), out_features, **dict(own(options, ResidualOptions)))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, ...)` samples to `(B, out)`, or to `(P, B, out)` if parameters of P members are stacked.

        Raises:
            ShapeError: if a sample has another number of entries than the network.
        """
        x = self.stem_activation(self.stem(flat_rows(x, self.in_features)))
        for block in self.blocks:
            x = block(x)
        return apply_layer(self.head, self.head_activation(x))
