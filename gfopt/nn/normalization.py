"""Every normalization in one place, as one idea: `h = f(g * (x - mu) / sigma + b)`.

A layer computes `z = W x`; a normalization takes away a mean `mu` and divides by a size `sigma`; the gain
`g` and the shift `b` give scale and place back. The members differ only in what `mu` and `sigma` are and
over which axes:

| name    | mu                     | sigma                           | over                                |
|---------|------------------------|---------------------------------|-------------------------------------|
| none    | 0                      | 1                               |                                     |
| batch   | mean of z              | sqrt(var z + eps)               | the batch, for each unit            |
| layer   | mean of z              | sqrt(var z + eps)               | the units, for each sample          |
| rms     | 0                      | sqrt(mean z^2 + eps)            | the units, for each sample          |
| weight  | 0                      | max(|w|, eps)                   | the inputs, for each unit           |
| cosine  | 0                      | max(|w|, eps) max(|x|, eps)     | the inputs, each unit and sample    |
| pearson | means of w and of x    | as cosine, of the centred w, x  | the inputs, each unit and sample    |

Variances are biased (divided by the count). There is never a bias in front of a normalization: batch
statistics would cancel it, and an optimizer would search a direction without effect. For the same reason
`none` has no gain: it would only repeat what the weight can do.

Members of a population may be stacked: with weights `(P, out, in)`, gains and shifts `(P, out)` or `(out,)`,
and inputs `(P, B, in)` or `(B, in)`, every formula holds for each member by itself. The first axis of the
weight tells members from the steps of a sequence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Integral
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gfopt import registry
from gfopt.errors import NetworkError, expectation, suggestion
from gfopt.nn.initialization import Initialization, make_initialization


class Normalization(nn.Module, ABC):
    """What a member of the family says: its `mu`, its `sigma` and their axes; it has no parameters.

    Args:
        in_features: inputs of the layer.
        out_features: units of the layer.
        eps: keeps sigma above 0.

    Attributes:
        least_inputs, least_units: below these the normalized value no longer depends on the data.
        has_gain: whether a gain adds anything to what the weight can do.
    """

    least_inputs: ClassVar[int] = 1
    least_units: ClassVar[int] = 1
    has_gain: ClassVar[bool] = True

    def __init__(self, in_features: int, out_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.eps = eps

    @abstractmethod
    def forward(self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor:
        """`g * (W x - mu) / sigma + b`.

        Args:
            x: `(..., B, in)`; the result is `(..., B, out)`.
            weight: `(out, in)`, or `(P, out, in)` for stacked members.
            gain: `(out,)` or `(P, out)`; `None` means 1.
            shift: `(out,)` or `(P, out)`; `None` means 0.
        """


class Identity(Normalization):
    """`mu = 0`, `sigma = 1`: the plain linear layer, whose shift is the ordinary bias."""

    has_gain = False

    def forward(self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor:
        """`W x + b`."""
        return _affine(_linear(x, weight), gain, shift) if gain is not None else _linear(x, weight, shift)


class ActivationNorm(Normalization):
    """The side of the family that standardizes the pre-activations `z = W x`.

    Its members call torch's fused kernels: written out, a layer norm takes six times as long.
    """

    def forward(self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor:
        """`g * (z - mu) / sigma + b`, see `Normalization.forward`."""
        return _affine(self.standardize(_linear(x, weight), members=weight.ndim > 2), gain, shift)

    @abstractmethod
    def standardize(self, z: Tensor, *, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` of `(..., B, out)`; with `members` the first axis counts networks."""


class BatchNorm(ActivationNorm):
    """`mu`, `sigma^2 - eps`: mean and variance over the batch (Ioffe & Szegedy 2015, arXiv:1502.03167).

    `statistics` is torch's own layer without parameters; it holds the running mean and variance, which are
    never genes, and its own `reset_parameters` forgets them. Whoever evaluates populations swaps it for a
    layer without memory; only such a layer takes stacked members.
    """

    def __init__(self, in_features: int, out_features: int, eps: float = 1e-5) -> None:
        super().__init__(in_features, out_features, eps)
        self.statistics = nn.BatchNorm1d(out_features, eps=eps, affine=False)

    def forward(self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor:
        """`g * (z - mu) / sigma + b`, in one pass where a layer without memory stands in for `statistics`."""
        members = weight.ndim > 2
        fused = getattr(self.statistics, "forward_members" if members else "normalize", None)
        if fused is None:
            return super().forward(x, weight, gain, shift)
        z = _linear(x, weight)
        if not members:
            z = z.flatten(0, -2) if z.ndim > 2 else z
        if members and gain is not None and gain.ndim == 1:
            gain = gain.expand(weight.shape[0], -1)
        if members and shift is not None and shift.ndim == 1:
            shift = shift.expand(weight.shape[0], -1)
        out: Tensor = fused(z, gain, shift)
        return out if members else out.reshape(*x.shape[:-1], weight.shape[0])

    def standardize(self, z: Tensor, *, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over every axis but the last and, if there is one, that of the members."""
        if members:  # members become channels, so that nobody's statistics see another's rows
            channels: Tensor = self.statistics(z.transpose(0, 1).flatten(1))
            return channels.reshape(z.shape[1], z.shape[0], z.shape[2]).transpose(0, 1)
        rows: Tensor = self.statistics(z.flatten(0, -2))
        return rows.reshape(z.shape)


class LayerNorm(ActivationNorm):
    """`mu`, `sigma^2 - eps`: mean and variance over a sample's units (Ba et al. 2016, arXiv:1607.06450)."""

    least_units = 2  # one unit is its own mean: always 0

    def standardize(self, z: Tensor, *, members: bool = False) -> Tensor:
        """`(z - mu) / sigma` over the last axis."""
        return F.layer_norm(z, (self.out_features,), eps=self.eps)


class RMSNorm(ActivationNorm):
    """`mu = 0`, `sigma^2 - eps`: a sample's mean square (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    def standardize(self, z: Tensor, *, members: bool = False) -> Tensor:
        """`z / sigma` over the last axis."""
        return F.rms_norm(z, (self.out_features,), eps=self.eps)


class DirectionNorm(Normalization):
    """The side of the family that keeps only the direction of the vectors whose product `z` is.

    Sigma of the weight is folded, with the gain, into the weight itself: no extra pass over the batch.

    Attributes:
        centred: take each vector's mean away first.
        of_input: do to the inputs what is done to the weights.
    """

    centred: ClassVar[bool] = False
    of_input: ClassVar[bool] = False

    def forward(self, x: Tensor, weight: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor:
        """`g * (w - mu_w)(x - mu_x) / sigma + b`, see `Normalization.forward`."""
        if self.of_input:
            x = self._centre(x)
            x = x / self._length(x)
        weight = self._centre(weight)
        sigma = self._length(weight)
        weight = weight / sigma if gain is None else weight * (gain.unsqueeze(-1) / sigma)
        return _linear(x, weight, shift)

    def _centre(self, vectors: Tensor) -> Tensor:
        return vectors - vectors.mean(-1, keepdim=True) if self.centred else vectors

    def _length(self, vectors: Tensor) -> Tensor:
        # Clamped, no eps inside a root: scaling a vector then changes nothing at all, and zero stays zero.
        length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        return length.clamp_min(self.eps)


class WeightNorm(DirectionNorm):
    """`mu = 0`, `sigma = |w_i|` over the inputs (Salimans & Kingma 2016, arXiv:1602.07868)."""


class CosineNorm(DirectionNorm):
    """`mu = 0`, `sigma = |w_i| |x|`: the cosine of weight and input (Luo et al. 2017, arXiv:1702.05870)."""

    of_input = True


class PearsonNorm(DirectionNorm):
    """The cosine of centred weight and input: Pearson's correlation (Luo et al. 2017, arXiv:1702.05870)."""

    least_inputs = 2  # one input is its own mean: always 0
    centred = True
    of_input = True


class NormalizedLinear(nn.Module):
    """A linear layer with the normalization `norm`: `g * (W x - mu) / sigma + b`, before the activation.

    Args:
        in_features: inputs.
        out_features: units.
        norm: a name of `registry.norms`.
        gain: learn `g`, 1 at the start; under `none` there is no gain.
        shift: learn `b`, 0 at the start; under `none` it is the ordinary bias.
        eps: inside the root for batch, layer and rms; the smallest norm for weight, cosine and pearson.
        init: of the weight: a name, a mapping or an `Initialization`; `None` is torch's own.

    Attributes:
        weight: `(out, in)`.
        gain: `(out,)` or `None`.
        shift: `(out,)` or `None`.
        norm: the `Normalization`.

    Raises:
        NetworkError: for an unknown norm, sizes or eps that are not positive, or a layer too small for it.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        norm: str = "none",
        gain: bool = True,
        shift: bool = True,
        eps: float = 1e-5,
        init: Initialization | Mapping[str, object] | str | None = None,
    ) -> None:
        super().__init__()
        if not eps > 0:
            raise NetworkError("eps: " + expectation("a positive number", eps))
        norm_class = check_norm(norm, in_features, out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.norm = norm_class(in_features, out_features, eps)
        self.init = make_initialization("torch" if init is None else init)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.gain = nn.Parameter(torch.empty(out_features)) if gain and norm_class.has_gain else None
        self.shift = nn.Parameter(torch.empty(out_features)) if shift else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew; gain 1, shift 0, or under `none` what the initialization gives a bias."""
        self.init.weight_(self.weight)
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.shift is not None and isinstance(self.norm, Identity):
            self.init.bias_(self.shift, self.in_features)
        elif self.shift is not None:
            nn.init.zeros_(self.shift)

    def forward(self, x: Tensor, members: bool = False) -> Tensor:
        """`(..., in)` to `(..., out)`; with `members` the first of three axes counts networks."""
        weight = self.weight.expand(x.shape[0], -1, -1) if members and self.weight.ndim == 2 else self.weight
        return self.norm(x, weight, self.gain, self.shift)  # type: ignore[no-any-return] # untyped in torch

    def extra_repr(self) -> str:
        """Sizes and parts, for `repr`."""
        parts = f"gain={self.gain is not None}, shift={self.shift is not None}, eps={self.norm.eps:g}"
        return f"in_features={self.in_features}, out_features={self.out_features}, {parts}"


def check_norm(norm: object, in_features: int | None, out_features: int) -> type[Normalization]:
    """The class behind `norm`, if a layer of these sizes can have it; allocates nothing.

    Args:
        norm: a name of `registry.norms`.
        in_features: inputs, or `None` while they are unknown.
        out_features: units.

    Raises:
        NetworkError: for an unknown norm, sizes that are not positive whole numbers, or a layer too small.
    """
    if not isinstance(norm, str) or norm not in registry.norms.names():
        raise NetworkError(expectation("a known norm", norm, suggestion(norm, registry.norms.names())))
    norm_class: type[Normalization] = registry.norms.get(norm)
    _check_size("out_features", "units", out_features, norm, norm_class.least_units)
    if in_features is not None:
        _check_size("in_features", "inputs", in_features, norm, norm_class.least_inputs)
    return norm_class


def _check_size(name: str, noun: str, size: object, norm: str, least: int) -> None:
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise NetworkError(f"{name}: " + expectation("a positive whole number", size))
    if size < least:
        fix = "With fewer the output ignores the data; widen it, or use another norm, as 'batch' or 'weight'."
        wanted = f"at least {least} {noun} under the norm {norm!r}"
        raise NetworkError(f"{name}: " + expectation(wanted, size, fix))


def _linear(x: Tensor, weight: Tensor, shift: Tensor | None = None) -> Tensor:
    """`W x + b`, for one network or for stacked members."""
    if weight.ndim == 2:
        stacked = shift is not None and shift.ndim > 1
        return _affine(F.linear(x, weight), None, shift) if stacked else F.linear(x, weight, shift)
    rows = x.expand(weight.shape[0], *x.shape[-2:])
    return rows @ weight.mT if shift is None else torch.baddbmm(shift.unsqueeze(-2), rows, weight.mT)


def _affine(z: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor:
    """`g z + b` in one pass over `z`."""
    gain, shift = (v if v is None or v.ndim == 1 else v.unsqueeze(-2) for v in (gain, shift))
    if gain is None:
        return z if shift is None else z + shift
    return z * gain if shift is None else torch.addcmul(shift, z, gain)
