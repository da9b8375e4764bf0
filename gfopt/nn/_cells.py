"""A recurrent layer in one direction, with any normalization that has a recurrent form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from gfopt.nn.initialization import Initialization
from gfopt.nn.normalization import Identity, NormalizedLinear, NormLayer, NormOptions
from gfopt.nn.normalization.weights import WeightReparametrization
from gfopt.nn.recurrence import Layer, recur

CellName = Literal["tanh", "relu", "lstm", "gru"]

# Gates that are normalized together; a GRU's candidate by itself, as its recurrent part is gated (Ba et al. 2016).
_GATES: dict[CellName, tuple[int, ...]] = {"tanh": (1,), "relu": (1,), "lstm": (4,), "gru": (2, 1)}
BATCH_GAIN = 0.1  # with gain 1 the derivative of tanh at normalized sums vanishes over time (Cooijmans et al. 2017)


class RecurrentLayer(nn.Module):
    """`N(W_x x) + N(W_h h) + b` into the gates of a cell, over time.

    Activations are normalized where the papers do: the two products apart, so that each has its own gain, one shift
    for both, and in an LSTM the cell state ahead of the output's tanh (layer normalization: Ba et al. 2016,
    arXiv:1607.06450, eq. 20-22; batch normalization: Cooijmans et al. 2017, arXiv:1603.09025, eq. 6-8, with
    statistics of their own for every step and gains that start at 0.1). Normalizations of weights act on `W_x` and on
    `W_h`, once for all steps.

    Args:
        cell: which formulas.
        inputs: features of a step.
        units: of the state.
        norm: of the two products.
        gain: learn gains.
        shift: learn the bias `b`.
        eps: of the norm.
        init: of `W_x`, for each gate by itself.
        recurrent_init: of `W_h`, for each gate by itself.
        steps: how many steps have batch statistics of their own.
        forget_bias: what `b` of an LSTM's forget gate starts at.

    Attributes:
        input: the layers of `W_x`, of one block of gates each.
        state: those of `W_h`.
        bias: `(G,)`; of a GRU `(4 H,)`, because its candidate's recurrent part has a bias inside the reset gate.
        cell_norm: of an LSTM's cell state, or `None`.
    """

    def __init__(
        self,
        cell: CellName,
        inputs: int,
        units: int,
        norm: NormOptions,
        *,
        gain: bool,
        shift: bool,
        eps: float,
        init: Initialization,
        recurrent_init: Initialization,
        steps: int,
        forget_bias: float,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.units = units
        self.forget_bias = forget_bias

        def layers(width: int, drawn: Initialization) -> nn.ModuleList:
            return nn.ModuleList(
                NormalizedLinear(width, gates * units, norm, gain, False, eps, drawn, steps) for gates in _GATES[cell]
            )

        self.input, self.state = layers(inputs, init), layers(units, recurrent_init)
        self.bias = nn.Parameter(torch.empty((4 if cell == "gru" else sum(_GATES[cell])) * units)) if shift else None
        kind = self._layers()[0].norm
        of_state = cell == "lstm" and kind.acts_on == "activations" and not isinstance(kind, Identity)
        self.cell_norm = NormLayer(units, norm, gain, shift, eps, steps=steps) if of_state else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights and bias anew; gains 1, or 0.1 under batch statistics; shifts 0."""
        for layer in self._layers():
            for gate in layer.weight.chunk(len(layer.weight) // self.units):
                layer.init.weight_(gate)
        first = self._layers()[0]
        standardized = first.norm.of_batch and first.norm.acts_on == "activations"
        for part in (*self._layers(), self.cell_norm):
            if part is not None and part.gain is not None:
                nn.init.constant_(part.gain, BATCH_GAIN if standardized else 1.0)
        if self.bias is None:
            return
        self.bias.zero_()
        if isinstance(first.norm, Identity):
            first.init.bias_(self.bias, first.in_features)
        if self.cell == "lstm":
            self.bias[self.units : 2 * self.units] = self.forget_bias

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, features)` to the `(B, T, units)` states, from zeros."""
        kinds = {isinstance(layer.norm, Identity | WeightReparametrization) for layer in self._layers()}
        weights_only = kinds == {True} and self._layers()[0].norm.acts_on != "both"
        return self._at_once(x) if weights_only else torch.stack(list(self._step_by_step(x)), dim=1)

    def extra_repr(self) -> str:
        """The cell, for `repr`."""
        return f"{self.cell}, {self.units}"

    def _layers(self) -> list[NormalizedLinear]:
        """Those of the inputs, then those of the state."""
        return [layer for layer in (*self.input, *self.state) if isinstance(layer, NormalizedLinear)]

    def _at_once(self, x: Tensor) -> Tensor:
        """All steps of all members by `recur`, which knows no norms but is many times as fast."""
        h = x.new_zeros(1, self.units, len(x))
        layer = Layer(
            x.permute(1, 2, 0).contiguous().unsqueeze(0),
            torch.cat([_computed(part) for part in self.input]).unsqueeze(0),
            torch.cat([_computed(part) for part in self.state]).unsqueeze(0),
            self._biases().unsqueeze(0),
            h,
            h if self.cell == "lstm" else None,
        )
        out, _ = recur(self.cell, layer)
        return out[0].permute(2, 0, 1)

    def _step_by_step(self, x: Tensor) -> Iterator[Tensor]:
        """`(B, units)` states, one step after the other."""
        h = c = x.new_zeros(len(x), self.units)
        bias = self._biases()
        for t, from_x in enumerate(self._projected(x)):
            from_h = [layer(h, step=t) for layer in self.state]
            if self.cell == "lstm":
                i, f, g, o = (from_x[0] + from_h[0] + bias).chunk(4, dim=-1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c if self.cell_norm is None else self.cell_norm(c, step=t))
            elif self.cell == "gru":
                rz, n, u = bias.split([2 * self.units, self.units, self.units])  # type: ignore[no-untyped-call] # torch
                r, z = torch.sigmoid(from_x[0] + from_h[0] + rz).chunk(2, dim=-1)
                n = torch.tanh(from_x[1] + n + r * (from_h[1] + u))
                h = n + z * (h - n)
            else:
                total = from_x[0] + from_h[0] + bias
                h = torch.relu(total) if self.cell == "relu" else torch.tanh(total)
            yield h

    def _projected(self, x: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """`N(W_x x)` of each step, one tensor for each block of gates."""
        if self._layers()[0].norm.of_batch:  # every step has its own statistics
            parts = [[layer(x[:, t], step=t) for t in range(x.shape[1])] for layer in self.input]
        else:
            rows = x.flatten(0, 1)
            parts = [list(layer(rows).view(*x.shape[:2], -1).unbind(1)) for layer in self.input]
        return zip(*parts, strict=True)

    def _biases(self) -> Tensor:
        if self.bias is not None:
            return self.bias
        gates = 4 if self.cell == "gru" else sum(_GATES[self.cell])
        return self._layers()[0].weight.new_zeros(gates * self.units)


def _computed(layer: nn.Module) -> Tensor:
    """The weight that a layer computes with, whose norm is one of weights or none."""
    assert isinstance(layer, NormalizedLinear)
    if isinstance(layer.norm, WeightReparametrization):
        return layer.norm.scaled(layer.weight, layer.gain)
    return layer.weight
