"""The linear map `z = W x` that a normalization surrounds: a dense layer or a convolution.

A normalization needs to know three things of it: which weights belong to one unit, which inputs meet them, and
where the channels of `z` lie. With that, one formula serves both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

Pair = tuple[int, int]


class Product(ABC):
    """A linear map of inputs by a weight whose first axis counts the units.

    Attributes:
        positions: how many axes of `z` follow its channels.
        weight_axes: axes of the weight of one network; one more means stacked members.
    """

    positions: ClassVar[int]
    weight_axes: ClassVar[int]

    @abstractmethod
    def __call__(self, x: Tensor, weight: Tensor, shift: Tensor | None = None) -> Tensor:
        """`W x + b`."""

    @abstractmethod
    def vectors(self, x: Tensor) -> Tensor:
        """`(..., n)` the inputs that meet one unit's `n` weights, for every sample and position."""

    @abstractmethod
    def units(self, z: Tensor, x: Tensor) -> Tensor:
        """`z` of `vectors(x)` times a weight matrix, in the shape that the product itself has."""

    def stacked(self, weight: Tensor) -> bool:
        """Whether the weight holds members of a population."""
        return weight.ndim > self.weight_axes

    def matrix(self, weight: Tensor) -> Tensor:
        """`(..., out, n)`: one row for the weights of each unit."""
        return weight if self.weight_axes == 2 else weight.flatten(-self.weight_axes + 1)

    def from_matrix(self, rows: Tensor, weight: Tensor) -> Tensor:
        """`(..., out, n)` rows in the shape of `weight`; gains of members may have stacked what it does not stack."""
        return rows.reshape(*rows.shape[:-1], *weight.shape[1 - self.weight_axes :])


class Dense(Product):
    """`(..., B, in)` by `(out, in)`; or `(P, B, in)` or `(B, in)` by `(P, out, in)` for stacked members."""

    positions = 0
    weight_axes = 2

    def __call__(self, x: Tensor, weight: Tensor, shift: Tensor | None = None) -> Tensor:
        """`(..., B, out)`."""
        if weight.ndim == 2:
            stacked = shift is not None and shift.ndim > 1
            return affine(F.linear(x, weight), None, shift) if stacked else F.linear(x, weight, shift)
        rows = x.expand(weight.shape[0], *x.shape[-2:])
        return rows @ weight.mT if shift is None else shift.unsqueeze(-2).baddbmm(rows, weight.mT)

    def vectors(self, x: Tensor) -> Tensor:
        """The samples themselves."""
        return x

    def units(self, z: Tensor, x: Tensor) -> Tensor:
        """`z` itself."""
        del x
        return z


@dataclass(frozen=True)
class Convolution(Product):
    """`(B, in, height, width)` by `(out, in, k, k')`, zeros around the picture; one network at a time.

    Attributes:
        kernel, stride, padding: rows and columns.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    positions = 2
    weight_axes = 4

    def __call__(self, x: Tensor, weight: Tensor, shift: Tensor | None = None) -> Tensor:
        """`(B, out, height', width')`."""
        return F.conv2d(x, weight, shift, self.stride, self.padding)

    def vectors(self, x: Tensor) -> Tensor:
        """`(B, height' width', in k k')` patches."""
        return F.unfold(x, self.kernel, padding=self.padding, stride=self.stride).mT

    def units(self, z: Tensor, x: Tensor) -> Tensor:
        """`(B, height' width', out)` to `(B, out, height', width')`."""
        return z.mT.reshape(*z.shape[:-2], -1, *self.size(x.shape[-2:]))

    def size(self, picture: Pair | tuple[int, ...]) -> Pair:
        """Height and width of the output."""
        height, width = (
            (n + 2 * p - k) // s + 1 for n, k, s, p in zip(picture, self.kernel, self.stride, self.padding, strict=True)
        )
        return height, width


DENSE = Dense()


def affine(z: Tensor, gain: Tensor | None, shift: Tensor | None, positions: int = 0) -> Tensor:
    """`g z + b` in one pass over `z`.

    Args:
        z: `(..., B, C)`, followed by the axes of the positions.
        gain: `(C,)`, or `(P, C)` for stacked members.
        shift: the same.
        positions: how many axes follow the channels.
    """
    gain, shift = (v if v is None else _beside(v, positions) for v in (gain, shift))
    if gain is None:
        return z if shift is None else z + shift
    return z * gain if shift is None else shift.addcmul(z, gain)


def _beside(values: Tensor, positions: int) -> Tensor:
    if positions:
        return values.reshape(*values.shape, *[1] * positions)
    return values if values.ndim == 1 else values.unsqueeze(-2)
