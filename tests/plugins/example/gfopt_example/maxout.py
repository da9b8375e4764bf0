"""A network whose hidden units are the largest of several linear pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gfopt.nn import NetworkOptions, NormalizedLinear
from gfopt.nn.normalization import NO_NORM, NormOption


class MaxoutOptions(NetworkOptions):
    """Options of `maxout`.

    Attributes:
        hidden: units of the hidden layer.
        pieces: linear functions of which each unit takes the largest (`k`).
        norm: of the pieces.
    """

    hidden: int = Field(8, ge=1)
    pieces: int = Field(2, ge=2)
    norm: NormOption = NO_NORM


class Maxout(nn.Module):
    """One hidden layer `h_i = max_j (W_ij x + b_ij)`, and a plain linear one.

    References: Goodfellow et al. 2013, "Maxout networks", arXiv:1302.4389, eq. of section 3.
    """

    options_class: ClassVar[type[NetworkOptions]] = MaxoutOptions

    def __init__(self, in_features: int, out_features: int, options: MaxoutOptions) -> None:
        super().__init__()
        self.options = options
        self.pieces = NormalizedLinear(in_features, options.hidden * options.pieces, norm=options.norm)
        self.head = nn.Linear(options.hidden, out_features)

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> Maxout:
        """The network for samples of `input_shape`."""
        assert isinstance(options, MaxoutOptions)
        return cls(math.prod(input_shape), out_features, options)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, ...)` samples to `(B, out)`."""
        pieces = self.pieces(x.flatten(1)).unflatten(-1, (self.options.hidden, self.options.pieces))
        output: Tensor = self.head(pieces.amax(-1))
        return output
