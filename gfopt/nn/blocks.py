"""The residual block, of dense layers or of convolutions, and the options of networks that are made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from gfopt import registry
from gfopt.errors import NetworkError, expectation
from gfopt.nn._layer_options import Flag, LayerOptions
from gfopt.nn.activations import ActivationOption, PlainActivation
from gfopt.nn.initialization import Initialization
from gfopt.nn.normalization import NO_NORM, Normalization, NormalizedLayer, NormLayer, NormOptions

BlockKind = Literal["pre-activation", "post-activation", "plain"]


class BlockOptions(LayerOptions):
    """What networks of residual blocks have in common.

    Attributes:
        block: `pre-activation` is `x + W2 f(N(W1 f(N(x))))` (He et al. 2016, arXiv:1603.05027), `post-activation` is
            `f(x + N(W2 f(N(W1 x))))` (He et al. 2015, arXiv:1512.03385), `plain` is the latter without the skip.
        activation: `f`.
        norm: `N`, a name of `registry.norms` or a mapping with its options; or a list with one for each part.
        zero_last: every branch starts as 0, and so a pre-activation block as the identity: by the gain of its last
            layer, or by the weight where there is no gain.
    """

    block: BlockKind = "pre-activation"
    activation: ActivationOption = PlainActivation(kind="tanh")
    zero_last: Flag = False

    def ahead(self, norm: NormOptions) -> NormOptions:
        """The part of `norm` that stands ahead of an activation, apart from any weights; else `none`."""
        apart = self.block == "pre-activation" and _of(norm).acts_on == "activations"
        return norm if apart else NO_NORM

    def inside(self, norm: NormOptions) -> NormOptions:
        """The part of `norm` that a layer with weights has itself; else `none`."""
        return norm if self.ahead(norm) == NO_NORM else NO_NORM

    def biased(self, norm: NormOptions) -> bool:
        """Whether the layers in question have a shift: not in front of a norm, which would take it away again."""
        return self.shift and self.ahead(norm) == NO_NORM

    def slope_init(self) -> Initialization:
        """The initialization for layers of this activation."""
        return self.init.for_slope(self.activation.negative_slope)

    def activations(self, norm: NormOptions, units: Iterable[int], positions: int = 0) -> list[nn.Module]:
        """`f`, or `f(N(.))` in a pre-activation block, for layers whose inputs have so many `units` or channels."""
        if self.block != "pre-activation":
            return [self.activation.make() for _ in units]
        return [Preactivation(self, norm, count, positions) for count in units]

    def check_zero_last(self, norm: NormOptions) -> None:
        """Refuse a zero start where nothing but a weight without a size could be zero.

        Raises:
            NetworkError: saying what would do.
        """
        norm_class = _of(self.inside(norm))
        if self.zero_last and norm_class.neutral and not self.gain:
            fix = "The norm divides by the size of the weight, which cannot be 0. Set gain: true."
            raise NetworkError(
                "zero_last: " + expectation(f"a gain under the norm {norm.kind!r}", "`gain: false`", fix)
            )


class Preactivation(nn.Module):
    """`f(N(x))`, ahead of a layer; without the `N` where the layer's weights are normalized instead.

    Args:
        options: of the network.
        norm: of the block.
        units: or channels, of the input.
        positions: how many axes follow the channels; 2 for pictures.
    """

    def __init__(self, options: BlockOptions, norm: NormOptions, units: int, positions: int = 0) -> None:
        super().__init__()
        self.norm = NormLayer(units, options.ahead(norm), options.gain, options.shift, options.eps, positions)
        self.activation = options.activation.make()

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C)`, `(B, C, height, width)`, or `(P, B, C)` of stacked members."""
        out: Tensor = self.activation(self.norm(x, members=x.ndim == 3))
        return out


class ResidualBlock(nn.Module):
    """A branch of linear layers or convolutions, and the skip connection around it.

    Args:
        options: of the network.
        layers: of the branch, first to last.
        activations: one for each layer, see `BlockOptions.activations`: ahead of it in a pre-activation block, else
            behind it.
        shortcut: stands for the identity where the branch changes the shape.
    """

    def __init__(
        self,
        options: BlockOptions,
        layers: Iterable[NormalizedLayer],
        activations: Iterable[nn.Module],
        shortcut: NormalizedLayer | None = None,
    ) -> None:
        super().__init__()
        self.kind = options.block
        self.zero_last = options.zero_last
        self.layers = nn.ModuleList(layers)
        self.activations = nn.ModuleList(activations)
        self.shortcut = shortcut
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Make the branch 0 where that is asked for; all else, its layers have drawn themselves."""
        last = self.layers[-1]
        if not self.zero_last or not isinstance(last, NormalizedLayer):
            return
        nn.init.zeros_(last.weight if last.gain is None else last.gain)
        if last.shift is not None:
            nn.init.zeros_(last.shift)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, ...)` to the output of the block, or `(P, B, in)` of stacked members."""
        if self.kind == "pre-activation":
            active = self.activations[0](x)
            # A projection sees the activated input, as in the authors' code; the identity the input itself.
            return (x if self.shortcut is None else self.shortcut(active)) + self._behind_first(active)
        z = apply_layer(self.layers[0], x)
        for activation, layer in zip(self.activations[:-1], self.layers[1:], strict=True):
            z = apply_layer(layer, activation(z))
        if self.kind == "post-activation":
            z = z + (x if self.shortcut is None else self.shortcut(x))
        out: Tensor = self.activations[-1](z)
        return out

    def _behind_first(self, active: Tensor) -> Tensor:
        """A pre-activation branch from its first layer on."""
        z = apply_layer(self.layers[0], active)
        for activation, layer in zip(self.activations[1:], self.layers[1:], strict=True):
            z = apply_layer(layer, activation(z))
        return z


def apply_layer(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)`; a third axis can only come from stacked members, which a layer that they share must see as such."""
    out: Tensor = layer(x, members=True) if x.ndim == 3 else layer(x)
    return out


def _of(norm: NormOptions) -> type[Normalization]:
    norm_class: type[Normalization] = registry.norms.get(norm.kind)
    return norm_class
