"""What networks of pictures share: checks of their input and of the maps between their layers, and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gfopt import registry
from gfopt.errors import NetworkError, ShapeError, expectation
from gfopt.nn.normalization import Normalization, NormOptions

PictureShape = tuple[int, int, int]  # channels, height, width
POOL = 2  # rows and columns of which pooling keeps one number


class Pool(nn.Module):
    """The largest or the mean number of every 2 x 2 block; a last odd row or column is left out, as in torch's layers.

    The same values as `nn.MaxPool2d(2)` and `nn.AvgPool2d(2)`, whose forward pass takes ten and five times as long on
    a CPU: a population that needs no gradient would spend a third of its time in it.

    Args:
        kind: `max` or `mean`.
    """

    def __init__(self, kind: Literal["max", "mean"]) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """`(..., height, width)` to `(..., height // 2, width // 2)`."""
        if self.kind == "max" and torch.is_grad_enabled():  # here torch's layer is the faster one, there and back
            return F.max_pool2d(x, POOL)
        join = torch.maximum if self.kind == "max" else torch.add
        height, width = (size // POOL * POOL for size in x.shape[-2:])
        rows = join(x[..., 0:height:POOL, :], x[..., 1:height:POOL, :])
        pooled: Tensor = join(rows[..., 0:width:POOL], rows[..., 1:width:POOL])
        return pooled if self.kind == "max" else pooled / POOL**2

    def extra_repr(self) -> str:
        """The kind, for `repr`."""
        return self.kind


def picture_shape(input_shape: Sequence[int]) -> PictureShape:
    """`input_shape` as channels, height and width.

    Raises:
        NetworkError: for samples of another number of axes.
    """
    if len(input_shape) != 3:
        fix = {
            1: "The data set digits has its pictures as flat rows; digits_images has them as (1, 8, 8).",
            2: f"Pictures of one channel have the shape (1, {', '.join(map(str, input_shape))}).",
        }.get(len(input_shape), "Give one picture a sample.")
        wanted = "pictures (channels, height, width)"
        raise NetworkError("input_shape: " + expectation(wanted, f"`{tuple(input_shape)}`", fix))
    channels, height, width = input_shape
    return channels, height, width


def check_pictures(x: Tensor, shape: PictureShape) -> None:
    """Refuse a batch whose samples are not pictures of `shape`.

    Raises:
        ShapeError: with both shapes.
    """
    if tuple(x.shape[1:]) != shape:
        sizes = ", ".join(map(str, shape))
        raise ShapeError(f"input: expected pictures of shape (B, {sizes}), got shape {tuple(x.shape)}")


def check_map(norm: NormOptions, height: int, width: int) -> None:
    """Refuse a norm over the positions of a map that has one only.

    Raises:
        NetworkError: naming norms that would do.
    """
    norm_class: type[Normalization] = registry.norms.get(norm.kind)
    if norm_class.pictures_only and height * width == 1:
        fix = "Of one position it leaves nothing or a sign. Use fewer layers or stages, larger pictures, or layer."
        raise NetworkError("norm: " + expectation(f"a map of several positions for {norm.kind!r}", "`1 x 1`", fix))
