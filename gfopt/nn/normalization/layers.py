"""Layers with a normalization: dense, convolutional, and the normalization by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gfopt.errors import NetworkError, expectation
from gfopt.nn.initialization import Initialization, make_initialization
from gfopt.nn.normalization.base import ActivationNorm, Identity, Normalization, NormOptions, NormSpec, parse_norm
from gfopt.nn.normalization.batch import BatchDependent
from gfopt.nn.normalization.checks import check_acts_alone, check_norm, check_size
from gfopt.nn.normalization.products import DENSE, Convolution, Pair, Product


class NormalizedLayer(nn.Module):
    """What dense and convolutional layers share: `g * (W x - mu) / sigma + b`, before the activation.

    Attributes:
        weight: first axis the units.
        gain: `(out,)` or `None`.
        shift: `(out,)` or `None`.
        norm: the `Normalization`.
        later: further ones, for the later steps of a sequence; `None` where one is for all.
        product: what `W x` means.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        product: Product,
        norm: NormSpec,
        gain: bool,
        shift: bool,
        eps: float,
        init: Initialization | Mapping[str, object] | str | None,
        steps: int = 1,
    ) -> None:
        super().__init__()
        if not eps > 0:
            raise NetworkError("eps: " + expectation("a positive number", eps))
        options = parse_norm(norm)
        fan_in = math.prod(shape[1:])
        norm_class = check_norm(options, fan_in, shape[0], pictures=product.positions > 0)
        self.product = product
        self.norm, self.later = _over_steps(norm_class, fan_in, shape[0], eps, options, steps)
        self.init = make_initialization("torch" if init is None else init)
        self.weight = nn.Parameter(torch.empty(shape))
        self.gain = nn.Parameter(torch.empty(shape[0])) if gain and norm_class.has_gain else None
        self.shift = nn.Parameter(torch.empty(shape[0])) if shift else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew; gain 1, shift 0, or under `none` what the initialization gives a bias."""
        self.init.weight_(self.weight)
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.shift is not None and isinstance(self.norm, Identity):
            self.init.bias_(self.shift, self.fan_in)
        elif self.shift is not None:
            nn.init.zeros_(self.shift)

    @property
    def fan_in(self) -> int:
        """Weights of one unit."""
        return self.weight[0].numel()

    def extra_repr(self) -> str:
        """Sizes and parts, for `repr`."""
        sizes = f"in_features={self.fan_in}, out_features={self.weight.shape[0]}"
        if self.weight.ndim > 2:
            sizes = "x".join(map(str, self.weight.shape))
        return f"{sizes}, gain={self.gain is not None}, shift={self.shift is not None}, eps={self.norm.eps:g}"


class NormalizedLinear(NormalizedLayer):
    """A linear layer with the normalization `norm`.

    Args:
        in_features: inputs.
        out_features: units.
        norm: a name of `registry.norms`, or `{"kind": "group", "groups": 4}`.
        gain: learn `g`, 1 at the start; where the weight can do the same (`none`, `mean`) there is no gain.
        shift: learn `b`, 0 at the start; under `none` it is the ordinary bias.
        eps: inside the root for statistics of activations; the smallest norm for those of weights.
        init: of the weight: a name, a mapping or an `Initialization`; `None` is torch's own.
        steps: how many steps of a sequence have batch statistics of their own.

    Attributes:
        weight: `(out, in)`.

    Raises:
        NetworkError: for an unknown norm, sizes or eps that are not positive, or a layer too small for it.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        norm: NormSpec = "none",
        gain: bool = True,
        shift: bool = True,
        eps: float = 1e-5,
        init: Initialization | Mapping[str, object] | str | None = None,
        steps: int = 1,
    ) -> None:
        check_size("out_features", out_features)
        check_size("in_features", in_features)
        super().__init__((out_features, in_features), DENSE, norm, gain, shift, eps, init, steps)
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, x: Tensor, members: bool = False, step: int = 0) -> Tensor:
        """`(..., in)` to `(..., out)`.

        Args:
            x: the inputs.
            members: the first of three axes counts networks, even if they share the weight.
            step: of the sequence, for batch statistics.
        """
        weight = self.weight.expand(x.shape[0], -1, -1) if members and self.weight.ndim == 2 else self.weight
        out: Tensor = norm_at(self, step)(x, weight, self.gain, self.shift)
        return out


class NormalizedConv2d(NormalizedLayer):
    """A convolution of pictures with the normalization `norm`; arguments as those of `NormalizedLinear`.

    Args:
        in_channels: of the input `(B, in, height, width)`.
        out_channels: of the output.
        kernel_size: rows and columns of the kernel.
        stride: of the kernel.
        padding: zeros around the picture.
        norm, gain, shift, eps, init: as for `NormalizedLinear`.

    Attributes:
        weight: `(out, in, kernel, kernel)`.

    Raises:
        NetworkError: for an unknown norm, sizes or eps that are not positive, or a layer too small for it.
    """

    product: Convolution

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        norm: NormSpec = "none",
        gain: bool = True,
        shift: bool = True,
        eps: float = 1e-5,
        init: Initialization | Mapping[str, object] | str | None = None,
    ) -> None:
        check_size("out_channels", out_channels)
        check_size("in_channels", in_channels)
        kernel, steps, border = (v if isinstance(v, tuple) else (v, v) for v in (kernel_size, stride, padding))
        product = Convolution(kernel, steps, border)
        super().__init__((out_channels, in_channels, *kernel), product, norm, gain, shift, eps, init)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, height, width)` to `(B, out, height', width')`."""
        out: Tensor = self.norm(x, self.weight, self.gain, self.shift, self.product)
        return out


class NormLayer(nn.Module):
    """A normalization of activations by itself, with gain and shift: behind an activation, or ahead of a layer.

    Args:
        features: units, or channels.
        norm: one that acts on activations; weights have no place here.
        gain: learn `g`, 1 at the start.
        shift: learn `b`, 0 at the start.
        eps: inside the root.
        positions: how many axes follow the channels; 2 for pictures.
        steps: how many steps of a sequence have batch statistics of their own.

    Attributes:
        gain, shift: `(features,)` or `None`.

    Raises:
        NetworkError: for a norm of weights, or one that so few features cannot have.
    """

    def __init__(
        self,
        features: int,
        norm: NormSpec,
        gain: bool = True,
        shift: bool = True,
        eps: float = 1e-5,
        positions: int = 0,
        steps: int = 1,
    ) -> None:
        super().__init__()
        options = parse_norm(norm)
        norm_class = check_norm(options, features, features, pictures=positions > 0)
        check_acts_alone(norm_class, options.kind)
        self.positions = positions
        self.norm, self.later = _over_steps(norm_class, features, features, eps, options, steps)
        learns = not issubclass(norm_class, Identity)  # nothing to scale and place back where nothing was taken
        self.gain = nn.Parameter(torch.ones(features)) if gain and norm_class.has_gain else None
        self.shift = nn.Parameter(torch.zeros(features)) if shift and learns else None

    def reset_parameters(self) -> None:
        """Gain 1, shift 0."""
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.shift is not None:
            nn.init.zeros_(self.shift)

    def forward(self, z: Tensor, members: bool = False, step: int = 0) -> Tensor:
        """`g * (z - mu) / sigma + b`; with `members` the first axis counts networks."""
        norm = norm_at(self, step)
        if not isinstance(norm, ActivationNorm):
            return z
        return norm.normalize(z, self.gain, self.shift, positions=self.positions, members=members)


def norm_at(layer: NormalizedLayer | NormLayer, step: int) -> Normalization:
    """The norm of a step of a sequence; beyond those that were asked for, the last."""
    later = layer.later
    chosen = layer.norm if step == 0 or later is None else later[min(step, len(later)) - 1]
    assert isinstance(chosen, Normalization)
    return chosen


def _over_steps(
    norm_class: type[Normalization], inputs: int, units: int, eps: float, options: NormOptions, steps: int
) -> tuple[Normalization, nn.ModuleList | None]:
    """A norm, and one more for each later step if it has something to remember of each."""
    count = steps if issubclass(norm_class, BatchDependent) else 1
    made = [norm_class(inputs, units, eps, options) for _ in range(max(1, count))]
    return made[0], nn.ModuleList(made[1:]) if len(made) > 1 else None
