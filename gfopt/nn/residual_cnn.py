"""The residual convolutional network: a small ResNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor, nn

from gfopt.errors import located
from gfopt.nn._layer_options import Size
from gfopt.nn._options import NetworkOptions, own, parse
from gfopt.nn.blocks import BlockOptions, Preactivation, ResidualBlock
from gfopt.nn.normalization import NormalizedConv2d, NormalizedLinear, NormOptions, check_norm, norm_of_each
from gfopt.nn.pictures import check_map, check_pictures, picture_shape


class ResidualCNNOptions(BlockOptions):
    """What a residual convolutional network can be told besides its input and output sizes.

    Attributes:
        channels: of each stage, first to last; every stage but the first halves height and width.
        blocks: residual blocks in each stage, of two convolutions each.
        norm: `N`, a name of `registry.norms` or a mapping with its options; or a list with one for each stage.
    """

    channels: tuple[Size, ...] = Field(default=(8, 16), min_length=1)
    blocks: Size = 1

    @model_validator(mode="after")
    def _fits(self) -> ResidualCNNOptions:
        for index, (norm, channels) in enumerate(zip(self.norms, self.channels, strict=True)):
            with located(f"channels.{index}"):
                check_norm(norm, None, channels, pictures=True)
                self.check_zero_last(norm)
        return self

    @property
    def norms(self) -> tuple[NormOptions, ...]:
        """The norm of each stage."""
        return norm_of_each(self.norm, len(self.channels))


class ResidualCNN(nn.Module):
    """A convolution, stages of residual blocks, the mean over positions, and a plain linear layer.

    Kernels are 3 x 3. Every stage but the first begins with a block that halves the map with stride 2 and changes the
    number of channels; there a 1 x 1 convolution stands for the identity (He et al. 2015, section 3.3, option B).
    What is ahead of the first block and behind the last is as in `ResidualMLP`.

    Args:
        input_shape: channels, height and width of a sample.
        out_features: outputs.
        options: fields of `ResidualCNNOptions`: `ResidualCNN((1, 8, 8), 10, channels=[8, 16], norm="batch")`.

    Attributes:
        stem: the first convolution.
        blocks: the `ResidualBlock`s of all stages.
        head: the plain linear layer.

    Raises:
        NetworkError: for unknown or wrong options, samples that are not pictures, or layers or maps too small for
            their norm.
    """

    options_class: ClassVar[type[ResidualCNNOptions]] = ResidualCNNOptions

    def __init__(self, input_shape: Sequence[int], out_features: int, **options: object) -> None:
        super().__init__()
        self.options = o = parse(ResidualCNNOptions, options)
        self.input_shape = picture_shape(input_shape)
        self.out_features = out_features
        with located("stem"):
            self.stem = self._convolution(self.input_shape[0], o.channels[0], o.norms[0])
        pre = o.block == "pre-activation"
        self.stem_activation = nn.Identity() if pre else o.activation.make()
        self.blocks = nn.ModuleList(self._blocks())
        self.head_activation = Preactivation(o, o.norms[-1], o.channels[-1], 2) if pre else nn.Identity()
        self.head = NormalizedLinear(o.channels[-1], out_features, init=o.init.for_slope(1.0))

    def _convolution(
        self, inputs: int, channels: int, norm: NormOptions, size: int = 3, stride: int = 1
    ) -> NormalizedConv2d:
        o = self.options
        inside, biased, init = o.inside(norm), o.biased(norm), o.slope_init()
        return NormalizedConv2d(inputs, channels, size, stride, size // 2, inside, o.gain, biased, o.eps, init)

    def _blocks(self) -> Iterator[ResidualBlock]:
        o = self.options
        before, height, width = o.channels[0], *self.input_shape[1:]
        for stage, (norm, channels) in enumerate(zip(o.norms, o.channels, strict=True)):
            with located(f"channels.{stage}"):
                for index in range(o.blocks):
                    stride = 2 if stage and not index else 1
                    height, width = -(-height // stride), -(-width // stride)
                    check_map(norm, height, width)
                    yield self._block(before, channels, norm, stride)
                    before = channels

    def _block(self, before: int, channels: int, norm: NormOptions, stride: int) -> ResidualBlock:
        layers = [
            self._convolution(before, channels, norm, stride=stride),
            self._convolution(channels, channels, norm),
        ]
        changes = stride > 1 or before != channels
        projects = changes and self.options.block != "plain"
        shortcut = self._convolution(before, channels, norm, 1, stride) if projects else None
        activations = self.options.activations(norm, (before, channels), positions=2)
        return ResidualBlock(self.options, layers, activations, shortcut)

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> ResidualCNN:
        """The network for pictures of `input_shape`.

        Raises:
            NetworkError: for options of another network, samples that are not pictures, or layers too small.
        """
        return cls(input_shape, out_features, **dict(own(options, ResidualCNNOptions)))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, height, width)` to `(B, out)`.

        Raises:
            ShapeError: if the samples are other pictures.
        """
        check_pictures(x, self.input_shape)
        x = self.stem_activation(self.stem(x))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.head_activation(x).mean((-2, -1)))
        return out
